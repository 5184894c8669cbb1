"""Attendance certificates of trainings: a number that anybody may check, a sheet to print."""

import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, visible
from app.db import begin, new_id
from app.errors import NotFound
from app.models.appointments import Appointment, Clinic
from app.models.catalogue import HealthcareService
from app.models.certificates import AttendanceCertificate
from app.models.households import Person
from app.models.messages import NoticeKind
from app.models.partners import Organization
from app.services import audit, papers
from app.services.appointments import certificate_sheet
from app.services.messages import Notice, tell_many
from app.services.pages import newest_first
from app.settings import settings

#: 32 to the power of this: nobody guesses one.
NUMBER_LENGTH = 12
PUBLIC = Actor.system("certificate_check")


async def issue(db: AsyncSession, actor: Actor, attended: Sequence[Appointment]) -> None:
    """Of trainings one for each who attended, once; they are told."""
    trainings = [
        (row, service, await db.get_one(Clinic, row.clinic_id))
        for row in attended
        if (service := await db.get_one(HealthcareService, row.service_id)).certificate
    ]
    people = [(row.id, [row.person_id, row.spouse_id]) for row, *_ in trainings]
    rows = [
        {
            "id": new_id(), "number": tokens.random_code(NUMBER_LENGTH), "appointment_id": id, "person_id": person,
            "issued_at": clock.now(),
        }
        for id, both in people
        for person in both
        if person is not None
    ]  # fmt: skip
    if rows:
        await db.execute(insert(AttendanceCertificate).on_conflict_do_nothing(), rows)
    await audit.record_each(db, actor, "issue", "attendance_certificate", people)
    notices = [
        Notice(
            [row.person_id, row.spouse_id], row.id,
            {"service": service.zh, "place": clinic.name, "time": row.starts_at.isoformat()},
        )
        for row, service, clinic in trainings
    ]  # fmt: skip
    await tell_many(db, NoticeKind.CERTIFICATE_READY, notices, entity="appointment")


async def revoke(db: AsyncSession, appointment: Appointment) -> None:
    """Those of an appointment that was entered in error."""
    theirs = (
        AttendanceCertificate.appointment_id == appointment.id,
        AttendanceCertificate.revoked_at.is_(None),
    )
    await db.execute(update(AttendanceCertificate).where(*theirs).values(revoked_at=clock.now()))


def _certificates() -> Select[Any]:
    return (
        select(
            *AttendanceCertificate.__table__.columns, HealthcareService.zh.label("service_zh"),
            HealthcareService.en.label("service_en"), Appointment.starts_at, Clinic.name.label("clinic_name"),
            Organization.name.label("organization_name"), Person.name.label("person_name"),
        )
        .join(Appointment, Appointment.id == AttendanceCertificate.appointment_id)
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
        .join(Person, Person.id == AttendanceCertificate.person_id)
    )  # fmt: skip


async def mine(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Row[Any]]:
    """One's own, newest first."""
    query = _certificates().where(visible(actor, AttendanceCertificate))
    query = newest_first(query, AttendanceCertificate.issued_at, AttendanceCertificate.id, before, limit)
    return list(await db.execute(query))


async def sheet(actor: Actor, *, id: uuid.UUID) -> bytes:
    """The certificate as a PDF."""
    with papers.turn():
        return await _drawn(actor, id)


async def _drawn(actor: Actor, id: uuid.UUID) -> bytes:
    async with begin() as db:
        query = _certificates().where(AttendanceCertificate.id == id, visible(actor, AttendanceCertificate))
        row = (await db.execute(query)).one_or_none()
        if row is None or row.revoked_at is not None:
            raise NotFound
        await audit.record(db, actor, "download", "attendance_certificate", id, people=[row.person_id])
    drawn = certificate_sheet.Sheet(
        name=row.person_name, training=row.service_zh, training_en=row.service_en, place=row.clinic_name,
        attended_on=_day(row), number=row.number, issuer=settings().association_name,
    )  # fmt: skip
    return await papers.drawn(certificate_sheet.draw, drawn)


def _day(row: Row[Any]) -> date:
    attended: date = clock.day_of(row.starts_at)
    return attended


async def check(db: AsyncSession, *, number: str, first_character: str) -> dict[str, Any]:
    """Whether a certificate is good, for who holds it in hand: the number, and the first character of the name on it.
    Anything else, whatever it is, is not valid; no name is ever said."""
    query = _certificates().where(
        AttendanceCertificate.number == tokens.typed_code(number), AttendanceCertificate.revoked_at.is_(None)
    )
    row = (await db.execute(query)).one_or_none()
    if row is None or row.person_name[:1] != first_character:
        await audit.record(db, PUBLIC, "check", "attendance_certificate")
        return {"valid": False}
    await audit.record(db, PUBLIC, "check", "attendance_certificate", row.id, people=[row.person_id])
    return {
        "valid": True, "training_zh": row.service_zh, "training_en": row.service_en,
        "organization_name": row.organization_name, "attended_on": _day(row),
    }  # fmt: skip
