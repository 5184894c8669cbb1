"""What a couple, a worker and a hospital may read of a report. Reading somebody's values is recorded."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, fetch, visible
from app.crypto import mask_name
from app.models.catalogue import HealthcareService, Subject
from app.models.households import Person
from app.models.results import (
    DiagnosticReport,
    ReportStatus,
    ReportVersion,
    RiskAssessment,
    RiskClass,
    RiskSource,
)
from app.models.rules import RuleVersion
from app.services import audit, identity
from app.services.results import attachments
from app.services.results.lines import ResultLine, lines_of
from app.services.results.risk import Finding, RiskRule, Words, kept
from app.services.results.versions import RELEASED
from app.services.results.wordings import MEANING, WORDINGS, Wording

__all__ = ["ListedReport", "Sheet", "Wording", "list_reports", "sheet"]


@dataclass(frozen=True, slots=True)
class Risk:
    risk_class: RiskClass
    source: RiskSource | None
    zh: str
    en: str
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The joint sheet. Until a version is released it says only that a report is on its way. `wording` and `risk` are
    None, too, where nothing was assessed. `attachment`: the hospital has sent its own document along."""

    id: uuid.UUID
    appointment_id: uuid.UUID
    service_zh: str
    service_en: str
    status: ReportStatus
    version: int
    issued_at: datetime
    wording: Wording | None = None
    wording_zh: str | None = None
    wording_en: str | None = None
    risk: Risk | None = None
    conclusion: str | None = None
    attachment: bool = False
    observations: list[ResultLine] = field(default_factory=list)


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
    about: uuid.UUID | None = None,
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
    if about is not None:
        # Asked for first: of a query within OR no index is used, and all reports there are would be read.
        known = list(await db.scalars(identity.known_as(about)))
        query = query.where(DiagnosticReport.person_id.in_(known) | DiagnosticReport.spouse_id.in_(known))
    if after is not None:
        query = query.where(DiagnosticReport.id < after)
    rows = await db.execute(query.order_by(DiagnosticReport.id.desc()).limit(limit))
    return [_listed(row, name, other) for row, name, other in rows]


async def health_file(
    db: AsyncSession, actor: Actor, *, person_id: uuid.UUID, purpose: str, after: uuid.UUID | None, limit: int
) -> list[ListedReport]:
    """健康档案: every report about somebody, of whatever service, also under an earlier registration. That there is one
    tells something already: the look goes into the person's file."""
    person = await fetch(db, actor, Person, person_id)
    await audit.record(db, actor, "read_reports", "person", person.id, people=[person.id], purpose=purpose)
    return await list_reports(db, actor, after=after, limit=limit, about=person.id)


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
    if row.status not in RELEASED:
        return _on_its_way(row, service)
    lines = await lines_of(db, row)
    assessed, rule = await _assessed(db, row)
    wording = _wording(row, service, lines)
    zh, en = _said(rule.wordings.get(wording), WORDINGS[wording]) if wording else (None, None)
    return replace(
        _on_its_way(row, service),
        wording=wording,
        wording_zh=zh,
        wording_en=en,
        risk=_risk(row, assessed, rule),
        conclusion=await _conclusion(db, row),
        attachment=await attachments.of(db, row) is not None,
        observations=lines,
    )


def _on_its_way(row: DiagnosticReport, service: HealthcareService) -> Sheet:
    return Sheet(
        id=row.id,
        appointment_id=row.appointment_id,
        service_zh=service.zh,
        service_en=service.en,
        status=row.status,
        version=row.current_version,
        issued_at=row.issued_at,
    )


def _wording(
    row: DiagnosticReport, service: HealthcareService, lines: Iterable[ResultLine]
) -> Wording | None:
    """A risk comes first: it needs care even while the other spouse has not been seen. Where nothing was assessed,
    nothing is said: nobody looked for a risk."""
    if row.risk_class is None:
        return None
    if row.risk_class is not RiskClass.GENERAL:
        return Wording.RISK_FOUND
    assessed = {line.role for line in lines}
    if service.subject is Subject.COUPLE and len(assessed) == 1:
        return Wording.ONE_SPOUSE
    return Wording.NONE_FOUND


async def _conclusion(db: AsyncSession, row: DiagnosticReport) -> str | None:
    query = select(ReportVersion).where(
        ReportVersion.report_id == row.id, ReportVersion.version == row.current_version
    )
    conclusion: str | None = (await db.scalars(query)).one().conclusion
    return conclusion


async def _assessed(db: AsyncSession, row: DiagnosticReport) -> tuple[RiskAssessment | None, RiskRule]:
    """The class as it was found, and the words of the rule that found it."""
    query = (
        select(RiskAssessment, RuleVersion.body)
        .join(RuleVersion, RuleVersion.id == RiskAssessment.rule_version_id)
        .where(RiskAssessment.report_id == row.id, RiskAssessment.version == row.current_version)
    )
    found = (await db.execute(query.order_by(RiskAssessment.assessed_at.desc()).limit(1))).first()
    if found is None:
        return None, RiskRule(findings=())
    return found[0], RiskRule.model_validate(found[1])


def _risk(row: DiagnosticReport, assessed: RiskAssessment | None, rule: RiskRule) -> Risk | None:
    if row.risk_class is None:
        return None
    findings = kept(assessed.findings) if assessed else []
    words = _said(rule.meanings.get(row.risk_class), MEANING[row.risk_class])
    return Risk(row.risk_class, assessed.source if assessed else None, *words, findings)


def _said(own: Words | None, usual: tuple[str, str]) -> tuple[str, str]:
    return (own.zh, own.en) if own else usual
