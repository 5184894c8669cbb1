"""Households of any village, with who lives there and what they hold."""

import itertools
import uuid
from datetime import date
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.households import (
    Category,
    Couple,
    DocumentKind,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.regions import Region
from app.services import identity
from app.services.documents import Document, check_character

COUNTY, TOWN, NEXT_TOWN, NEXT_COUNTY = "640104000000", "640104001000", "640104002000", "640105000000"
VILLAGE, NEXT_VILLAGE = "640104001201", "640104001202"
_numbers = itertools.count(1)


async def villages(session: AsyncSession) -> None:
    """Two of one town."""
    common = {
        "level": 5,
        "parent_code": TOWN,
        "valid_from": date(2026, 1, 1),
        "valid_to": None,
        "source": "test",
    }
    rows = [
        {"code": VILLAGE, "name": "新渠梢村", **common},
        {"code": NEXT_VILLAGE, "name": "塔桥村", **common},
    ]
    await session.execute(insert(Region).on_conflict_do_nothing(), rows)


def number(born: date, sex: Sex) -> str:
    """A resident number of nobody."""
    first = f"640104{born:%Y%m%d}{next(_numbers) % 490 * 2 + (sex is Sex.MALE):03}"
    return first + check_character(first)


def person(name: str, sex: Sex = Sex.FEMALE, *, born: date = date(1960, 5, 17), **values: Any) -> Person:
    """With a passport if the number's sequence would not do: `document` gives one."""
    document = values.pop("document", None) or number(born, sex)
    phone = values.pop("phone", None)
    kind = values.pop("kind", DocumentKind.RESIDENT_ID)
    row = Person(
        id=new_id(), name=name, sex=sex, birth_date=born, document_kind=kind, created_at=clock.now(),
        document_index=Document(kind, document, None, None).index, **values,
    )  # fmt: skip
    row.document_number = document
    identity.set_phone(row, phone)
    return row


async def household(
    session: AsyncSession, *members: Person, region_code: str = VILLAGE, married: date | None = None,
    status: HouseholdStatus = HouseholdStatus.ACTIVE, **values: Any,
) -> Household:  # fmt: skip
    """The first is the head; with `married` the second is the other spouse."""
    address = values.pop("address", None)
    home = Household(id=new_id(), region_code=region_code, status=status, created_at=clock.now(), **values)
    home.address = address
    for one in members:
        one.region_code = region_code
    session.add_all([home, *members])
    await session.flush()
    relations = [Relation.HEAD, Relation.SPOUSE if married else Relation.CHILD] + [Relation.CHILD] * len(
        members
    )
    for one, relation in zip(members, relations, strict=False):
        session.add(
            Membership(
                id=new_id(),
                household_id=home.id,
                person_id=one.id,
                relation=relation,
                valid_from=date(2026, 1, 1),
            )
        )
    if married:
        wife, husband = sorted(members[:2], key=lambda one: one.sex is Sex.MALE)
        session.add(
            Couple(
                id=new_id(), wife_id=wife.id, husband_id=husband.id, plans_pregnancy=False, valid_from=married
            )
        )
    await session.flush()
    return home


async def category(
    session: AsyncSession, actor: Actor, code: str, holder: Person | Household, **values: Any
) -> Category:
    held = {"person_id": None, "household_id": None}
    held["person_id" if isinstance(holder, Person) else "household_id"] = holder.id  # type: ignore[assignment]
    values = {"evidence": "低保证", "valid_from": date(2020, 3, 1), "valid_to": None, "grade": None} | values
    row = Category(id=uuid.uuid4(), code=code, verified_by=actor.account_id, **held)
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    await session.flush()
    return row
