"""The reminder of each appointment of the coming day."""

from datetime import timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment, AppointmentStatus, Clinic
from app.models.catalogue import HealthcareService
from app.models.messages import InboxMessage, NoticeKind
from app.services.messages.inbox import Notice, tell_many

BEFORE = timedelta(hours=24)
BATCH = 2000
KIND = NoticeKind.APPOINTMENT_REMINDER


async def tell_due(db: AsyncSession) -> None:
    """One reminder for each appointment within the 24 hours before it, to all whom it is for; another one if it was
    moved to a later day after that."""
    now = clock.now()
    reminded = exists().where(
        InboxMessage.person_id == Appointment.person_id, InboxMessage.kind == KIND,
        InboxMessage.entity_id == Appointment.id, InboxMessage.created_at >= Appointment.starts_at - BEFORE,
    )  # fmt: skip
    once = func.to_char(func.timezone("UTC", Appointment.starts_at), "YYYYMMDDHH24MI")
    query = (
        select(
            Appointment.id, Appointment.person_id, Appointment.spouse_id, Appointment.starts_at,
            HealthcareService.zh, Clinic.name, once.label("once"),
        )
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .where(Appointment.status == AppointmentStatus.BOOKED, ~reminded)
        .where(Appointment.starts_at > now, Appointment.starts_at <= now + BEFORE)
        .order_by(Appointment.starts_at)
        .limit(BATCH)
    )  # fmt: skip
    notices = [
        Notice(
            (row.person_id, row.spouse_id), row.id, once=row.once,
            values={"service": row.zh, "place": row.name, "time": row.starts_at.isoformat()},
        )
        for row in await db.execute(query)
    ]  # fmt: skip
    await tell_many(db, KIND, notices, entity="appointment")
