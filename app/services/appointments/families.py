"""What becomes of appointments when a family changes."""

import uuid

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.appointments import Appointment, AppointmentStatus
from app.models.messages import NoticeKind
from app.services.appointments import bookings, locks, places, waitlist

OPEN = (AppointmentStatus.HELD, AppointmentStatus.BOOKED)


async def call_off_of_person(db: AsyncSession, actor: Actor, person_id: uuid.UUID, *, reason: str) -> None:
    """Those to come of somebody who died, own and joint, the places held and the waiting too. Of what was joint the
    other is told: nothing is told to who died."""
    theirs = or_(Appointment.person_id == person_id, Appointment.spouse_id == person_id)
    await _call_off(db, actor, theirs, reason)
    await waitlist.end_of_person(db, actor, person_id)


async def call_off_of_couple(db: AsyncSession, actor: Actor, couple_id: uuid.UUID, *, reason: str) -> None:
    """Those to come that two people had booked as a couple which is none any more. Each may book anew."""
    await _call_off(db, actor, Appointment.subject_id == couple_id, reason)
    await waitlist.end_of_couple(db, actor, couple_id)


async def _call_off(db: AsyncSession, actor: Actor, theirs: ColumnElement[bool], reason: str) -> None:
    open = and_(theirs, Appointment.status.in_(OPEN), Appointment.starts_at > clock.now())
    rows = await locks.appointments(db, open)
    await bookings.step_all(db, actor, rows, AppointmentStatus.CANCELLED, reason=reason)
    await places.free_all(db, actor, rows)
    for row in rows:
        await bookings.tell_of(db, NoticeKind.APPOINTMENT_CANCELLED, row)


async def was_used(db: AsyncSession, subject_id: uuid.UUID) -> bool:
    """Whether a couple came to an appointment as such."""
    came = (AppointmentStatus.ARRIVED, AppointmentStatus.FULFILLED)
    query = select(Appointment.id).where(Appointment.subject_id == subject_id, Appointment.status.in_(came))
    return await db.scalar(query.limit(1)) is not None
