"""Who belongs to a household: joining, leaving, the head, and where everybody is counted.

Whoever changes a membership holds the household's lock; of several households in the order of their ids.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import flag_modified

from app.db import Base, new_id
from app.errors import Conflict, Invalid, Unavailable
from app.models.households import Category, Couple, Household, HouseholdStatus, Membership, Person, Relation

#: What was changed, old and new, so that it can be restored.
Steps = list[dict[str, Any]]

H, S, C, P, O = Relation.HEAD, Relation.SPOUSE, Relation.CHILD, Relation.PARENT, Relation.OTHER  # noqa: E741
#: By the new head's relation to the former one: what each other member's becomes (GB/T 4761).
RENAMED: dict[Relation, Mapping[Relation, Relation]] = {
    S: {H: S, S: O, C: C, P: O, O: O},
    C: {H: P, S: P, C: O, P: O, O: O},
    P: {H: C, S: O, C: O, P: O, O: O},
    O: {H: O, S: O, C: O, P: O, O: O},
}


class NewHeadNeeded(Conflict):
    zh, en = "请指定新的户主", "Name the new head of the household"
    do_zh = "户主离开后，请在 head_id 中填写留下的一位成员"
    do_en = "The head leaves: give one of those who stay as head_id"


class Deceased(Conflict):
    zh, en = "该人员已登记死亡", "This person is recorded as deceased"
    do_zh, do_en = "如死亡登记有误，请先撤销", "If that is a mistake, annul it first"


def plain(value: Any) -> Any:
    """As it is kept in JSON."""
    if isinstance(value, StrEnum):
        return value.value
    return value.isoformat() if isinstance(value, date) else value


def change(steps: Steps, row: Base, column: str, value: Any) -> None:
    """Set a value and remember the old one."""
    old = getattr(row, column)
    if old == value:
        return
    place = {"table": row.__tablename__, "id": str(row.id), "column": column}  # type: ignore[attr-defined]
    steps.append(place | {"old": plain(old), "new": plain(value)})
    setattr(row, column, value)


def begun(steps: Steps, row: Base, on: date) -> None:
    """Something that ends began on that day: undone, it has lasted no day."""
    place = {"table": row.__tablename__, "id": str(row.id), "column": "valid_to"}  # type: ignore[attr-defined]
    steps.append(place | {"old": on.isoformat(), "new": None})


async def lock(db: AsyncSession, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Household]:
    """Households as they are now, held until the transaction ends; always in the order of their ids."""
    query = select(Household).where(Household.id.in_(set(ids))).order_by(Household.id).with_for_update()
    rows = await db.scalars(query.execution_options(populate_existing=True))
    return {row.id: row for row in rows}


async def lock_homes(
    db: AsyncSession, people: Iterable[uuid.UUID], households: Iterable[uuid.UUID] = ()
) -> dict[uuid.UUID, Household]:
    """The households to which these people belong, and those named besides. Until the transaction ends nobody else
    changes who belongs to them; whoever was quicker between look and lock has changed what was asked for."""
    ids = set(people)
    before = await homes_of(db, ids)
    rows = await lock(db, {*before.values(), *households})
    if before != await homes_of(db, ids):
        raise Unavailable
    return rows


def touch(row: Household) -> None:
    """Somebody else's older version of it is stale from now on, whatever changed around it."""
    flag_modified(row, "status")


