"""What a couple, a worker and a hospital may read of a report. Reading somebody's values is recorded."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, fetch, visible
from app.crypto import mask_name
from app.models.appointments import (
    AppliesTo,
    Appointment,
    HealthcareService,
    ObservationDefinition,
    ServiceItem,
    Subject,
)
from app.models.households import Person
from app.models.results import (
    DiagnosticReport,
    Interpretation,
    Observation,
    ReportStatus,
    ReportVersion,
    RiskAssessment,
    RiskClass,
    RiskSource,
)
from app.services import audit, identity
from app.services.results.posted import people_of
from app.services.results.risk import Finding, kept
from app.services.results.versions import RELEASED

MEANING: dict[RiskClass, tuple[str, str]] = {
    RiskClass.GENERAL: (
        "一般人群：未发现可能影响生育的风险因素",
        "General population: no risk factor was found",
    ),
    RiskClass.A: (
        "A 类：改变生活方式或脱离有害环境即可避免的风险",
        "A: avoidable by changing habits or surroundings",
    ),
    RiskClass.B: (
        "B 类：经治疗可以消除的风险，建议先治疗再怀孕",
        "B: treatable; treatment before pregnancy is advised",
    ),
    RiskClass.C: (
        "C 类：目前不能治愈但可以控制的风险，孕期需密切监测",
        "C: controllable; pregnancy under close monitoring",
    ),
    RiskClass.D: (
        "D 类：需接受遗传咨询、评估再发风险，孕期需做产前诊断",
        "D: needs genetic counselling and prenatal diagnosis",
    ),
    RiskClass.X: (
        "X 类：目前不宜怀孕，请先接受专科诊治",
        "X: pregnancy is not advised now; see a specialist first",
    ),
}


class Wording(StrEnum):
    """The three wordings of the national result sheet."""

    NONE_FOUND = "none_found"
    ONE_SPOUSE = "one_spouse"
    RISK_FOUND = "risk_found"


WORDINGS: dict[Wording, tuple[str, str]] = {
    Wording.NONE_FOUND: (
        "本次检查未发现可能影响生育的风险因素。",
        "No risk factor was found in this check.",
    ),
    Wording.ONE_SPOUSE: (
        "本次仅评估了夫妻一方，请另一方尽快前来检查。",
        "Only one spouse was assessed; the other should come for the check.",
    ),
    Wording.RISK_FOUND: (
        "本次检查发现风险因素，请到医院进一步咨询和诊治。",
        "A risk was found; please seek further care.",
    ),
}


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One value with the laboratory's own range."""

    role: AppliesTo
    item_zh: str
    item_en: str
    code: str
    zh: str
    en: str
    value: float | str
    value_zh: str | None
    value_en: str | None
    unit: str | None
    range_low: float | None
    range_high: float | None
    interpretation: Interpretation | None


@dataclass(frozen=True, slots=True)
class Risk:
    risk_class: RiskClass
    source: RiskSource | None
    zh: str
    en: str
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The joint sheet. Until a version is released it says only that a report is on its way."""

    id: uuid.UUID
    appointment_id: uuid.UUID
    service_zh: str
    service_en: str
    status: ReportStatus
    version: int
    issued_at: datetime
    wording: Wording | None
    wording_zh: str | None
    wording_en: str | None
    risk: Risk | None
    conclusion: str | None
    observations: list[ResultLine]


@dataclass(frozen=True, slots=True)
class ListedReport:
    """A report in a list: masked names, and nothing of what was found, as nobody's look at a list is recorded."""

    id: uuid.UUID
    service_id: uuid.UUID
    appointment_id: uuid.UUID
    status: ReportStatus
    issued_at: datetime
    region_code: str
    name: str
    spouse_name: str | None


async def list_reports(
    db: AsyncSession,
    actor: Actor,
    *,
    after: uuid.UUID | None,
    limit: int,
    status: ReportStatus | None = None,
) -> list[ListedReport]:
    """Newest first, with masked names."""
    spouse = aliased(Person)
    query = (
        select(DiagnosticReport, Person.name, spouse.name)
        .join(Person, Person.id == DiagnosticReport.person_id)
        .outerjoin(spouse, spouse.id == DiagnosticReport.spouse_id)
        .where(visible(actor, DiagnosticReport))
    )
    if status is not None:
        query = query.where(DiagnosticReport.status == status)
    if after is not None:
        query = query.where(DiagnosticReport.id < after)
    rows = await db.execute(query.order_by(DiagnosticReport.id.desc()).limit(limit))
    return [_listed(row, name, other) for row, name, other in rows]


