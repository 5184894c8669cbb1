"""Waiting lists: a place that comes free goes to the first in line whom it suits."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Unavailable
from app.models.appointments import Clinic, Origin, Qualification, Slot, SlotStatus
from app.models.catalogue import Cycle, HealthcareService
from app.models.messages import NoticeKind
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import audit, eligibility
from app.services.appointments import holding, line, locks, places
from app.services.appointments.holding import Hold
from app.services.messages import Notice, tell_many

W = WaitlistStatus
LIVE = (W.WAITING, W.OFFERED)
#: Nobody's deed: who gave the place up is not told about in the file of who gets it.
CALLER = Actor.system("waitlist")
#: Looked at together; and how many may be settled anew before the rest waits for the next run.
BATCH, MOST_SETTLED = 50, 20


async def offer_free(db: AsyncSession, _: Actor, slot_id: uuid.UUID) -> int:
    """Hold each free place of an open slot for the next waiter that it suits, until the answer or its time runs out;
    returns how many were offered. Who no longer qualifies leaves the line and is told; whom it does not suit, or who
    has not agreed to the notices in force, is passed over and stays. The slot stays locked."""
    slot = await _open(db, slot_id)
    if slot is None:
        return 0
    service = await db.get_one(HealthcareService, slot.service_id)
    if holding.until(service, slot.starts_at) is None:
        return 0
    await line.hold(db, slot.clinic_id, slot.service_id)
    free, offered, after = slot.capacity - slot.booked, 0, (-1, 0)
    unsettled = MOST_SETTLED
    while free > 0 and unsettled > 0:
        batch = await _next(db, slot, service, free, after)
        if not batch:
            break
        called: list[tuple[WaitlistEntry, str]] = []
        for entry, decided in batch:
            after, cycle = (entry.priority, entry.number), decided
            if cycle is None:
                unsettled -= 1
                cycle = await _settle(db, service, entry)
            if cycle is not None and entry.places <= free:
                called.append((entry, cycle))
                free -= entry.places
            if unsettled == 0:  # nobody behind may be called before who comes next
                break
        made = await _offer(db, slot, service, called)
        free += sum(entry.places for entry, _ in called) - sum(one.places for one in made)
        offered += len(made)
    return offered


async def _open(db: AsyncSession, slot_id: uuid.UUID) -> Row[Any] | None:
    """The slot, if there is something to offer."""
    now = clock.now()
    query = select(*Slot.__table__.columns).where(
        Slot.id == slot_id, Slot.status == SlotStatus.OPEN, Slot.booked < Slot.capacity, Slot.opens_at <= now
    )
    return (await db.execute(query.where(Slot.starts_at > now).with_for_update())).one_or_none()


async def _next(
    db: AsyncSession, slot: Row[Any], service: HealthcareService, free: int, after: tuple[int, int]
) -> list[tuple[WaitlistEntry, str | None]]:
    """The next in line. Asked twice: only once these people are held is what was read about them sure to last."""
    query = line.suited(slot, service, free=free, after=after, limit=min(free, BATCH))
    first = (await db.execute(query)).all()
    if not first:
        return []
    people = {id for entry, _ in first for id in (entry.person_id, entry.spouse_id) if id is not None}
    held = await line.settled(db, sorted(people))
    again = (await db.execute(query)).all()
    sure = [(e, cycle) for e, cycle in again if {e.person_id, e.spouse_id} - {None} <= held]
    if sure:
        return sure
    last = first[-1][0]
    return await _next(db, slot, service, free, (last.priority, last.number))


async def _settle(db: AsyncSession, service: HealthcareService, entry: WaitlistEntry) -> str | None:
    """Whoever waited for longer than a decision lasts is decided about anew; who does not qualify, as whom the entry
    is for, is out of the line."""
    try:
        await eligibility.settle(db, CALLER, service=service, person_id=entry.person_id)
    except eligibility.NoRuleInForce:
        return None
    cycle: str | None = await db.scalar(
        select(Qualification.cycle).where(
            Qualification.service_id == service.id, Qualification.person_id == entry.person_id,
            Qualification.subject_id == entry.subject_id, Qualification.valid_until > clock.now(),
        )
    )  # fmt: skip
    if cycle is None:
        await end(db, CALLER, WaitlistEntry.id == entry.id)
    return cycle


async def _offer(
    db: AsyncSession, slot: Row[Any], service: HealthcareService, called: Sequence[tuple[WaitlistEntry, str]]
) -> list[Hold]:
    until = holding.until(service, slot.starts_at)
    assert until is not None
    entries = {}
    for entry, qualified in called:
        cycle = str(slot.id) if service.cycle is Cycle.EVENT else qualified
        hold = Hold(
            slot, entry.subject_id, entry.person_id, entry.spouse_id, entry.account_id, entry.region_code, cycle,
            entry.places, Origin.WAITLIST, until,
        )  # fmt: skip
        entries[hold] = entry
    made = await holding.hold(db, CALLER, list(entries))
    if made and not await places.take(db, slot.id, sum(one.places for one in made)):
        raise Unavailable  # never: the slot is ours
    for one in made:
        entry = entries[one]
        entry.status, entry.appointment_id, entry.changed_at = W.OFFERED, one.id, clock.now()
    await tell_held(db, NoticeKind.PLACE_OFFERED, service, made)
    return made


async def tell_held(
    db: AsyncSession, kind: NoticeKind, service: HealthcareService, made: Sequence[Hold]
) -> None:
    """What is held for whom, and until when."""
    clinics = {one.slot.clinic_id for one in made}
    if not made:
        return
    names = dict((await db.execute(select(Clinic.id, Clinic.name).where(Clinic.id.in_(clinics)))).all())
    notices = [
        Notice(
            [one.person_id, one.spouse_id], one.id,
            {
                "service": service.zh, "place": names[one.slot.clinic_id], "time": one.slot.starts_at.isoformat(),
                "until": one.until.isoformat(),
            },
        )
        for one in made
    ]  # fmt: skip
    await tell_many(db, kind, notices, entity="appointment")


async def end(db: AsyncSession, actor: Actor, which: ColumnElement[bool], *, limit: int = 1000) -> int:
    """Those who wait and no longer may, or need to, are out of the line and told; says how many."""
    e = WaitlistEntry
    query = select(e.id, e.person_id, e.spouse_id).where(which, e.status == W.WAITING)
    found = (await db.execute(query.order_by(e.id).limit(limit))).all()
    if not found:
        return 0
    await locks.people(db, {id for row in found for id in row[1:]})
    held = select(e.id).where(e.id.in_([row.id for row in found]), e.status == W.WAITING)
    ids = list(await db.scalars(held.order_by(e.id).with_for_update()))
    left = (
        update(WaitlistEntry)
        .where(WaitlistEntry.id.in_(ids))
        .values(status=W.WITHDRAWN, changed_at=clock.now())
        .returning(WaitlistEntry)
        .execution_options(populate_existing=True)
    )
    rows = list(await db.scalars(left))
    people = [(row.id, (row.person_id, row.spouse_id)) for row in rows]
    await audit.record_each(db, actor, "end", "waitlist_entry", people)
    notices = [
        Notice([row.person_id, row.spouse_id], row.id, await where(db, row.service_id, row.clinic_id))
        for row in rows
    ]
    await tell_many(db, NoticeKind.WAITING_ENDED, notices, entity="waitlist_entry")
    return len(rows)


async def where(db: AsyncSession, service_id: uuid.UUID, clinic_id: uuid.UUID) -> dict[str, str]:
    """What and where, as notices name it."""
    service, clinic = await db.get_one(HealthcareService, service_id), await db.get_one(Clinic, clinic_id)
    return {"service": service.zh, "place": clinic.name}


async def end_of_person(db: AsyncSession, actor: Actor, person_id: uuid.UUID) -> None:
    """Own and joint."""
    await end(db, actor, or_(WaitlistEntry.person_id == person_id, WaitlistEntry.spouse_id == person_id))


async def end_of_couple(db: AsyncSession, actor: Actor, couple_id: uuid.UUID) -> None:
    """Two who are a couple no more. Each may join anew."""
    await end(db, actor, WaitlistEntry.subject_id == couple_id)


async def end_past(db: AsyncSession) -> int:
    """Those whose last day is over."""
    return await end(db, CALLER, WaitlistEntry.to_on < clock.today())


async def unserved(db: AsyncSession, *, limit: int) -> list[uuid.UUID]:
    """Open slots with a free place for which somebody waits who may have it: one came free while somebody joined, or
    nobody could be called then. Of each service the nearest in time first."""
    soonest = clock.now() + holding.BEFORE_START + holding.SHORTEST
    waiting = WaitlistEntry.status == W.WAITING
    waited_for = HealthcareService.id.in_(select(WaitlistEntry.service_id).where(waiting))
    found: list[uuid.UUID] = []
    for service in await db.scalars(select(HealthcareService).where(waited_for)):
        lines = select(WaitlistEntry.clinic_id).where(waiting, WaitlistEntry.service_id == service.id)
        query = (
            select(Slot.id)
            .where(Slot.service_id == service.id, Slot.clinic_id.in_(lines), Slot.starts_at > soonest)
            .where(Slot.status == SlotStatus.OPEN, Slot.booked < Slot.capacity, Slot.opens_at <= clock.now())
            .where(line.called_for(service))
            .order_by(Slot.starts_at, Slot.id)
            .limit(limit - len(found))
        )
        found += await db.scalars(query)
    return found
