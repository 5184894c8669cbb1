"""Villages, families with children, and what happens in them."""

import uuid
from datetime import date
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation, Sex
from app.models.identity import Role
from app.models.life_events import LifeEvent
from app.models.regions import Region
from app.services import life_events
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Spouses

TOWN, NEXT_TOWN = "640104001000", "640104002000"
EAST, WEST, FAR = "640104001201", "640104001202", "640104002201"
NAMES = {EAST: "东村", WEST: "西村", FAR: "远村"}
HAPPENED: TypeAdapter[life_events.Happened] = TypeAdapter(life_events.Happened)


async def villages(session: AsyncSession) -> None:
    """Two below one town, one below the next."""
    rows = [
        {
            "code": code, "level": 5, "parent_code": code[:9] + "000", "name": name,
            "valid_from": date(2020, 1, 1), "valid_to": None, "source": "test",
        }
        for code, name in NAMES.items()
    ]  # fmt: skip
    await session.execute(insert(Region).on_conflict_do_nothing(), rows)


async def village_worker(session: AsyncSession, region_code: str) -> Actor:
    return await appointments.worker(session, region_code, Role.VILLAGE_WORKER)


async def family(session: AsyncSession, region_code: str = EAST) -> Spouses:
    """王建军 heads it, 李秀英 is his wife."""
    await villages(session)
    return await appointments.couple(session, region_code)


async def single(
    session: AsyncSession, name: str, sex: Sex, region_code: str = EAST
) -> tuple[Household, Person]:
    """Somebody alone in a household."""
    person = appointments.person(name, sex)
    person.region_code = region_code
    row = Household(
        id=new_id(), region_code=region_code, status=HouseholdStatus.ACTIVE, created_at=clock.now()
    )  # fmt: skip
    session.add_all([person, row])
    await session.flush()
    await belongs(session, row, person, Relation.HEAD)
    return row, person


async def belongs(session: AsyncSession, row: Household, person: Person, relation: Relation) -> None:
    person.region_code = row.region_code
    session.add(person)
    await session.flush()
    session.add(
        Membership(
            id=new_id(), household_id=row.id, person_id=person.id, relation=relation,
            valid_from=date(2023, 1, 1),
        )
    )  # fmt: skip
    await session.flush()


def newcomer(name: str = "王安安", sex: str = "female", born: str = "2026-08-01", **changes: Any) -> Any:
    return {
        "name": name, "document_kind": "household_book", "document_number": f"W{uuid.uuid4().hex[:12]}".upper(),
        "birth_date": born, "sex": sex, "hukou_region_code": TOWN, "hukou_type": "rural", **changes,
    }  # fmt: skip


async def happens(
    session: AsyncSession,
    actor: Actor,
    household_id: uuid.UUID,
    kind: str,
    on: str = "2026-08-01",
    **event: Any,
) -> LifeEvent:
    happened = HAPPENED.validate_python(
        {"kind": kind, "happened_on": on, "evidence": "证明原件已查验", **event}
    )
    key = Key(new_id(), b"happens")
    return await life_events.record(session, actor, key=key, household_id=household_id, event=happened)


async def annulled(session: AsyncSession, actor: Actor, event: LifeEvent) -> LifeEvent:
    key = Key(new_id(), b"annul")
    return await life_events.annul(session, actor, key=key, event_id=event.id, reason="登记错人")


async def relations(session: AsyncSession, household_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """Who belongs to it now, and as what."""
    rows = await session.execute(
        select(Membership.person_id, Membership.relation).where(
            Membership.household_id == household_id, Membership.valid_to.is_(None)
        )
    )
    return {person: relation.value for person, relation in rows}
