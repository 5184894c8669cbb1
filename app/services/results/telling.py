"""Telling those examined that a result is there, or has changed: never what it says."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.appointments import Appointment, Clinic
from app.models.catalogue import HealthcareService
from app.models.messages import NoticeKind
from app.models.results import DiagnosticReport
from app.services import messages
from app.services.results.versions import RELEASED


async def tell(db: AsyncSession, report: DiagnosticReport, *, shown_before: bool) -> None:
    """Once when a report comes to be released, and once for each version that takes the place of one that was shown,
    also when the hospital takes the report back."""
    if not shown_before and report.status not in RELEASED:
        return
    query = (
        select(HealthcareService.zh, Clinic.name)
        .join(Appointment, Appointment.service_id == HealthcareService.id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .where(Appointment.id == report.appointment_id)
    )
    service, place = (await db.execute(query)).one()
    kind = NoticeKind.REPORT_CHANGED if shown_before else NoticeKind.REPORT_RELEASED
    await messages.tell(
        db, kind, [report.person_id, report.spouse_id], entity="diagnostic_report", entity_id=report.id,
        values={"service": service, "place": place}, once=str(report.current_version),
    )  # fmt: skip
