"""Recording what happened: one transaction in which every row that follows from it changes."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Conflict, Invalid, NotFound, Unavailable, WrongState, place
from app.models.households import (
    Category,
    CategoryDefinition,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
)
from app.models.life_events import LifeEvent, LifeEventKind
from app.services import idempotency
from app.services.follow_ups import families as follow_ups
from app.services.households import belonging, family_types
from app.services.households.belonging import Steps, change
from app.services.households.handbook import members_of, note
from app.services.idempotency import Key
from app.services.life_events import couples, deaths, joining
from app.services.life_events.events import (
    Adoption,
    Birth,
    CategoryEnded,
    CategoryGained,
    Death,
    Divorce,
    Happened,
    HeadChanged,
    Joined,
    Marriage,
    require_not_before,
)
from app.services.pages import newest_first
from app.services.plain import require_past


class CategoryHeld(Conflict):
    zh, en = "该类别已登记且仍有效", "This category is held already"
    do_zh, do_en = "如等级有变，请先终止原类别再登记", "Where the grade has changed, end it first"


async def record(
    db: AsyncSession, actor: Actor, *, key: Key, household_id: uuid.UUID, event: Happened
) -> LifeEvent:
    """By a worker who saw what proves it, in an active household of the own region. Who records vouches for the
    evidence, as in a verification: there is one pair of eyes here, a second where money depends on it."""
    if await idempotency.claim(db, actor, key):
        await fetch(db, actor, Household, household_id)
        people = await joining.concerned(db, event)
        homes = await belonging.lock_homes(db, people, [household_id])
        if people != await joining.concerned(db, event):
            raise Unavailable
        row = await fetch(db, actor, Household, household_id)  # it may have moved before it was ours
        if row.status is not HouseholdStatus.ACTIVE:
            raise WrongState(status_now=row.status)
        require_past("/event/happened_on", event.happened_on)
        try:
            await _write(db, actor, key, row, event)
        except Invalid as problem:
            raise _placed(problem) from None
        await family_types.settle(db, list(homes))
    return await fetch(db, actor, LifeEvent, key.id)


#: Where the form of an event has what moves and the choice of a head refuse.
PLACES = {
    "/head_id": "/event/head_id",
    "/to_region_code": "/event/leaves/to_region_code",
    "/members": "/event/leaves/children",
}


def _placed(problem: Invalid) -> Invalid:
    return Invalid(
        errors=[
            place(PLACES.get(one["pointer"], one["pointer"]), one["zh"], one["en"])
            for one in problem.errors or []
        ]
    )


async def _write(db: AsyncSession, actor: Actor, key: Key, row: Household, event: Happened) -> None:
    steps: Steps = []
    before = await belonging.members(db, row)
    person_id = await _happen(db, actor, key, row, event, before, steps)
    belonging.touch(row)
    db.add(
        LifeEvent(
            id=key.id, kind=event.kind, household_id=row.id, person_id=person_id,
            happened_on=event.happened_on, changes=steps, recorded_by=actor.id, recorded_at=clock.now(),
        )
    )  # fmt: skip
    await db.flush()  # constraints speak here; the handbook names who belongs to it now
    detail = {"evidence": event.evidence} | _detail(event)
    await note(
        db, actor, row, event.kind, person_id=person_id, happened_on=event.happened_on, detail=detail
    )  # fmt: skip
    if isinstance(event, Death) and row.status is HouseholdStatus.CLOSED:
        await note(db, actor, row, "closed")


def _detail(event: Happened) -> dict[str, Any]:
    match event:
        case CategoryGained():
            return {"code": event.code, "grade": event.grade}
        case CategoryEnded():
            return {"category_id": event.category_id}
        case _:
            return {}


People = dict[uuid.UUID, tuple[Person, Membership]]


def _member(people: People, id: uuid.UUID, pointer: str) -> tuple[Person, Membership]:
    if id not in people:
        raise Invalid.at(pointer, "不是该家庭的成员", "not a member of this household")
    return people[id]


async def _happen(
    db: AsyncSession, actor: Actor, key: Key, row: Household, event: Happened, people: People, steps: Steps
) -> uuid.UUID | None:
    """Whom it happened to."""
    match event:
        case Birth() | Adoption() | Joined():
            person_id = await joining.arrive(db, actor, row, event, steps)
            if isinstance(event, Birth):
                await follow_ups.born(db, actor, people.keys(), event.happened_on, steps)
            return person_id
        case Death():
            person, membership = _member(people, event.person_id, "/event/person_id")
            await deaths.die(db, actor, row, event, person, membership, steps)
            return person.id
        case Marriage() | Divorce():
            person, _ = _member(people, event.person_id, "/event/person_id")
            if isinstance(event, Marriage):
                await couples.marry(db, actor, row, event, person, steps)
            else:
                await couples.divorce(db, actor, row, event, person, steps)
            return person.id
        case CategoryGained():
            return await _gain(db, actor, key, row, event, people)
        case CategoryEnded():
            return await _end(db, row, event, steps)
        case HeadChanged():
            return await _change_head(db, row, event, people, steps)


async def _change_head(
    db: AsyncSession, row: Household, event: HeadChanged, people: People, steps: Steps
) -> uuid.UUID:
    _, membership = _member(people, event.head_id, "/event/head_id")
    if membership.relation is Relation.HEAD:
        raise Invalid.at("/event/head_id", "已是户主", "heads the household already")
    await belonging.settle_head(db, row, event.head_id, None, steps)
    return event.head_id


async def _gain(
    db: AsyncSession, actor: Actor, key: Key, row: Household, event: CategoryGained, people: People
) -> uuid.UUID | None:
    definition = await db.get(CategoryDefinition, event.code)
    if definition is None or definition.holder != ("household" if event.person_id is None else "person"):
        raise Invalid.at(
            "/event/code", "没有这个类别，或适用对象不符", "no such category, or not of such a holder"
        )
    if event.person_id is not None:
        person, _ = _member(people, event.person_id, "/event/person_id")
        require_not_before("/event/happened_on", event.happened_on, person.birth_date)
    holder = (
        Category.household_id == row.id if event.person_id is None else Category.person_id == event.person_id
    )
    held = select(Category.id).where(holder, Category.code == event.code, Category.valid_to.is_(None))
    if await db.scalar(held.limit(1)):
        raise CategoryHeld
    category = Category(
        id=key.id, code=event.code, household_id=None if event.person_id else row.id, person_id=event.person_id,
        grade=event.grade, valid_from=event.happened_on, verified_by=actor.account_id,
    )  # fmt: skip
    category.evidence = event.evidence
    db.add(category)
    return event.person_id


async def _end(db: AsyncSession, row: Household, event: CategoryEnded, steps: Steps) -> uuid.UUID | None:
    theirs = (Category.household_id == row.id) | Category.person_id.in_(members_of(row))
    query = select(Category).where(Category.id == event.category_id, theirs).with_for_update()
    category = await db.scalar(query)
    if category is None:
        raise NotFound
    if category.valid_to is not None:
        raise WrongState
    require_not_before("/event/happened_on", event.happened_on, category.valid_from)
    change(steps, category, "valid_to", event.happened_on)
    return category.person_id


@dataclass(frozen=True, slots=True)
class ListedEvent:
    id: uuid.UUID
    kind: LifeEventKind
    household_id: uuid.UUID
    person_id: uuid.UUID | None
    happened_on: date
    recorded_at: datetime
    annuls_id: uuid.UUID | None
    annulled_by: uuid.UUID | None


async def listing(
    db: AsyncSession, actor: Actor, *, household_id: uuid.UUID, before: uuid.UUID | None, limit: int
) -> list[ListedEvent]:  # fmt: skip
    """What was recorded in a household, newest first, and what of it was annulled: ids and dates only."""
    await fetch(db, actor, Household, household_id)
    annulment = aliased(LifeEvent)
    query = (
        select(LifeEvent, annulment.id)
        .outerjoin(annulment, annulment.annuls_id == LifeEvent.id)
        .where(visible(actor, LifeEvent), LifeEvent.household_id == household_id)
    )
    query = newest_first(query, LifeEvent.recorded_at, LifeEvent.id, before, limit)
    return [listed(event, annulled_by) for event, annulled_by in await db.execute(query)]


def listed(event: LifeEvent, annulled_by: uuid.UUID | None = None) -> ListedEvent:
    return ListedEvent(
        event.id, event.kind, event.household_id, event.person_id, event.happened_on, event.recorded_at,
        event.annuls_id, annulled_by,
    )  # fmt: skip
