"""Arrival, completion, absence, and what was entered in error."""

import io
import uuid

import segno
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch, visible
from app.errors import Conflict, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.models.consents import Purpose
from app.models.households import Person
from app.models.messages import NoticeKind
from app.services import audit, consents
from app.services.appointments import bookings, certificates, families, locks, places
from app.services.appointments.bookings import EARLY, S
from app.services.appointments.slots import day

#: In these an appointment keeps its place, and gives it back when it was never meant to be.
SEATED = (S.HELD, S.BOOKED, S.ARRIVED, S.FULFILLED, S.NO_SHOW)


class NotToday(Conflict):
    zh, en = "只能在预约当天签到", "Check-in is possible on the day of the appointment only"
    do_zh, do_en = "请核对预约日期，当天再来", "Look at the date of the appointment and come on that day"


async def check_in(db: AsyncSession, actor: Actor, *, code: str) -> tuple[Appointment, list[Person]]:
    """Arrival by the code that the couple shows, typed or scanned, on the day. The hospital now learns who they are, if
    they still agree to that (PIPL art. 23). Checking in again shows them again: the first answer may be lost."""
    query = select(Appointment).where(
        Appointment.code == tokens.typed_code(code), visible(actor, Appointment)
    )
    # Held, so that nobody arrives at a time from which the appointment has just been moved away.
    appointment = await db.scalar(query.with_for_update(of=Appointment))
    if appointment is None:
        raise NotFound
    start, end = day(clock.day_of(appointment.starts_at))
    if not min(start, appointment.starts_at - EARLY) <= clock.now() < end:
        raise NotToday
    service = await db.get_one(HealthcareService, appointment.service_id)
    if service.sensitive:
        await consents.require(db, people_of(appointment))
    if appointment.status is not S.ARRIVED:
        late = "no_show withdrawn: arrived the same day" if appointment.status is S.NO_SHOW else None
        appointment = await bookings.step(db, actor, appointment=appointment, to=S.ARRIVED, reason=late)
    return appointment, await shown(db, actor, appointment)


def people_of(appointment: Appointment) -> list[uuid.UUID]:
    return [person for person in (appointment.person_id, appointment.spouse_id) if person is not None]


async def shown(db: AsyncSession, actor: Actor, appointment: Appointment) -> list[Person]:
    """Who they are, to those who give the service: of each who agrees to that. At a lecture nobody has to."""
    ids = people_of(appointment)
    agreed = consents.agreed(Person.id, Purpose.SHARE_WITH_HOSPITAL)
    query = select(Person).where(Person.id.in_(ids), agreed).order_by(Person.sex, Person.id)
    people = list(await db.scalars(query))
    if people:
        read = [person.id for person in people]
        await audit.record(
            db, actor, "read_unmasked", "appointment", appointment.id, people=read, purpose="appointment"
        )
    return people


async def picture(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> bytes:
    """The code to check in with, as a QR code (ISO/IEC 18004) in SVG: it holds what could be typed, nothing else."""
    appointment = await fetch(db, actor, Appointment, id)
    drawn = io.BytesIO()
    segno.make_qr(appointment.code, error="m").save(drawn, kind="svg", scale=8, border=4, light="#fff")
    return drawn.getvalue()


async def fulfil(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """The examination or training took place; of a training those who came get their certificates."""
    appointment = await locks.appointment(db, actor, id)
    appointment = await bookings.step(db, actor, appointment=appointment, to=S.FULFILLED)
    await certificates.issue(db, actor, [appointment])
    return appointment


async def no_show(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """Nobody came, once the time is over. Coming later the same day still checks in."""
    # Held, so that nobody is absent at a time to which the appointment has just been moved.
    appointment = await fetch(db, actor, Appointment, id, lock=True)
    if appointment.ends_at > clock.now():
        raise WrongState(ends_at=appointment.ends_at.isoformat())
    return await bookings.step(db, actor, appointment=appointment, to=S.NO_SHOW)


async def annul(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str, note: str | None
) -> Appointment:
    """It should never have been entered: its place is free, its certificates are void, whatever state it was in. Who
    would have come is told."""
    appointment = await locks.appointment(db, actor, id)
    before: AppointmentStatus = appointment.status
    appointment = await bookings.step(
        db, actor, appointment=appointment, to=S.ENTERED_IN_ERROR, reason=reason, note=note
    )
    await certificates.revoke(db, appointment)
    if before in SEATED:
        await places.free(db, actor, appointment.slot_id, appointment.places)
    if before in families.OPEN and appointment.starts_at > clock.now():
        await bookings.tell_of(db, NoticeKind.APPOINTMENT_CANCELLED, appointment)
    return appointment
