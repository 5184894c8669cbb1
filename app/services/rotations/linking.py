"""Booking is the usual one: who has booked or had the check is read from the appointments, whoever made them."""

from sqlalchemy import String, Subquery, case, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.models.appointments import Appointment, AppointmentStatus
from app.models.rotations import Rotation, RotationStatus, RotationTurn, TurnStatus
from app.services.rotations.steps import AT_LONGEST, alone, note

T, S = TurnStatus, AppointmentStatus
COMING = (S.BOOKED, S.ARRIVED, S.FULFILLED)


async def follow(db: AsyncSession, rotation: Rotation) -> None:
    """Who booked is booked, who had the check has attended; whose appointment came to nothing is as before.
    While it is being planned nothing is done: planning does this itself."""
    if await alone(db, rotation.id):
        await _let_go(db, rotation)
        await _link(db, rotation)


async def _let_go(db: AsyncSession, rotation: Rotation) -> None:
    live = select(Appointment.id).where(
        Appointment.id == RotationTurn.appointment_id, Appointment.status.in_(COMING)
    )
    before = case((RotationTurn.invited_at.is_(None), T.PLANNED.value), else_=T.INVITED.value)
    changed = (
        update(RotationTurn)
        .where(RotationTurn.rotation_id == rotation.id, RotationTurn.status.in_([T.BOOKED, T.ATTENDED]))
        .where(RotationTurn.appointment_id.is_not(None), ~live.exists())
        .values(
            status=before, appointment_id=None, changed_at=clock.now(), version=RotationTurn.version + 1
        )
        .returning(RotationTurn.id, cast(RotationTurn.status, String).label("status"))
        .cte("let_go")
    )  # fmt: skip
    await db.execute(note(changed))


def _coming(rotation: Rotation) -> Subquery:
    """Of one who had it, and has another to come, the one that was had."""
    years = [str(rotation.first_year + number) for number in range(rotation.years)]
    had = Appointment.status == S.FULFILLED
    in_order = aggregate_order_by(Appointment.id, had.desc(), Appointment.starts_at)
    here = select(RotationTurn.person_id).where(RotationTurn.rotation_id == rotation.id)
    return (
        select(
            Appointment.subject_id,
            case((func.bool_or(had), T.ATTENDED.value), else_=T.BOOKED.value).label("status"),
            func.array_agg(in_order)[1].label("appointment_id"),
        )
        .where(Appointment.service_id == rotation.service_id, Appointment.cycle.in_(years))
        .where(Appointment.status.in_(COMING), Appointment.subject_id.in_(here))
        .group_by(Appointment.subject_id)
        .subquery()
    )


async def _link(db: AsyncSession, rotation: Rotation) -> None:
    coming = _coming(rotation)
    differs = or_(
        RotationTurn.appointment_id.is_distinct_from(coming.c.appointment_id),
        cast(RotationTurn.status, String) != coming.c.status,
    )
    # What somebody recorded of a check elsewhere is not undone by a booking.
    elsewhere = RotationTurn.checked_on.is_not(None) & (coming.c.status != T.ATTENDED.value)
    changed = (
        update(RotationTurn)
        .where(RotationTurn.rotation_id == rotation.id, RotationTurn.person_id == coming.c.subject_id)
        .where(RotationTurn.status != T.DROPPED, differs, ~elsewhere)
        .values(
            status=coming.c.status, appointment_id=coming.c.appointment_id, reason=None,
            changed_at=clock.now(), version=RotationTurn.version + 1,
        )
        .returning(RotationTurn.id, cast(RotationTurn.status, String).label("status"))
        .cte("linked")
    )  # fmt: skip
    await db.execute(note(changed))


async def follow_all() -> None:
    """Every hour."""
    async with begin() as db:
        live = select(Rotation).where(Rotation.status == RotationStatus.PUBLISHED).order_by(Rotation.id)
        found = list(await db.scalars(live))
    for rotation in found:
        async with begin() as db:
            await db.execute(AT_LONGEST)
            await follow(db, rotation)