def _listed(row: DiagnosticReport, name: str, spouse_name: str | None) -> ListedReport:
    return ListedReport(
        id=row.id,
        service_id=row.service_id,
        appointment_id=row.appointment_id,
        status=row.status,
        issued_at=row.issued_at,
        region_code=row.region_code,
        name=mask_name(name),
        spouse_name=spouse_name and mask_name(spouse_name),
    )


async def sheet(db: AsyncSession, actor: Actor, *, report_id: uuid.UUID, purpose: str | None = None) -> Sheet:
    """The joint sheet, for either spouse and for a worker with a purpose; recorded in both files."""
    row = await fetch(db, actor, DiagnosticReport, report_id)
    await audit.record(
        db, actor, "read", "diagnostic_report", row.id, people=[row.person_id, row.spouse_id], purpose=purpose
    )
    service = (
        await db.scalars(select(HealthcareService).where(HealthcareService.id == row.service_id))
    ).one()
    released = row.status in RELEASED
    lines = await _lines(db, row) if released else []
    risk = await _risk(db, row) if released else None
    wording = _wording(row, service, lines) if released else None
    zh, en = WORDINGS[wording] if wording else (None, None)
    return Sheet(
        id=row.id,
        appointment_id=row.appointment_id,
        service_zh=service.zh,
        service_en=service.en,
        status=row.status,
        version=row.current_version,
        issued_at=row.issued_at,
        wording=wording,
        wording_zh=zh,
        wording_en=en,
        risk=risk,
        conclusion=await _conclusion(db, row) if released else None,
        observations=lines,
    )


def _wording(row: DiagnosticReport, service: HealthcareService, lines: Iterable[ResultLine]) -> Wording:
    """A risk comes first: it needs care even while the other spouse has not been seen."""
    if row.risk_class not in (None, RiskClass.GENERAL):
        return Wording.RISK_FOUND
    assessed = {line.role for line in lines}
    if service.subject is Subject.COUPLE and len(assessed) < 2:
        return Wording.ONE_SPOUSE
    return Wording.NONE_FOUND


async def _conclusion(db: AsyncSession, row: DiagnosticReport) -> str | None:
    query = select(ReportVersion).where(
        ReportVersion.report_id == row.id, ReportVersion.version == row.current_version
    )
    conclusion: str | None = (await db.scalars(query)).one().conclusion
    return conclusion


async def _risk(db: AsyncSession, row: DiagnosticReport) -> Risk | None:
    if row.risk_class is None:
        return None
    query = select(RiskAssessment).where(
        RiskAssessment.report_id == row.id, RiskAssessment.version == row.current_version
    )
    kept_row = await db.scalar(query.order_by(RiskAssessment.assessed_at.desc()).limit(1))
    findings = kept(kept_row.findings) if kept_row else []
    return Risk(row.risk_class, kept_row.source if kept_row else None, *MEANING[row.risk_class], findings)


def _wording_of(definition: ObservationDefinition, code: str | None, language: str) -> str | None:
    return next((known[language] for known in definition.codes if known["code"] == code), None)


def _json(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


async def _lines(db: AsyncSession, row: DiagnosticReport) -> list[ResultLine]:
    appointment = (await db.scalars(select(Appointment).where(Appointment.id == row.appointment_id))).one()
    roles = {person: role for role, person in (await people_of(db, appointment)).items()}
    # A value stays with the id under which it was measured.
    roles |= {old: roles[person] for old, person in (await identity.former_ids(db, roles)).items()}
    rows = await db.execute(
        select(Observation, ObservationDefinition, ServiceItem)
        .join(ObservationDefinition, ObservationDefinition.code == Observation.code)
        .join(ServiceItem, ServiceItem.id == ObservationDefinition.service_item_id)
        .where(
            Observation.report_id == row.id,
            Observation.version == row.current_version,
            Observation.person_id.in_(roles),
            ServiceItem.service_id == row.service_id,
        )
        .order_by(ServiceItem.number, Observation.code, Observation.person_id)
    )
    return [
        ResultLine(
            role=roles[one.person_id],
            item_zh=item.zh,
            item_en=item.en,
            code=one.code,
            zh=definition.zh,
            en=definition.en,
            value=(one.value_code or "") if one.value_number is None else float(one.value_number),
            value_zh=_wording_of(definition, one.value_code, "zh"),
            value_en=_wording_of(definition, one.value_code, "en"),
            unit=one.unit,
            range_low=_json(one.range_low),
            range_high=_json(one.range_high),
            interpretation=one.interpretation,
        )
        for one, definition, item in rows
    ]
