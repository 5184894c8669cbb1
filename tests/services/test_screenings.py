"""The screenings beside the pre-pregnancy check: what each finds, and what its sheet says."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.catalogue import AppliesTo
from app.models.results import Interpretation, RiskClass
from app.services import eligibility, reference_data
from app.services.eligibility import Context
from app.services.results import reading, risk
from app.services.results.risk import Measured, RiskRule
from app.services.results.wordings import WORDINGS, Wording
from tests.factories import appointments as given
from tests.factories.results import body, post

WIFE = AppliesTo.WIFE
TORCH, PRENATAL, CANCER, WOMEN = (
    "torch_screening", "prenatal_screening", "two_cancer_screening", "womens_health_check",
)  # fmt: skip
G, A, B, C, D = RiskClass.GENERAL, RiskClass.A, RiskClass.B, RiskClass.C, RiskClass.D


def rule(code: str) -> RiskRule:
    return RiskRule.model_validate(reference_data.read(f"rules/risk_{code}.json")["body"])


@pytest.mark.parametrize(
    ("service", "values", "expected"),
    [
        (TORCH, {"toxoplasma_igm": "positive"}, B),
        (TORCH, {"rubella_igm": "positive"}, C),
        (TORCH, {"hsv2_igm": "uncertain"}, B),
        (TORCH, {"rubella_igg": "negative"}, A),
        (TORCH, {"cmv_igm": "negative", "cmv_igg": "positive"}, G),
        (PRENATAL, {"t21_one_in": 270}, D),
        (PRENATAL, {"t21_one_in": 271}, G),
        (PRENATAL, {"t18_one_in": 350}, D),
        (PRENATAL, {"t18_one_in": 351}, G),
        (PRENATAL, {"afp_mom": "2.5"}, D),
        (PRENATAL, {"afp_mom": "2.49"}, G),
        (CANCER, {"hpv": "hpv_16_18"}, C),
        (CANCER, {"hpv": "hpv_other", "tct": "NILM"}, B),
        (CANCER, {"hpv": "hpv_other", "tct": "ASC_US"}, C),
        (CANCER, {"hpv": "negative", "tct": "ASC_US"}, B),
        (CANCER, {"tct": "HSIL"}, D),
        (CANCER, {"cervical_biopsy": "CIN1"}, C),
        (CANCER, {"breast_birads": "birads_0"}, C),
        (CANCER, {"breast_birads": "birads_2"}, G),
        (CANCER, {"breast_birads": "birads_3"}, B),
        (CANCER, {"mammography_birads": "birads_5"}, D),
        (WOMEN, {"discharge_routine": "candida", "systolic": 150}, C),
        (WOMEN, {"tct": "LSIL"}, C),
    ],
)
def test_what_each_screening_finds(service: str, values: dict[str, Any], expected: RiskClass) -> None:
    measured = [
        Measured(WIFE, code, value if isinstance(value, str) and not value[0].isdigit() else Decimal(value))
        for code, value in values.items()
    ]
    assert risk.assess(rule(service), measured)[0] is expected


def test_the_laboratory_s_own_cut_off_counts_before_ours() -> None:
    def found(**measured: Any) -> RiskClass:
        one = Measured(WIFE, "afp_mom", Decimal("2.2"), **measured)
        return risk.assess(rule(PRENATAL), [one])[0]

    assert found() is G
    assert found(range_high=Decimal("2.0")) is D
    assert found(range_high=Decimal("2.2")) is D
    assert found(interpretation=Interpretation.HIGH) is D
    assert found(interpretation=Interpretation.NORMAL) is G


def test_values_of_two_people_are_not_taken_together() -> None:
    both = [Measured(WIFE, "hpv", "hpv_other"), Measured(AppliesTo.HUSBAND, "tct", "ASC_US")]
    assert risk.assess(rule(CANCER), both)[0] is B


@pytest.mark.parametrize("service", [TORCH, PRENATAL, CANCER, WOMEN])
def test_each_class_has_words_of_its_own(service: str) -> None:
    own = rule(service)
    assert set(own.meanings) == set(RiskClass)
    assert set(own.wordings) == {Wording.NONE_FOUND, Wording.RISK_FOUND}


async def test_the_sheet_of_a_screening_speaks_of_the_screening(session: AsyncSession) -> None:
    attended = await given.attended(session, service_code=CANCER)
    clear = {"wife": [{"code": "hpv", "value": "negative"}], "husband": []}
    accepted = await post(session, attended, body(attended, **clear))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert sheet.wording is Wording.NONE_FOUND
    assert sheet.wording_zh == "本次检查未发现异常。"
    assert sheet.risk is not None
    assert "孕" not in sheet.risk.zh

    found = {"wife": [{"code": "breast_birads", "value": "birads_4"}], "husband": []}
    accepted = await post(session, attended, body(attended, **found))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert sheet.risk is not None
    assert (sheet.risk.risk_class, sheet.wording) == (D, Wording.RISK_FOUND)
    assert "转诊" in sheet.risk.zh
    assert [finding.code for finding in sheet.risk.findings] == ["breast_birads"]


async def test_the_sheet_of_the_couple_s_check_keeps_the_national_words(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert (sheet.wording_zh, sheet.wording_en) == WORDINGS[Wording.NONE_FOUND]


@pytest.mark.parametrize("code", [TORCH, PRENATAL, CANCER, WOMEN])
async def test_women_of_the_right_age_are_eligible_and_men_are_not(session: AsyncSession, code: str) -> None:
    spouses, service = await given.couple(session), await given.service(session, code)
    in_force = eligibility.parse(reference_data.read(f"rules/eligibility_{code}.json")["body"])
    spouses.wife.birth_date = given.date(1988, 1, 1)
    await session.flush()
    for person, expected in ((spouses.wife, True), (spouses.husband, False)):
        explained = await eligibility.explain(
            session, Actor.system("test"), in_force, context=Context.of(service), person_id=person.id
        )
        assert explained.eligible is expected
