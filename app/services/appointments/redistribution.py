"""Moving everyone out of closed slots: cancelled, another time held where there is one, told once."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Unavailable
from app.models.appointments import Appointment, AppointmentStatus, Clinic, Origin, Slot
from app.models.catalogue import Cycle, HealthcareService
from app.models.closures import Closure, ClosureMove
from app.models.messages import NoticeKind
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import audit
from app.services.appointments import holding, line, locks, nearby, places, waitlist
from app.services.appointments.holding import Hold
from app.services.messages import Notice, tell_many

CLERK = Actor.system("closures")
BATCH = 500
#: Who did not ask for another time has longer to answer.
LEAST_HOLD = timedelta(hours=72)
#: So many times the places needed are looked at, where nearer ones suit nobody, before somebody goes without.
FARTHEST_LOOK = 8
OPEN = (AppointmentStatus.HELD, AppointmentStatus.BOOKED)


def open_in(slots: Any) -> ColumnElement[bool]:
    """Who still has, or is held, a place in these slots."""
    return and_(Appointment.slot_id.in_(slots), Appointment.status.in_(OPEN))


async def move(db: AsyncSession, closure: Closure, slots: Any, *, slots_held: bool = False) -> int:
    """The next of those in these cancelled slots, in the order in which they had booked; says how many. Who holds the
    slots waits for nobody: whoever is about to cancel has the appointment, and waits for the slot."""
    rows = await locks.appointments(db, open_in(slots), limit=BATCH, waits=not slots_held)
    if not rows:
        return 0
    await places.hold(db, {row.slot_id for row in rows})  # before lines, and in the order of all
    back = await _back_in_line(db, rows)
    await _cancel(db, closure, rows)
    made: dict[uuid.UUID, Hold] = {}
    clinic = await db.get_one(Clinic, closure.clinic_id)
    for service_id in sorted({row.service_id for row in rows}):
        service = await db.get_one(HealthcareService, service_id)
        theirs = [row for row in rows if row.service_id == service_id and row.id not in back]
        made |= await _offer(db, clinic, service, theirs)
    left = [row for row in rows if row.id not in made]
    entries = await _to_the_front(db, [row for row in left if row.id not in back])
    await _write(db, closure, rows, made, entries | back)
    await _tell_none(db, clinic, left)
    return len(rows)


async def _back_in_line(db: AsyncSession, rows: Sequence[Appointment]) -> dict[uuid.UUID, uuid.UUID]:
    """Who was only being offered a place from the line keeps the place in it: appointment → entry."""
    entry = WaitlistEntry
    returned = (
        update(entry)
        .where(entry.appointment_id.in_([row.id for row in rows]), entry.status == WaitlistStatus.OFFERED)
        .values(status=WaitlistStatus.WAITING, changed_at=clock.now())
        .returning(entry.appointment_id, entry.id)
    )
    done = await db.execute(returned.execution_options(synchronize_session=False))
    return {appointment: id for appointment, id in done if appointment is not None}


async def _cancel(db: AsyncSession, closure: Closure, rows: Sequence[Appointment]) -> None:
    ids = [row.id for row in rows]
    cancelled = update(Appointment).where(Appointment.id.in_(ids), Appointment.status.in_(OPEN))
    cancelled = cancelled.values(status=AppointmentStatus.CANCELLED)
    await db.execute(cancelled.execution_options(synchronize_session=False))
    people = [(row.id, (row.person_id, row.spouse_id)) for row in rows]
    reason = f"closure: {closure.reason}"
    await holding.note(db, CLERK, AppointmentStatus.CANCELLED, people, reason=reason)
    taken = (
        select(Appointment.slot_id, func.sum(Appointment.places).label("places"))
        .where(Appointment.id.in_(ids))
        .group_by(Appointment.slot_id)
        .subquery()
    )
    freed = update(Slot).where(Slot.id == taken.c.slot_id).values(booked=Slot.booked - taken.c.places)
    await db.execute(freed.execution_options(synchronize_session=False))


async def _offer(
    db: AsyncSession, clinic: Clinic, service: HealthcareService, rows: Sequence[Appointment]
) -> dict[uuid.UUID, Hold]:
    """Cancelled appointment → what is held in its place. As many places are looked at as are needed, and then on: the
    first may suit nobody, or be too early for those of later days."""
    engaged = await nearby.engagements(db, rows)
    left, made = list(rows), dict[uuid.UUID, Hold]()
    looked_at, times = set[uuid.UUID](), 1
    while left and times <= FARTHEST_LOOK:
        first, needed = min(row.starts_at for row in left), times * sum(row.places for row in left)
        seats = await nearby.find(db, clinic, service, first, needed, but=looked_at)
        looked_at |= {seat.slot.id for seat in seats}
        seated = await _seat(db, service, left, seats, engaged)
        left = [row for row in left if row.id not in seated]
        made |= seated
        times = 1 if seated else 2 * times
    await waitlist.tell_held(db, NoticeKind.CLOSED_ANOTHER_OFFERED, service, list(made.values()))
    return made


async def _seat(
    db: AsyncSession, service: HealthcareService, rows: Sequence[Appointment], seats: Sequence[nearby.Seat],
    engaged: nearby.Engagements,
) -> dict[uuid.UUID, Hold]:  # fmt: skip
    holds = {}
    for row in rows:
        seat = nearby.nearest(row, seats, engaged)
        if seat is None:
            continue
        seat.free -= row.places
        holds[row.id] = _hold(service, row, seat.slot)
        engaged.add(row, seat.slot)
        seats = [one for one in seats if one.free > 0]
    made = {one.id for one in await holding.hold(db, CLERK, list(holds.values()))}
    holds = {id: one for id, one in holds.items() if one.id in made}
    await _take(db, holds.values())
    return holds


async def _take(db: AsyncSession, holds: Iterable[Hold]) -> None:
    taken: dict[uuid.UUID, int] = defaultdict(int)
    for one in holds:
        taken[one.slot.id] += one.places
    for slot_id in sorted(taken):
        if not await places.take(db, slot_id, taken[slot_id]):
            raise Unavailable  # never: the slots are ours


def _hold(service: HealthcareService, row: Appointment, slot: Row[Any]) -> Hold:
    until = holding.until(service, slot.starts_at, LEAST_HOLD)
    assert until is not None
    cycle = str(slot.id) if service.cycle is Cycle.EVENT else row.cycle
    return Hold(
        slot, row.subject_id, row.person_id, row.spouse_id, row.account_id, row.region_code, cycle, row.places,
        Origin.CLOSURE, until, row.session, row.course_id,
    )  # fmt: skip


async def _to_the_front(db: AsyncSession, rows: Sequence[Appointment]) -> dict[uuid.UUID, uuid.UUID]:
    """Who finds no other time is the next to be called, in the order in which they had booked: appointment → entry.
    The date of a course is chosen with its others: there is no line for it."""
    single = [row for row in rows if row.course_id is None]
    if not single:
        return {}
    for clinic_id, service_id in sorted({(row.clinic_id, row.service_id) for row in single}):
        await line.hold(db, clinic_id, service_id)
    # Of events one may have had several there: one entry waits for any of them.
    firsts: dict[tuple[uuid.UUID, uuid.UUID], Appointment] = {}
    for row in single:
        firsts.setdefault((row.subject_id, row.service_id), row)
    joined = insert(WaitlistEntry).values([_entry(row) for row in firsts.values()])
    # Written out: with parameters a plan for any values, which PostgreSQL makes after a while, does not find the index.
    live = text("status IN ('waiting', 'offered')")
    # Who waits there already may go on as long as before.
    last = func.greatest(WaitlistEntry.to_on, joined.excluded.to_on)
    first = joined.on_conflict_do_update(
        index_elements=["subject_id", "service_id", "clinic_id"], index_where=live,
        set_={name: joined.excluded[name] for name in ("priority", "from_on", "changed_at")} | {"to_on": last},
    )  # fmt: skip
    returned = first.returning(WaitlistEntry.subject_id, WaitlistEntry.service_id, WaitlistEntry.id)
    ids = {(subject, service): id for subject, service, id in (await db.execute(returned))}
    entries = {row.id: ids[row.subject_id, row.service_id] for row in single}
    people = [(entries[row.id], (row.person_id, row.spouse_id)) for row in single]
    await audit.record_each(db, CLERK, "join", "waitlist_entry", people)
    return entries


def _entry(row: Appointment) -> dict[str, Any]:
    copied = (
        "clinic_id", "service_id", "subject_id", "person_id", "spouse_id", "account_id", "region_code", "places",
    )  # fmt: skip
    now, today = clock.now(), clock.today()
    return {name: getattr(row, name) for name in copied} | {
        "id": new_id(), "priority": 0, "from_on": today, "to_on": today + nearby.HORIZON,
        "status": WaitlistStatus.WAITING, "created_at": now, "changed_at": now,
    }  # fmt: skip


async def _write(
    db: AsyncSession, closure: Closure, rows: Sequence[Appointment], made: dict[uuid.UUID, Hold],
    entries: dict[uuid.UUID, uuid.UUID],
) -> None:  # fmt: skip
    await db.execute(
        insert(ClosureMove),
        [
            {
                "appointment_id": row.id, "closure_id": closure.id,
                "offered_id": made[row.id].id if row.id in made else None, "waitlist_entry_id": entries.get(row.id),
            }
            for row in rows
        ],
    )  # fmt: skip


async def _tell_none(db: AsyncSession, clinic: Clinic, rows: Sequence[Appointment]) -> None:
    notices = [
        Notice(
            [row.person_id, row.spouse_id], row.id,
            await waitlist.where(db, row.service_id, clinic.id) | {"time": row.starts_at.isoformat()},
        )
        for row in rows
    ]  # fmt: skip
    await tell_many(db, NoticeKind.CLOSED_NONE_FREE, notices, entity="appointment")
