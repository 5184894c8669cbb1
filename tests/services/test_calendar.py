"""Working days: as announced, as not announced yet, as an administrator knows better."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from borax.calendars.lunardate import LunarDate
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid
from app.models.audit import AuditEvent
from app.models.calendar import CalendarDay, DayKind
from app.models.identity import Role
from app.services import calendar
from app.services.calendar import NewDay, NothingEdited
from tests.factories import appointments as made

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
SWAPPED_2026 = [(1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)]
#: As the State Council announced them: 放假 first to last day.
BREAKS_2026 = [
    ((1, 1), (1, 3)), ((2, 15), (2, 23)), ((4, 4), (4, 6)), ((5, 1), (5, 5)), ((6, 19), (6, 21)),
    ((9, 25), (9, 27)), ((10, 1), (10, 7)),
]  # fmt: skip


@pytest.fixture(autouse=True)
async def _in_november(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.clock.now", lambda: NOW)
    await calendar.load(session)


@pytest.fixture
async def administrator(session: AsyncSession) -> Actor:
    return await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR)


def a_day(**changes: Any) -> NewDay:
    return NewDay.model_validate(
        {"kind": "holiday", "zh": "古尔邦节", "en": "Eid al-Adha", "source": "自治区公告"} | changes
    )


async def days(session: AsyncSession, year: int) -> dict[date, CalendarDay]:
    return {row.day: row for row in (await calendar.year(session, year=year))["days"]}


async def is_workday(session: AsyncSession, day: date) -> bool:
    return await calendar.workdays(session, day, day) == [day]


async def test_2026_is_as_the_state_council_announced_it(session: AsyncSession) -> None:
    found = await days(session, 2026)
    free = {day for day, row in found.items() if row.kind is DayKind.HOLIDAY}
    breaks = {
        date.fromordinal(number)
        for (month, first), (last_month, last) in BREAKS_2026
        for number in range(
            date(2026, month, first).toordinal(), date(2026, last_month, last).toordinal() + 1
        )
    }
    assert free == breaks
    worked = {day: row.in_place_of for day, row in found.items() if row.kind is DayKind.WORKDAY}
    assert list(worked) == [date(2026, *day) for day in SWAPPED_2026]
    assert worked[date(2026, 10, 10)] == date(2026, 10, 7)
    assert all(off is not None and found[off].kind is DayKind.HOLIDAY for off in worked.values())


async def test_lunar_festivals_are_named_and_worked_as_their_weekday(session: AsyncSession) -> None:
    found = await days(session, 2026)
    elders = found[date(2026, 10, 18)]
    assert (elders.kind, elders.zh) == (DayKind.FESTIVAL, "重阳节")
    assert not await is_workday(session, elders.day), "a Sunday"
    assert await is_workday(session, date(2026, 8, 19)), "七夕, a Wednesday"
    for month, day, name in ((1, 1, "春节"), (5, 5, "端午节"), (8, 15, "中秋节")):
        assert name in found[LunarDate(2026, month, day).to_solar_date()].zh


async def test_working_days_skip_holidays_and_count_swapped_days(session: AsyncSession) -> None:
    assert await calendar.workdays(session, date(2026, 9, 30), date(2026, 10, 12)) == [
        date(2026, 9, 30), date(2026, 10, 8), date(2026, 10, 9), date(2026, 10, 10), date(2026, 10, 12),
    ]  # fmt: skip
    for day, worked in {(10, 10): True, (10, 11): False, (10, 7): False, (10, 8): True}.items():
        assert await is_workday(session, date(2026, *day)) is worked


async def test_a_year_whose_swaps_nobody_knows_is_flagged_and_goes_by_the_weekday(
    session: AsyncSession, administrator: Actor
) -> None:
    assert not (await calendar.year(session, year=2026))["not_announced"]
    assert (await calendar.year(session, year=2027))["not_announced"]
    assert (await calendar.year(session, year=2099)) == {"year": 2099, "not_announced": True, "days": []}
    assert await is_workday(session, date(2099, 1, 1))
    assert await calendar.not_announced(session, [2027, 2026]) == [2027]
    new = a_day(kind="workday", in_place_of=date(2027, 2, 12))
    await calendar.set_day(session, administrator, day=date(2027, 2, 14), new=new)
    assert not (await calendar.year(session, year=2027))["not_announced"]
    assert await calendar.not_announced(session, [2027, 2026]) == []


async def test_what_an_administrator_writes_survives_a_release_until_it_is_taken_back(
    session: AsyncSession, administrator: Actor
) -> None:
    day, holiday = date(2026, 5, 27), date(2026, 10, 1)
    await calendar.set_day(session, administrator, day=day, new=a_day())
    await calendar.set_day(session, administrator, day=holiday, new=a_day(kind="workday"))
    await calendar.load(session)
    assert not await is_workday(session, day)
    assert await is_workday(session, holiday)
    for one in (day, holiday):
        await calendar.take_back(session, administrator, day=one)
        with pytest.raises(NothingEdited):
            await calendar.take_back(session, administrator, day=one)
    assert await is_workday(session, day)
    assert day not in await days(session, 2026)
    assert (await days(session, 2026))[holiday].zh == "国庆节"
    traced = select(AuditEvent.action).where(AuditEvent.entity == "calendar_day").order_by(AuditEvent.id)
    assert list(await session.scalars(traced)) == ["set", "set", "take_back", "take_back"]


async def test_a_new_release_mends_what_an_older_one_guessed(session: AsyncSession) -> None:
    guessed = "INSERT INTO calendar_day (day, kind, zh, en, source) VALUES ('2026-03-10', 'holiday', '误', 'x', 'old')"
    await session.execute(text(guessed))
    await session.execute(text("UPDATE calendar_day SET kind = 'festival' WHERE day = '2026-10-01'"))
    await calendar.load(session)
    assert await is_workday(session, date(2026, 3, 10))
    assert not await is_workday(session, date(2026, 10, 1))


async def test_a_weekend_is_worked_in_place_of_a_named_day(
    session: AsyncSession, administrator: Actor
) -> None:
    with pytest.raises(Invalid):
        await calendar.set_day(session, administrator, day=date(2027, 2, 13), new=a_day(kind="workday"))
    with pytest.raises(ValueError, match="in place of"):
        a_day(in_place_of=date(2027, 2, 12))


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2100, 1, 1), date(2200, 1, 1)])
async def test_only_a_day_that_can_be_taken_back_is_set(
    session: AsyncSession, administrator: Actor, day: date
) -> None:
    with pytest.raises(Invalid):
        await calendar.set_day(session, administrator, day=day, new=a_day())
    for year in (calendar.FIRST_YEAR, calendar.LAST_YEAR):
        edge = date(year, 12, 31)
        await calendar.set_day(session, administrator, day=edge, new=a_day())
        await calendar.take_back(session, administrator, day=edge)