async def members(db: AsyncSession, row: Household) -> dict[uuid.UUID, tuple[Person, Membership]]:
    """Those who belong to it now, held until the transaction ends."""
    query = (
        select(Person, Membership)
        .join(Membership, Membership.person_id == Person.id)
        .where(Membership.household_id == row.id, Membership.valid_to.is_(None))
        .order_by(Person.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {person.id: (person, membership) for person, membership in await db.execute(query)}


def counted_in(row: Household) -> str | None:
    """Nobody is counted where a household is not, or is no more."""
    return row.region_code if row.status is HouseholdStatus.ACTIVE else None


def join(db: AsyncSession, row: Household, person: Person, relation: Relation, on: date) -> Membership:
    """The person belongs to the household from that day and is counted where it lives."""
    if person.died_on is not None:
        raise Deceased
    made = Membership(
        id=new_id(), household_id=row.id, person_id=person.id, relation=relation, valid_from=on
    )  # fmt: skip
    db.add(made)
    person.region_code = counted_in(row)
    return made


def leave(steps: Steps, membership: Membership, on: date) -> date:
    """Ends, on the day it began at the earliest. The person is still to be counted elsewhere, or nowhere."""
    day = max(on, membership.valid_from)
    change(steps, membership, "valid_to", day)
    return day


async def settle_head(
    db: AsyncSession, row: Household, head_id: uuid.UUID | None, former: Relation | None, steps: Steps
) -> None:
    """After a head has left (`former` is then HEAD) or is to change: exactly one of those who belong to the
    household heads it. A household in which nobody is left is closed, with its categories."""
    await db.flush()  # who has left is a member no more
    staying = {id: membership for id, (_, membership) in (await members(db, row)).items()}
    heads = [id for id, membership in staying.items() if membership.relation is Relation.HEAD]
    if not staying:
        await _close(db, row, steps)
    elif former is Relation.HEAD or (head_id is not None and heads != [head_id]):
        if head_id is None and len(staying) == 1:
            [head_id] = staying
        if head_id is None:
            raise NewHeadNeeded
        if head_id not in staying:
            raise Invalid.at("/head_id", "不是该家庭的成员", "not one of those who stay")
        await _rename(db, staying, head_id, steps)


async def _close(db: AsyncSession, row: Household, steps: Steps) -> None:
    """What it held ends on the day on which the last one left. The village may give its number to another."""
    change(steps, row, "status", HouseholdStatus.CLOSED)
    row.local_number = None
    left = await db.scalar(select(func.max(Membership.valid_to)).where(Membership.household_id == row.id))
    held = select(Category).where(Category.household_id == row.id, Category.valid_to.is_(None))
    for category in await db.scalars(held.with_for_update()):
        change(steps, category, "valid_to", max(left or category.valid_from, category.valid_from))


async def _rename(
    db: AsyncSession, staying: Mapping[uuid.UUID, Membership], head_id: uuid.UUID, steps: Steps
) -> None:
    """The relations of all are those to the new head."""
    table = RENAMED.get(staying[head_id].relation, {})
    spouse_id = await spouse_of(db, head_id)
    for id, membership in staying.items():
        if id == head_id:
            relation = Relation.HEAD
        elif id == spouse_id:
            relation = Relation.SPOUSE
        else:
            relation = table.get(membership.relation, membership.relation)
        change(steps, membership, "relation", relation)


async def couple_of(db: AsyncSession, person_id: uuid.UUID) -> Couple | None:
    """The marriage that the person lives in now."""
    query = select(Couple).where(
        or_(Couple.wife_id == person_id, Couple.husband_id == person_id), Couple.valid_to.is_(None)
    )
    return await db.scalar(query.with_for_update().execution_options(populate_existing=True))


async def spouse_of(db: AsyncSession, person_id: uuid.UUID) -> uuid.UUID | None:
    couple = await couple_of(db, person_id)
    if couple is None:
        return None
    return couple.husband_id if couple.wife_id == person_id else couple.wife_id


async def homes_of(db: AsyncSession, people: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """By person, without those who belong to none."""
    query = select(Membership.person_id, Membership.household_id).where(
        Membership.person_id.in_(people), Membership.valid_to.is_(None)
    )
    return dict((await db.execute(query)).all())


async def home_of(db: AsyncSession, person_id: uuid.UUID) -> uuid.UUID | None:
    """The household to which the person belongs now."""
    query = select(Membership.household_id).where(
        Membership.person_id == person_id, Membership.valid_to.is_(None)
    )
    home: uuid.UUID | None = await db.scalar(query)
    return home
