from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.catalogue import AppliesTo
from app.models.results import (
    DiagnosticReport,
    Interpretation,
    RiskAssessment,
    RiskClass,
    RiskSource,
)
from app.services import reference_data
from app.services.results import reports, risk
from app.services.results.risk import Measured
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value

WIFE, HUSBAND = AppliesTo.WIFE, AppliesTo.HUSBAND


async def report_of(session: AsyncSession, accepted: reports.Accepted) -> DiagnosticReport:
    query = select(DiagnosticReport).where(DiagnosticReport.id == accepted.report_id)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def count(session: AsyncSession, model: Any, **equals: Any) -> int:
    return (await session.scalars(select(func.count()).select_from(model).filter_by(**equals))).one()


def pre_pregnancy() -> risk.RiskRule:
    return risk.RiskRule.model_validate(reference_data.read("rules/risk_pre_pregnancy_check.json")["body"])


@pytest.mark.parametrize(
    ("code", "value", "expected"),
    [
        ("smoking", "yes", RiskClass.A),
        ("pesticide_exposure", "yes", RiskClass.A),
        ("discharge_routine", "candida", RiskClass.B),
        ("toxoplasma_igm", "positive", RiskClass.B),
        ("hbsag", "positive", RiskClass.C),
        ("cmv_igm", "positive", RiskClass.C),
        ("syphilis", "positive", RiskClass.C),
        ("rh", "negative", RiskClass.C),
        ("hypertension_history", "yes", RiskClass.C),
        ("systolic", Decimal(140), RiskClass.C),
        ("diabetes_history", "yes", RiskClass.C),
        ("genetic_disease_history", "yes", RiskClass.D),
        ("severe_heart_disease", "yes", RiskClass.X),
        ("systolic", Decimal(139), RiskClass.GENERAL),
        ("discharge_routine", "normal", RiskClass.GENERAL),
    ],
)
def test_each_finding_has_its_class(code: str, value: Decimal | str, expected: RiskClass) -> None:
    assert risk.assess(pre_pregnancy(), [Measured(WIFE, code, value)])[0] is expected


def test_the_highest_class_is_taken_and_the_lower_findings_are_kept() -> None:
    seen = [
        Measured(HUSBAND, "smoking", "yes"),
        Measured(WIFE, "genetic_disease_history", "yes"),
        Measured(HUSBAND, "male_genital_exam", "varicocele"),
    ]
    found, findings = risk.assess(pre_pregnancy(), seen)
    assert found is RiskClass.D
    assert [finding.risk_class for finding in findings] == [RiskClass.A, RiskClass.B, RiskClass.D]
    assert risk.assess(pre_pregnancy(), reversed(seen)) == (found, findings)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (Measured(WIFE, "haemoglobin", Decimal(112), range_low=Decimal(115)), RiskClass.B),
        (Measured(WIFE, "haemoglobin", Decimal(105), range_low=Decimal(100)), RiskClass.GENERAL),
        (Measured(WIFE, "haemoglobin", Decimal(105)), RiskClass.B),
        (Measured(HUSBAND, "haemoglobin", Decimal(115)), RiskClass.B),
        (
            Measured(WIFE, "haemoglobin", Decimal(105), interpretation=Interpretation.NORMAL),
            RiskClass.GENERAL,
        ),
        (Measured(WIFE, "tsh", Decimal("4.5"), interpretation=Interpretation.HIGH), RiskClass.C),
        (Measured(WIFE, "tsh", Decimal("4.5"), range_high=Decimal("4.94")), RiskClass.GENERAL),
    ],
)
def test_the_laboratorys_own_range_decides_before_ours(measured: Measured, expected: RiskClass) -> None:
    assert risk.assess(pre_pregnancy(), [measured])[0] is expected


async def test_the_hospitals_class_wins_and_the_findings_stay(session: AsyncSession) -> None:
    attended = await given.attended(session)
    wife = with_value(NORMAL_WIFE, "hbsag", "positive")

    accepted = await post(session, attended, body(attended, wife=wife, stated_risk="B"))

    assert (await report_of(session, accepted)).risk_class is RiskClass.B
    kept = (await session.scalars(select(RiskAssessment).filter_by(report_id=accepted.report_id))).one()
    assert kept.source is RiskSource.HOSPITAL
    assert [finding["code"] for finding in kept.findings] == ["hbsag"]


async def test_an_amended_result_is_assessed_once_more_and_a_withdrawn_one_has_no_class(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    posted = body(attended, wife=with_value(NORMAL_WIFE, "hbsag", "positive"))
    accepted = await post(session, attended, posted)
    await post(session, attended, posted | {"version": 2, "status": "amended", "wife": NORMAL_WIFE})
    assert (await report_of(session, accepted)).risk_class is RiskClass.GENERAL
    assert await count(session, RiskAssessment, report_id=accepted.report_id) == 2

    await post(session, attended, posted | {"version": 3, "status": "entered_in_error"})

    report = await report_of(session, accepted)
    assert (report.status, report.risk_class) == ("entered_in_error", None)
    assert await count(session, RiskAssessment, report_id=accepted.report_id) == 2
