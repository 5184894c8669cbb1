"""What was recorded by mistake is annulled by a new event: the rows that ended go on, nothing is taken out."""

import uuid
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.db import Base
from app.errors import Conflict, WrongState
from app.models.follow_ups import FollowUp
from app.models.households import Category, Couple, Household, HouseholdStatus, Membership, Person, Relation
from app.models.life_events import LifeEvent, LifeEventKind
from app.services import eligibility, idempotency
from app.services.appointments import families as appointments
from app.services.corrections import following as corrections
from app.services.follow_ups import families as follow_ups
from app.services.households import belonging, family_types
from app.services.households.handbook import note
from app.services.idempotency import Key
from app.services.life_events import couples

ARRIVALS = (LifeEventKind.BIRTH, LifeEventKind.ADOPTION, LifeEventKind.JOINED)
ANNULLABLE = (LifeEventKind.DEATH, LifeEventKind.MARRIAGE, LifeEventKind.DIVORCE, *ARRIVALS)
TABLES: dict[str, type[Base]] = {
    model.__tablename__: model for model in (Person, Membership, Couple, Category, Household, FollowUp)
}


class NotAnnullable(WrongState):
    zh, en = "这类登记不能撤销", "An event of this kind is not annulled"
    do_zh = "可撤销死亡、结婚、离婚和新成员入户登记；由迁移入户的请办理迁移，其他情况请按实际重新登记"
    do_en = "Deaths, marriages, divorces and arrivals are; who came by a move goes by one; else record what is true"


class AlreadyAnnulled(WrongState, constraint="uq_life_event_annuls_id"):
    zh, en = "该登记已撤销", "This event is annulled already"


class LaterChanges(Conflict):
    zh, en = "此后又有依赖于该登记的变更", "Something later depends on this event"
    do_zh, do_en = "请先撤销或更正之后的变更", "Annul or correct first what came after it"


async def annul(db: AsyncSession, actor: Actor, *, key: Key, event_id: uuid.UUID, reason: str) -> LifeEvent:
    """A death, marriage, divorce or arrival that did not happen: what it ended goes on as if it had never been
    recorded, while each value still is as it left it. Cancelled appointments, a released account and who lives where
    stay as they are by now."""
    if await idempotency.claim(db, actor, key):
        event = await fetch(db, actor, LifeEvent, event_id)
        homes = await belonging.lock_homes(db, await _people(db, event), [event.household_id])
        row = homes[event.household_id]
        event = await fetch(db, actor, LifeEvent, event_id)
        if event.kind not in ANNULLABLE or (event.kind in ARRIVALS and not event.changes):
            raise NotAnnullable
        if await db.scalar(select(exists().where(LifeEvent.annuls_id == event.id))):
            raise AlreadyAnnulled
        await _undo(db, actor, row, event)
        belonging.touch(row)
        db.add(
            LifeEvent(
                id=key.id, kind=LifeEventKind.ANNULMENT, household_id=row.id, person_id=event.person_id,
                happened_on=clock.today(), changes=[], annuls_id=event.id, recorded_by=actor.id,
                recorded_at=clock.now(),
            )
        )  # fmt: skip
        await db.flush()  # a marriage meanwhile is refused here
        detail = {"reason": reason, "annuls": event.kind}
        await note(db, actor, row, "annulment", person_id=event.person_id, detail=detail)
        await family_types.settle(db, list(homes))
    return await fetch(db, actor, LifeEvent, key.id)


async def _people(db: AsyncSession, event: LifeEvent) -> set[uuid.UUID]:
    """Everybody whom it changed."""
    changed = {uuid.UUID(step["id"]) for step in event.changes}
    members = await db.scalars(select(Membership.person_id).where(Membership.id.in_(changed)))
    married = await db.execute(select(Couple.wife_id, Couple.husband_id).where(Couple.id.in_(changed)))
    own = {event.person_id} if event.person_id else set()
    return own | set(members) | {id for row in married for id in row}


async def _undo(db: AsyncSession, actor: Actor, row: Household, event: LifeEvent) -> None:
    touched = [await _restore(db, step) for step in reversed(event.changes)]
    await db.flush()  # constraints speak before anything else does
    for couple in _of(touched, Couple):
        await _settle_couple(db, actor, couple)
    follow_ups.restate(db, actor, _of(touched, FollowUp))
    if event.kind is LifeEventKind.DEATH:
        await _settle_household(db, row, _of(touched, Person))
    if event.kind in ARRIVALS:
        for membership in _of(touched, Membership):
            await _take_out(db, actor, membership)


def _of(rows: Iterable[Any], model: type[Any]) -> list[Any]:
    return [row for row in rows if isinstance(row, model)]


async def _restore(db: AsyncSession, step: dict[str, Any]) -> Base | None:
    """The old value, if it still has the new one. What somebody did about a follow-up since then stands."""
    model, column = TABLES[step["table"]], step["column"]
    query = select(model).where(model.id == uuid.UUID(step["id"])).with_for_update()  # type: ignore[attr-defined]
    row: Base = (await db.scalars(query.execution_options(populate_existing=True))).one()
    if belonging.plain(getattr(row, column)) != step["new"]:
        if model is FollowUp:
            return None
        raise LaterChanges
    kind = getattr(model, column).type.python_type
    old = step["old"]
    setattr(row, column, old if old is None else date.fromisoformat(old) if kind is date else kind(old))
    return row


async def _settle_couple(db: AsyncSession, actor: Actor, couple: Couple) -> None:
    """Married again: both must live. Not married after all: as a couple they had nothing."""
    if couple.valid_to is None:
        died = exists().where(Person.id.in_([couple.wife_id, couple.husband_id]), Person.died_on.is_not(None))
        if await db.scalar(select(died)):
            raise LaterChanges
    elif await appointments.was_used(db, couple.id):
        raise LaterChanges
    await couples.relate(db, couple)  # which holds the people, before their appointments are
    if couple.valid_to is not None:
        await appointments.call_off_of_couple(db, actor, couple.id, reason="annulment")
    await eligibility.lapse(db, [couple.wife_id, couple.husband_id])


async def _take_out(db: AsyncSession, actor: Actor, membership: Membership) -> None:
    """Who has not come after all is counted nowhere; who married or heads a household since then did come."""
    if membership.valid_to is None:  # a member before it too
        return
    person = await db.get_one(Person, membership.person_id, with_for_update=True)
    if membership.relation is Relation.HEAD or await belonging.couple_of(db, person.id):
        raise LaterChanges
    person.region_code = None
    await corrections.lapse(db, person.id)
    await appointments.call_off_of_person(db, actor, person.id, reason="annulment")
    await eligibility.lapse(db, [person.id])


async def _settle_household(db: AsyncSession, row: Household, people: list[Person]) -> None:
    """Who lives after all is counted where the household is by now, which still has one head."""
    head = Membership.relation == Relation.HEAD
    here = (Membership.household_id == row.id, Membership.valid_to.is_(None))
    heads = await db.scalar(select(func.count()).select_from(Membership).where(*here, head))
    if row.status is not HouseholdStatus.ACTIVE or heads != 1:
        raise LaterChanges
    for person in people:
        person.region_code = row.region_code
    await corrections.follow(db, row.region_code, people=[person.id for person in people])
