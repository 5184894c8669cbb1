from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.households import Sex
from app.models.results import Interpretation, Observation
from app.services import reference_data
from app.services.results import ranges, reading
from app.services.results.lines import ResultLine
from app.services.results.ranges import Examined, InterpretedBy, ReferenceRanges
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value

RANGES = ReferenceRanges.model_validate(reference_data.read("rules/reference_range_national.json")["body"])
WOMAN = Examined(Sex.FEMALE, date(1995, 6, 1), date(2026, 6, 1))
MAN = Examined(Sex.MALE, date(1995, 6, 1), date(2026, 6, 1))
LOW, NORMAL, HIGH = Interpretation.LOW, Interpretation.NORMAL, Interpretation.HIGH


def value(code: str, number: float, unit: str, **more: Any) -> Observation:
    return Observation(code=code, value_number=Decimal(str(number)), unit=unit, **more)


def test_the_laboratory_s_word_and_then_its_range_come_before_ours() -> None:
    said = value("haemoglobin", 100, "g/L", range_low=Decimal(90), interpretation=Interpretation.ABNORMAL)
    assert ranges.interpret(said, WOMAN, RANGES).by is InterpretedBy.LABORATORY
    ranged = ranges.interpret(value("haemoglobin", 100, "g/L", range_low=Decimal(90)), WOMAN, RANGES)
    assert (ranged.interpretation, ranged.by, ranged.reference) == (
        NORMAL,
        InterpretedBy.LABORATORY_RANGE,
        None,
    )
    ours = ranges.interpret(value("haemoglobin", 100, "g/L"), WOMAN, RANGES)
    assert (ours.interpretation, ours.by) == (LOW, InterpretedBy.REFERENCE_RANGE)
    assert ours.reference is not None
    assert ours.reference.source


@pytest.mark.parametrize(
    ("number", "who", "expected"),
    [(120, WOMAN, NORMAL), (120, MAN, LOW), (115, WOMAN, NORMAL), (114.9, WOMAN, LOW), (150.1, WOMAN, HIGH)],
)
def test_ours_goes_by_sex_and_its_ends_are_normal(
    number: float, who: Examined, expected: Interpretation
) -> None:
    assert ranges.interpret(value("haemoglobin", number, "g/L"), who, RANGES).interpretation is expected


def test_ours_holds_for_its_unit_age_and_day_of_the_cycle_only() -> None:
    fsh = value("fsh", 12, "IU/L")
    assert ranges.interpret(fsh, WOMAN, RANGES).interpretation is None
    on_day = Examined(WOMAN.sex, WOMAN.birth_date, WOMAN.on, cycle_day=3)
    assert ranges.interpret(fsh, on_day, RANGES).interpretation is HIGH
    late = Examined(WOMAN.sex, WOMAN.birth_date, WOMAN.on, cycle_day=20)
    assert ranges.interpret(fsh, late, RANGES).interpretation is None
    assert ranges.interpret(value("haemoglobin", 10, "g/dL"), WOMAN, RANGES).interpretation is None
    child = Examined(Sex.FEMALE, date(2008, 6, 2), date(2026, 6, 1))
    assert child.age == 17
    assert ranges.interpret(value("haemoglobin", 100, "g/L"), child, RANGES).interpretation is None


def test_a_code_is_not_interpreted_by_us() -> None:
    positive = Observation(code="hbsag", value_code="positive")
    assert ranges.interpret(positive, WOMAN, RANGES).interpretation is None


def test_every_range_is_of_an_observation_in_its_unit() -> None:
    units = {
        (one["code"], one.get("unit"))
        for service in reference_data.services()
        for item in service["items"]
        for one in item["observations"]
    }
    assert {(one.code, one.unit) for one in RANGES.ranges} <= units
    assert all(one.low is not None or one.high is not None for one in RANGES.ranges)


async def test_the_sheet_says_whose_word_it_is(session: AsyncSession) -> None:
    attended = await given.attended(session)
    wife = with_value(NORMAL_WIFE, "alt", 55, unit="U/L")
    wife = with_value(wife, "tsh", 5, unit="mIU/L", range_low=0.35, range_high=4.94, interpretation="high")
    accepted = await post(session, attended, body(attended, wife=wife))

    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)

    lines = {line.code: line for line in sheet.observations if line.role == "wife"}

    def said(line: ResultLine) -> tuple[object, ...]:
        return line.interpretation, line.interpreted_by, line.reference_low, line.reference_high

    assert said(lines["alt"]) == (HIGH, InterpretedBy.REFERENCE_RANGE, 7, 40)
    assert said(lines["haemoglobin"]) == (NORMAL, InterpretedBy.LABORATORY_RANGE, None, None)
    assert said(lines["tsh"]) == (HIGH, InterpretedBy.LABORATORY, None, None)
    assert said(lines["hbsag"]) == (None, None, None, None)
