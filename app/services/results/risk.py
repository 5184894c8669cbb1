"""From observations to a risk class: the highest of A < B < C < D < X that the rule table finds
(national free pre-pregnancy check; doi 10.1186/s12913-016-1930-4). The rule table is data."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.catalogue import AppliesTo, HealthcareService
from app.models.results import (
    DiagnosticReport,
    Interpretation,
    Observation,
    ReportVersion,
    RiskAssessment,
    RiskClass,
    RiskSource,
)
from app.models.rules import RuleKind
from app.services import rules
from app.services.plain import Body
from app.services.results.posted import roles_of
from app.services.results.wordings import Wording

RANK = {risk: rank for rank, risk in enumerate(RiskClass)}


class Condition(Body):
    """`*_range` compares with the laboratory's own range, else takes its flag; `low` and `high` are only our
    fallback for a laboratory that states neither. `reaches_*` takes the limit itself too: it is a cut-off of risk."""

    op: Literal[
        "eq", "in", "lt", "ge", "above_range", "below_range", "outside_range", "reaches_high", "reaches_low"
    ]
    value: Decimal | str | tuple[str, ...] | None = None
    low: Decimal | None = None
    high: Decimal | None = None


class Beside(Body):
    """Another value of the same person."""

    code: str
    when: Condition


class FindingRule(Body):
    """Found when the value meets `when` and every one `together` with it is met too."""

    code: str
    applies_to: AppliesTo
    when: Condition
    together: tuple[Beside, ...] = ()
    risk_class: RiskClass
    zh: str
    en: str


class Words(Body):
    zh: str
    en: str


class RiskRule(Body):
    """`meanings` and `wordings`: what classes and sheet say where it is not about planning a pregnancy."""

    findings: tuple[FindingRule, ...]
    meanings: dict[RiskClass, Words] = Field(default_factory=dict)
    wordings: dict[Wording, Words] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of one spouse, as the rule sees it."""

    role: AppliesTo
    code: str
    value: Decimal | str
    range_low: Decimal | None = None
    range_high: Decimal | None = None
    interpretation: Interpretation | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    role: AppliesTo
    code: str
    risk_class: RiskClass
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Assessed:
    """`risk_class` is None only where the hospital states none and there is no rule in force, or no value to judge."""

    risk_class: RiskClass | None
    findings: tuple[Finding, ...]


def assess(rule: RiskRule, measured: Iterable[Measured]) -> tuple[RiskClass, tuple[Finding, ...]]:
    """The class and every finding behind it, lower ones too: they are still counselled on. Pure, and the same
    for the values in any order."""
    values = sorted(measured, key=lambda one: (one.role, one.code))
    findings = tuple(
        Finding(one.role, one.code, entry.risk_class, entry.zh, entry.en)
        for entry in rule.findings
        for one in values
        if one.code == entry.code
        and entry.applies_to in (one.role, AppliesTo.BOTH)
        and holds(entry.when, one)
        and all(_beside(part, one.role, values) for part in entry.together)
    )
    return max((f.risk_class for f in findings), key=RANK.__getitem__, default=RiskClass.GENERAL), findings


def _beside(part: Beside, role: AppliesTo, values: Iterable[Measured]) -> bool:
    return any((one.role, one.code) == (role, part.code) and holds(part.when, one) for one in values)


def holds(when: Condition, one: Measured) -> bool:
    if when.op in ("eq", "in"):
        return one.value in (when.value if isinstance(when.value, tuple) else (when.value,))
    if when.op in ("lt", "ge"):
        if not isinstance(one.value, Decimal) or not isinstance(when.value, Decimal):
            return False
        return (one.value < when.value) == (when.op == "lt")
    return _beyond(when, one)


def _beyond(when: Condition, one: Measured) -> bool:
    match when.op:
        case "below_range":
            return _below(when, one)
        case "above_range":
            return _above(when, one)
        case "reaches_low":
            return _below(when, one) or one.value == _limit(one, one.range_low, when.low)
        case "reaches_high":
            return _above(when, one) or one.value == _limit(one, one.range_high, when.high)
    return _below(when, one) or _above(when, one)


def _below(when: Condition, one: Measured) -> bool:
    low = _limit(one, one.range_low, when.low)
    if isinstance(one.value, Decimal) and low is not None:
        return one.value < low
    return one.interpretation is Interpretation.LOW


def _above(when: Condition, one: Measured) -> bool:
    high = _limit(one, one.range_high, when.high)
    if isinstance(one.value, Decimal) and high is not None:
        return one.value > high
    return one.interpretation is Interpretation.HIGH


def _limit(one: Measured, laboratory: Decimal | None, fallback: Decimal | None) -> Decimal | None:
    """The laboratory's limit; ours only when it says nothing at all about this value."""
    silent = one.range_low is None and one.range_high is None and one.interpretation is None
    return fallback if laboratory is None and silent else laboratory


async def evaluate(
    db: AsyncSession,
    *,
    report: DiagnosticReport,
    version: ReportVersion,
    people: Mapping[AppliesTo, uuid.UUID],
) -> Assessed:
    """Assess a released version under the rule in force on its day of issue. It is kept once, also when the version
    becomes current again. The hospital's own class wins when it states one. Of no values nothing is said."""
    code = await db.scalar(select(HealthcareService.code).where(HealthcareService.id == report.service_id))
    day = clock.day_of(version.issued_at)
    row = await rules.in_force(db, kind=RuleKind.RISK, code=code or "", on=day)
    if row is None:
        return Assessed(version.stated_risk, ())
    measured = await _measured(db, report.id, version.version, people)
    if not measured and version.stated_risk is None:
        return Assessed(None, ())
    found, findings = assess(RiskRule.model_validate(row.body), measured)
    values = {
        "id": new_id(),
        "report_id": report.id,
        "version": version.version,
        "rule_version_id": row.id,
        "risk_class": version.stated_risk or found,
        "source": RiskSource.HOSPITAL if version.stated_risk else RiskSource.RULE,
        "findings": [asdict(finding) for finding in findings],
        "assessed_at": clock.now(),
    }
    await db.execute(insert(RiskAssessment).values(values).on_conflict_do_nothing())
    return Assessed(version.stated_risk or found, findings)


async def _measured(
    db: AsyncSession, report_id: uuid.UUID, version: int, people: Mapping[AppliesTo, uuid.UUID]
) -> list[Measured]:
    roles = await roles_of(db, people)
    rows = await db.scalars(
        select(Observation).where(
            Observation.report_id == report_id,
            Observation.version == version,
            Observation.person_id.in_(roles),
        )
    )
    return [
        Measured(
            role=roles[row.person_id],
            code=row.code,
            value=row.value_code if row.value_number is None else row.value_number,  # type: ignore[arg-type]
            range_low=row.range_low,
            range_high=row.range_high,
            interpretation=row.interpretation,
        )
        for row in rows
    ]


def kept(findings: Iterable[dict[str, Any]]) -> list[Finding]:
    """Findings as they were stored."""
    return [
        Finding(AppliesTo(f["role"]), f["code"], RiskClass(f["risk_class"]), f["zh"], f["en"])
        for f in findings
    ]
