"""Accepting a hospital's report: verified, checked, kept as evidence, and independent of the order of arrival
(versions.py says how)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, visible
from app.crypto import same
from app.db import new_id
from app.errors import Conflict, Forbidden, Invalid, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import AppliesTo
from app.models.households import Person
from app.models.identity import STAFF_ROLES
from app.models.results import DiagnosticReport, PartnerMessage, ReportVersion
from app.services import audit, follow_ups
from app.services.appointments import locks
from app.services.results import catalogue, posted, risk, telling
from app.services.results.posted import PostedReport
from app.services.results.versions import (
    RELEASED,
    TAKEN_BACK,
    Arrival,
    keep_message,
    legal_history,
    store,
    version_of,
)


class NotAttended(WrongState):
    zh, en = "该预约尚未签到", "Nobody has checked in for this appointment"
    do_zh, do_en = "请先为受检者签到，再提交报告", "Check the people in first, then post the report"


class ReportConflict(Conflict):
    """Another content under a known number and version, or a known number for another appointment."""

    zh, en = (
        "该报告编号和版本已有不同的内容",
        "This report number and version already stand for other content",
    )
    do_zh, do_en = (
        "内容已隔离待查；更正请使用新的版本号",
        "Kept in quarantine; send a correction as a new version",
    )


class IllegalReportStatus(Conflict):
    zh, en = "报告状态不能这样变化", "A report cannot change its status in this way"
    do_zh, do_en = (
        "内容已隔离待查；请以新的版本号提交正确的状态",
        "Kept in quarantine; send the right status as a new version",
    )


#: A refusal that keeps what it refuses is an answer and not an exception: the request's own transaction commits
#: what is kept, with the nonce of the request.
Refusal = ReportConflict | IllegalReportStatus
State = Literal["accepted", "replayed", "stale"]


@dataclass(frozen=True, slots=True)
class Accepted:
    report_id: uuid.UUID
    external_id: str
    version: int
    current_version: int
    state: State


async def accept(
    db: AsyncSession,
    actor: Actor,
    *,
    report: PostedReport,
    raw: bytes,
    signature: str,
    hospital: Actor | None = None,
) -> Accepted | Refusal:
    """Take one version of a report. The same bytes again change nothing; other bytes under a known version,
    another appointment under a known number and an illegal status are refused and kept in quarantine. `hospital`: whose
    it is where a worker uploads it; the worker is recorded as the source."""
    posted.refuse_foetal_sex(report)
    hospital = hospital or actor
    arrival = _arrival(actor, hospital, report, raw, signature)
    row = await _lock(db, hospital, report.external_id)
    known = await _known(db, row)
    if row is not None and report.version in known:
        return await _repeat(db, actor, row, known, arrival)
    appointment = await _attended(db, hospital, report, known=row is not None)
    people = await posted.people_of(db, appointment)
    posted.check(report, await catalogue.reportable(db, appointment), people)
    if row is None:
        if not await _register(db, hospital, report, appointment):
            # A twin was faster: it has committed by now, so look again.
            return await accept(db, actor, report=report, raw=raw, signature=signature, hospital=hospital)
        row = await _lock(db, hospital, report.external_id)
        if row is None:
            raise NotFound
    elif row.appointment_id != appointment.id:
        return await _conflict(db, actor, arrival, "other_appointment")
    return await _add(db, actor, row, arrival, known=list(known.values()), people=people)


def _arrival(actor: Actor, hospital: Actor, report: PostedReport, raw: bytes, signature: str) -> Arrival:
    uploaded_by = actor.account_id if actor.role in STAFF_ROLES else None
    if (actor.key_id is None) == (uploaded_by is None):
        raise Forbidden
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise Invalid.at("", "正文必须为 UTF-8", "the body must be UTF-8 (RFC 8259)") from error
    return Arrival(report, raw, signature[:1000], hospital.account_id, actor.key_id, uploaded_by)


async def _lock(db: AsyncSession, actor: Actor, external_id: str) -> DiagnosticReport | None:
    """After those whom it is about: a merge or a death holds them first, and then comes to their reports."""
    mine = (
        visible(actor, DiagnosticReport),
        DiagnosticReport.organization_id == actor.id,
        DiagnosticReport.external_id == external_id,
    )
    about = select(DiagnosticReport.person_id, DiagnosticReport.spouse_id).where(*mine)
    await locks.people(db, [id for both in await db.execute(about) for id in both])
    locked = select(DiagnosticReport).where(*mine).with_for_update(of=DiagnosticReport)
    return await db.scalar(locked.execution_options(populate_existing=True))


async def _known(db: AsyncSession, row: DiagnosticReport | None) -> dict[int, ReportVersion]:
    if row is None:
        return {}
    found = await db.scalars(select(ReportVersion).where(ReportVersion.report_id == row.id))
    return {version.version: version for version in found}


async def _repeat(
    db: AsyncSession,
    actor: Actor,
    row: DiagnosticReport,
    known: Mapping[int, ReportVersion],
    arrival: Arrival,
) -> Accepted | Refusal:
    version = known[arrival.report.version]
    if not same(version.content_hash, arrival.content_hash):
        return await _conflict(db, actor, arrival, "other_content")
    if version not in legal_history(known.values()):
        return IllegalReportStatus()
    return Accepted(row.id, row.external_id, version.version, row.current_version, "replayed")


async def _attended(db: AsyncSession, actor: Actor, report: PostedReport, *, known: bool) -> Appointment:
    """A known report can be taken back whatever became of the appointment."""
    if (report.appointment_code is None) == (report.appointment_id is None):
        raise Invalid.at(
            "/appointment_code", "预约码与预约编号须填且只填一个", "give either the code or the id"
        )
    query = select(Appointment).where(visible(actor, Appointment))
    if report.appointment_id is not None:
        query = query.where(Appointment.id == report.appointment_id)
    else:
        query = query.where(Appointment.code == tokens.typed_code(report.appointment_code or ""))
    appointment = await db.scalar(query)
    if appointment is None:
        raise NotFound
    attended = appointment.status in (AppointmentStatus.ARRIVED, AppointmentStatus.FULFILLED)
    if not attended and not (known and report.status in TAKEN_BACK):
        raise NotAttended
    return appointment


async def _register(
    db: AsyncSession, actor: Actor, report: PostedReport, appointment: Appointment
) -> uuid.UUID | None:
    """The report's row, unless a concurrent twin makes it first: then None, after the twin has committed. It belongs
    to where the person lives by now, who may have moved since the examination."""
    lives = select(Person.region_code).where(Person.id == appointment.person_id)
    values = {
        "id": new_id(),
        "organization_id": actor.id,
        "external_id": report.external_id,
        "appointment_id": appointment.id,
        "service_id": appointment.service_id,
        "person_id": appointment.person_id,
        "spouse_id": appointment.spouse_id,
        "region_code": func.coalesce(lives.scalar_subquery(), appointment.region_code),
        "current_version": report.version,
        "status": report.status,
        "issued_at": report.issued_at,
        "created_at": clock.now(),
    }
    made = insert(DiagnosticReport).values(values).on_conflict_do_nothing().returning(DiagnosticReport.id)
    return await db.scalar(made)


async def _add(
    db: AsyncSession,
    actor: Actor,
    row: DiagnosticReport,
    arrival: Arrival,
    *,
    known: Sequence[ReportVersion],
    people: Mapping[AppliesTo, uuid.UUID],
) -> Accepted | Refusal:
    version = version_of(row, arrival)
    history = legal_history([*known, version])
    await store(db, version, arrival, people)
    legal = version in history
    action = "post" if legal else "quarantine"
    await audit.record(db, actor, action, "diagnostic_report", row.id, people=people.values())
    if not legal:
        return IllegalReportStatus()
    current = history[-1]
    if not known or current.version != row.current_version:
        await _make_current(db, actor, row, current, people)
    answer: State = "accepted" if current is version else "stale"
    return Accepted(row.id, row.external_id, version.version, current.version, answer)


async def _conflict(db: AsyncSession, actor: Actor, arrival: Arrival, reason: str) -> ReportConflict:
    """The evidence is kept once, however often it is sent."""
    kept = await db.scalar(
        select(PartnerMessage.id).where(
            PartnerMessage.organization_id == arrival.organization_id,
            PartnerMessage.external_id == arrival.report.external_id,
            PartnerMessage.body_hash == arrival.content_hash,
            PartnerMessage.reason == reason,
        )
    )
    if kept is None:
        message = await keep_message(db, arrival, reason=reason)
        await audit.record(db, actor, "quarantine", "partner_message", message)
    return ReportConflict()


async def _make_current(
    db: AsyncSession,
    actor: Actor,
    row: DiagnosticReport,
    current: ReportVersion,
    people: Mapping[AppliesTo, uuid.UUID],
) -> None:
    """Only a released version carries a risk class and follow-ups; a withdrawn one takes them back. The people
    examined are told that there is something to read, and that it has changed."""
    shown_before = row.status in RELEASED and row.current_version != current.version
    row.current_version, row.status, row.issued_at = current.version, current.status, current.issued_at
    assessed = None
    if current.status in RELEASED:
        assessed = await risk.evaluate(db, report=row, version=current, people=people)
    row.risk_class = assessed.risk_class if assessed else None
    await follow_ups.derive(db, actor, report=row, people=people, assessed=assessed)
    await telling.tell(db, row, shown_before=shown_before)
