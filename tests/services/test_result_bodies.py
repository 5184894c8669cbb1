import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid
from app.models.results import DiagnosticReport, PartnerMessage
from app.services.results.foetal_sex import FoetalSexRefused, states_foetal_sex
from app.services.results.posted import PostedReport
from tests.factories import appointments as given
from tests.factories.results import body, post


async def count(session: AsyncSession, model: Any, **equals: Any) -> int:
    return (await session.scalars(select(func.count()).select_from(model).filter_by(**equals))).one()


def pointers(problem: Invalid) -> list[str]:
    return [error["pointer"] for error in problem.errors or []]


async def test_every_wrong_place_is_named_at_once(session: AsyncSession) -> None:
    attended = await given.attended(session)
    wife = [
        {"code": "unicorn", "value": 1},
        {"code": "male_genital_exam", "value": "normal"},
        {"code": "haemoglobin", "value": "high", "unit": "g/L"},
        {"code": "tsh", "value": 2.0, "unit": "g/L"},
        {"code": "hbsag", "value": "maybe"},
        {"code": "syphilis", "value": 1},
        {"code": "abo", "value": "A", "unit": "g/L"},
        {"code": "abo", "value": "B"},
        {"code": "alt", "value": 20, "unit": "U/L", "range_low": 40, "range_high": 7},
    ]

    with pytest.raises(Invalid) as refused:
        await post(session, attended, body(attended, wife=wife, husband=[{"code": "tsh", "value": 1}]))

    assert pointers(refused.value) == [
        "/wife/0/code",
        "/wife/1/code",
        "/wife/2/value",
        "/wife/3/unit",
        "/wife/4/value",
        "/wife/5/value",
        "/wife/6/unit",
        "/wife/7/code",
        "/wife/8/range_high",
        "/husband/0/code",
    ]
    assert await count(session, DiagnosticReport, appointment_id=attended.appointment.id) == 0


async def test_a_report_from_the_future_is_refused(session: AsyncSession) -> None:
    attended = await given.attended(session)
    tomorrow = (clock.now() + timedelta(days=1)).isoformat()
    with pytest.raises(Invalid) as refused:
        await post(session, attended, body(attended, issued_at=tomorrow))
    assert pointers(refused.value) == ["/issued_at"]


@pytest.mark.parametrize("value", [True, math.nan, math.inf, 1e10, 10**400, None, [], "a b", "血", ""])
def test_a_value_is_a_bounded_number_or_a_code(value: object) -> None:
    with pytest.raises(ValidationError):
        PostedReport.model_validate(
            {
                "external_id": "1",
                "version": 1,
                "status": "final",
                "issued_at": datetime(2026, 5, 1, tzinfo=UTC),
                "wife": [{"code": "tsh", "value": value}],
            }
        )


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 1_000_001},
        {"version": True},
        {"external_id": "a/b"},
        {"external_id": ""},
        {"issued_at": "2026-05-01T10:00:00"},
        {"conclusion": "a\x00b"},
        {"conclusion": "x" * 4001},
        {"conclusion": "\ud800"},
        {"status": "unknown"},
        {"name": "李秀英"},
    ],
)
def test_the_envelope_is_bounded(change: dict[str, Any]) -> None:
    good = {"external_id": "1", "version": 1, "status": "final", "issued_at": "2026-05-01T10:00:00+08:00"}
    PostedReport.model_validate(good)
    with pytest.raises(ValidationError):
        PostedReport.model_validate(good | change)


@pytest.mark.parametrize(
    "conclusion",
    [
        "超声提示男胎",
        "胎 儿 性 别:女",
        "考虑为女婴",
        "预计男孩",
        "怀的是女孩",
        "胎儿为男性",
        "胎儿染色体核型46,XY",
        "Foetal sex: male",
        "the fetus is a boy",
        "male fetus",
    ],
)
async def test_a_conclusion_that_states_the_foetal_sex_is_refused(
    session: AsyncSession, conclusion: str
) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted)
    # Not even in quarantine, where other content under a known version would go.
    for version in (1, 2):
        with pytest.raises(FoetalSexRefused):
            await post(session, attended, posted | {"version": version, "conclusion": conclusion})
    assert await count(session, PartnerMessage, external_id=posted["external_id"]) == 1


@pytest.mark.parametrize(
    "conclusion",
    [
        "曾生育女婴一名,现体健",
        "男方精索静脉曲张,建议治疗后再怀孕",
        "可能影响胎儿,建议男女双方复查",
        "女性生殖系统检查未见异常",
        "TSH above range, see an endocrinologist; husband normal",
    ],
)
def test_an_ordinary_conclusion_is_not_mistaken_for_one(conclusion: str) -> None:
    assert not states_foetal_sex(conclusion)
