"""Another time for the same appointment: id and code stay, and the new place is taken before the old is free."""

import uuid

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import Conflict, Invalid, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.catalogue import Cycle, HealthcareService
from app.models.messages import NoticeKind
from app.services.appointments import bookings, locks, making, offers, places

S = AppointmentStatus


class OutOfOrder(Conflict):
    zh, en = "疗程各次时间须依次进行", "The sessions of a course follow each other in time"
    do_zh, do_en = "请选择前后两次之间的时段", "Choose a slot between the sessions before and after"


async def reschedule(db: AsyncSession, actor: Actor, *, id: uuid.UUID, slot_id: uuid.UUID) -> Appointment:
    """Within the time in which it could be cancelled. A place that is only held is accepted by it: booked at the other
    time, while the one offered goes to the next in line. Whatever fails leaves all as it was; asking again for the
    slot that it has changes nothing, since the first answer may be lost."""
    row = await _movable(db, actor, id)
    if row.slot_id == slot_id:
        return row if row.status is S.BOOKED else await offers.accept(db, actor, id=id)
    await bookings.require_in_time(db, row)
    return await _move(db, actor, row, slot_id)


async def reschedule_for(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, slot_id: uuid.UUID, reason: str, note: str | None
) -> Appointment:
    """By a worker, at any time until somebody has arrived, to any slot that a resident could book; those concerned are
    told. What is only held the worker accepts for them by it."""
    row = await _movable(db, actor, id)
    if row.slot_id == slot_id and row.status is S.BOOKED:
        return row
    if row.slot_id == slot_id:
        raise Invalid.at("/slot_id", "须为另一时段", "must be another slot")
    return await _move(db, actor, row, slot_id, reason=reason, note=note)


async def _movable(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Appointment:
    """Of a course all dates are held, in one order: of two moved at once, the second sees where the first went."""
    row = await fetch(db, actor, Appointment, id)
    await locks.appointments(db, Appointment.id == id if row.course_id is None else _same_course(row))
    if row.status in (S.HELD, S.EXPIRED):
        await offers.require_acceptable(db, actor, row)
    elif row.status is not S.BOOKED:
        raise WrongState(status_now=row.status)
    return row


def _same_course(row: Appointment) -> ColumnElement[bool]:
    return Appointment.course_id == row.course_id


async def _move(
    db: AsyncSession, actor: Actor, row: Appointment, slot_id: uuid.UUID, *, reason: str | None = None,
    note: str | None = None,
) -> Appointment:  # fmt: skip
    service, old_id = await db.get_one(HealthcareService, row.service_id), row.slot_id
    slot = await another(db, service, slot_id)
    await require_order(db, row, row.session, slot)
    await _write(db, row, slot, service)
    await places.hold(db, [old_id, slot.id])
    if not await places.take(db, slot.id, row.places):
        raise bookings.SlotFull if row.places == 1 else bookings.NotEnoughPlaces
    await bookings.record(db, actor, row, "reschedule", reason=reason, note=note, slot_id=slot.id)
    await places.free(db, actor, old_id, row.places)
    await bookings.tell_of(db, NoticeKind.APPOINTMENT_MOVED, row, once=clock.now().isoformat())
    return row


async def another(db: AsyncSession, service: HealthcareService, slot_id: uuid.UUID) -> Slot:
    """A slot of the same service that is open."""
    slot = await db.scalar(select(Slot).where(Slot.id == slot_id, making.KNOWN))
    if slot is None:
        raise NotFound
    if slot.service_id != service.id:
        raise Invalid.at("/slot_id", "须为同一服务的时段", "must be a slot of the same service")
    making.require_open(slot)
    return slot


async def require_order(db: AsyncSession, row: Appointment, session: int, slot: Slot) -> None:
    """This date of the course that `row` is of keeps to the clinic, and to its place among the others."""
    if row.course_id is None:
        return
    if slot.clinic_id != row.clinic_id:
        raise Invalid.at("/slot_id", "疗程须在同一服务点进行", "a course stays at one clinic")
    others = select(Appointment).where(_same_course(row), Appointment.session != session)
    for other in await db.scalars(others.execution_options(populate_existing=True)):
        if other.status in making.STANDING:
            earlier, later = (other, slot) if other.session < session else (slot, other)
            if later.starts_at < earlier.ends_at:
                raise OutOfOrder


async def _write(db: AsyncSession, row: Appointment, slot: Slot, service: HealthcareService) -> None:
    """Who is elsewhere at the new time is refused here."""
    values = {
        "slot_id": slot.id, "clinic_id": slot.clinic_id, "starts_at": slot.starts_at, "ends_at": slot.ends_at,
        "status": S.BOOKED,
    }  # fmt: skip
    if service.cycle is Cycle.EVENT and row.course_id is None:
        values["cycle"] = str(slot.id)
    open = Appointment.status.in_([S.HELD, S.BOOKED])
    moved = update(Appointment).where(Appointment.id == row.id, open).values(values).returning(Appointment)
    await db.execute(moved.execution_options(populate_existing=True))
