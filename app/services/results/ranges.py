"""Low, normal or high: the laboratory's word first, then its own range, and only then ours, which is data in
versions (app/data/rules/reference_range_*)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.households import Sex
from app.models.results import Interpretation, Observation
from app.models.rules import RuleKind
from app.services import rules
from app.services.plain import Body, Note

CODE = "national"
#: The observation that says on which day of her cycle the blood was taken.
CYCLE_DAY = "cycle_day"
Years = Annotated[int, Field(ge=0, le=150)]
DayOfCycle = Annotated[int, Field(ge=1, le=60)]


class Range(Body):
    """Of one value in one unit, for whom it holds: ages in full years, days of the cycle, both ends included."""

    code: str
    unit: str
    sex: Sex | None = None
    age_from: Years | None = None
    age_to: Years | None = None
    cycle_days: tuple[DayOfCycle, DayOfCycle] | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    source: Note


class ReferenceRanges(Body):
    ranges: tuple[Range, ...] = ()


class InterpretedBy(StrEnum):
    """The laboratory itself; we, from its range; we, from ours."""

    LABORATORY = "laboratory"
    LABORATORY_RANGE = "laboratory_range"
    REFERENCE_RANGE = "reference_range"


@dataclass(frozen=True, slots=True)
class Examined:
    """Who was measured, and when."""

    sex: Sex
    birth_date: date
    on: date
    cycle_day: int | None = None

    @property
    def age(self) -> int:
        birthday_to_come = (self.on.month, self.on.day) < (self.birth_date.month, self.birth_date.day)
        return self.on.year - self.birth_date.year - birthday_to_come


@dataclass(frozen=True, slots=True)
class Interpreted:
    """`reference` where neither the laboratory's word nor its range was there to go by."""

    interpretation: Interpretation | None
    by: InterpretedBy | None
    reference: Range | None = None


async def in_force(db: AsyncSession, on: date) -> ReferenceRanges:
    row = await rules.in_force(db, kind=RuleKind.REFERENCE_RANGE, code=CODE, on=on)
    return ReferenceRanges.model_validate(row.body if row else {})


def interpret(value: Observation, examined: Examined, ranges: ReferenceRanges) -> Interpreted:
    if value.interpretation is not None:
        return Interpreted(value.interpretation, InterpretedBy.LABORATORY)
    if value.value_number is None:
        return Interpreted(None, None)
    if value.range_low is not None or value.range_high is not None:
        found = within(value.value_number, value.range_low, value.range_high)
        return Interpreted(found, InterpretedBy.LABORATORY_RANGE)
    ours = next((one for one in ranges.ranges if _holds(one, value, examined)), None)
    if ours is None:
        return Interpreted(None, None)
    found = within(value.value_number, ours.low, ours.high)
    return Interpreted(found, InterpretedBy.REFERENCE_RANGE, ours)


def within(value: Decimal, low: Decimal | None, high: Decimal | None) -> Interpretation:
    if low is not None and value < low:
        return Interpretation.LOW
    if high is not None and value > high:
        return Interpretation.HIGH
    return Interpretation.NORMAL


def _holds(one: Range, value: Observation, examined: Examined) -> bool:
    return (
        (one.code, one.unit) == (value.code, value.unit)
        and one.sex in (None, examined.sex)
        and (one.age_from is None or examined.age >= one.age_from)
        and (one.age_to is None or examined.age <= one.age_to)
        and (one.cycle_days is None or _on_day(one.cycle_days, examined.cycle_day))
    )


def _on_day(days: tuple[int, int], day: int | None) -> bool:
    return day is not None and days[0] <= day <= days[1]


def cycle_day(values: Iterable[Observation]) -> int | None:
    """As reported for the same person; without it no range of certain days holds."""
    found = next((one.value_number for one in values if one.code == CYCLE_DAY), None)
    return None if found is None else int(found)
