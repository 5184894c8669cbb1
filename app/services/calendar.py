"""Working days: the State Council's holidays and swapped days as the `holidays` package knows them, lunar festivals,
and what an administrator has written over them."""

import re
import uuid
from collections.abc import Iterable
from datetime import date, timedelta
from importlib.metadata import version
from typing import Annotated, Any, Self

import holidays
from borax.calendars.lunardate import LunarDate
from pydantic import model_validator
from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Conflict, Invalid, Unfit
from app.models.calendar import CalendarDay, DayKind
from app.services import audit
from app.services.plain import Body, Day, Text, example

FRIDAY = 5
#: Beyond these nobody knows the moon.
FIRST_YEAR, LAST_YEAR = 2000, 2099
AHEAD = 2  # years beyond this one that are written down
ONE_DAY = timedelta(days=1)
SWAPPED = re.compile(r"由 ([0-9]{4}-[0-9]{2}-[0-9]{2}) 调休")
#: Lunar month and day of those that are no holidays; holidays bring their names themselves.
FESTIVALS = (
    (1, 15, "元宵节", "Lantern Festival"),
    (7, 7, "七夕", "Qixi"),
    (9, 9, "重阳节", "Double Ninth Festival, for the elders"),
    (12, 8, "腊八节", "Laba Festival"),
)
ID_OF_A_DAY = uuid.UUID("5f1f2f9c-3f0c-4c0e-9d0a-0a4d6c8d1c55")


class NothingEdited(Conflict):
    zh, en = "该日期没有人工修改", "Nobody has changed this day"
    do_zh, do_en = "无需撤销", "There is nothing to take back"


class NewDay(Body):
    model_config = example(
        kind="workday", zh="春节调休上班", en="Worked in place of Friday", in_place_of="2027-02-12",
        source="国务院办公厅关于2027年部分节假日安排的通知",
    )  # fmt: skip

    kind: DayKind
    zh: Annotated[str, Text(40)]
    en: Annotated[str, Text(80)]
    in_place_of: Day | None = None
    source: Annotated[str, Text(200)]

    @model_validator(mode="after")
    def _swapped(self) -> Self:
        if self.in_place_of is not None and self.kind is not DayKind.WORKDAY:
            raise Unfit("只有调休上班日才填写所替换的日期", "only a working day is in place of another")
        return self


async def workdays(db: AsyncSession, from_on: date, to_on: date) -> list[date]:
    """Monday to Friday, but for holidays and swapped days as far as they are known: those between two days, both
    included, in order."""
    query = select(CalendarDay.day, CalendarDay.kind).where(CalendarDay.day.between(from_on, to_on))
    known = {row.day: row.kind for row in await db.execute(query)}
    days = [from_on + ONE_DAY * number for number in range((to_on - from_on).days + 1)]
    return [day for day in days if _worked(day, known.get(day))]


def _worked(day: date, kind: DayKind | None) -> bool:
    if kind in {DayKind.HOLIDAY, DayKind.WORKDAY}:
        return kind is DayKind.WORKDAY
    return day.isoweekday() <= FRIDAY


async def year(db: AsyncSession, *, year: int) -> dict[str, Any]:
    """Its special days, and whether its swapped days are still to be announced."""
    query = select(CalendarDay).where(_of(year)).order_by(CalendarDay.day)
    days = list(await db.scalars(query))
    announced = any(row.kind is DayKind.WORKDAY for row in days)
    return {"year": year, "not_announced": not announced, "days": days}


async def not_announced(db: AsyncSession, years: Iterable[int]) -> list[int]:
    """Those of the years whose swapped days nobody knows yet: every year so far has had some."""
    asked = sorted(set(years))
    if not asked:
        return []
    number = func.extract("year", CalendarDay.day)
    swapped = select(number).where(
        CalendarDay.day.between(date(asked[0], 1, 1), date(asked[-1], 12, 31)),
        CalendarDay.kind == DayKind.WORKDAY,
    )
    announced = {int(found) for found in await db.scalars(swapped.distinct())}
    return [one for one in asked if one not in announced]


def _of(number: int) -> Any:
    return CalendarDay.day.between(date(number, 1, 1), date(number, 12, 31))


async def set_day(db: AsyncSession, actor: Actor, *, day: date, new: NewDay) -> CalendarDay:
    """What an administrator writes stands until it is taken back, whatever a later release brings. It counts for
    slots published from then on."""
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise Invalid.at("#path/day", "须在 2000 至 2099 年之间", "must lie between 2000 and 2099")
    if new.kind is DayKind.WORKDAY and new.in_place_of is None and day.isoweekday() > FRIDAY:
        raise Invalid.at(
            "/in_place_of",
            "周末上班须填写所替换的日期",
            "name the day off that this weekend day makes up for",
        )
    values = new.model_dump() | {"edited_by": actor.id, "edited_at": clock.now()}
    write = insert(CalendarDay).values(day=day, **values)
    write = write.on_conflict_do_update(index_elements=[CalendarDay.day], set_=values)
    row = await db.scalar(write.returning(CalendarDay).execution_options(populate_existing=True))
    assert row is not None
    await audit.record(db, actor, "set", "calendar_day", _id(day))
    return row


async def take_back(db: AsyncSession, actor: Actor, *, day: date) -> None:
    """The day is again as our release knows it."""
    known = await db.scalar(select(CalendarDay.edited_at).where(CalendarDay.day == day).with_for_update())
    if known is None:
        raise NothingEdited
    await db.execute(delete(CalendarDay).where(CalendarDay.day == day))
    await _write(db, [row for row in seed([day.year]) if row["day"] == day])
    await audit.record(db, actor, "take_back", "calendar_day", _id(day))


def _id(day: date) -> uuid.UUID:
    """The trail names things by ids: the same one for the same day, everywhere."""
    return uuid.uuid5(ID_OF_A_DAY, day.isoformat())


async def load(db: AsyncSession) -> None:
    """The years from the last one to the year after next, as this release knows them. What somebody of the
    association has written stays."""
    this = clock.today().year
    rows = seed(range(this - 1, this + AHEAD + 1))
    days = [row["day"] for row in rows]
    ours = CalendarDay.edited_at.is_(None), CalendarDay.day.between(days[0], days[-1])
    await db.execute(delete(CalendarDay).where(*ours, CalendarDay.day.not_in(days)))
    await _write(db, rows)


async def _write(db: AsyncSession, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    write = insert(CalendarDay).values(rows)
    new = {name: write.excluded[name] for name in ("kind", "zh", "en", "in_place_of", "source")}
    changed = or_(*(CalendarDay.__table__.c[name].is_distinct_from(value) for name, value in new.items()))
    await db.execute(
        write.on_conflict_do_update(
            index_elements=[CalendarDay.day], set_=new, where=CalendarDay.edited_at.is_(None) & changed
        )
    )


def seed(years: Iterable[int]) -> list[dict[str, Any]]:
    """Holidays, the weekends that belong to them, swapped working days, festivals: in order, one for a day."""
    wanted = set(years)
    around = range(min(wanted) - 1, max(wanted) + 2)  # a swap may reach over the turn of the year
    zh = holidays.country_holidays("CN", years=around, language="zh_CN")
    en = holidays.country_holidays("CN", years=around, language="en_US")
    off_for = {swap[1]: day for day, name in zh.items() if (swap := SWAPPED.search(name))}
    found: dict[date, tuple[DayKind, str, str, date | None]] = {
        day: (DayKind.WORKDAY, "调休上班", "Worked in place of a day off", off_for.get(day.isoformat()))
        for day in zh.weekend_workdays
    }
    for day in zh:
        found[day] = (DayKind.HOLIDAY, zh[day], en[day], None)
    for day in _weekends(set(zh), set(zh.weekend_workdays)):
        found[day] = (DayKind.HOLIDAY, "节假日连休", "Weekend of a holiday", None)
    for day, name_zh, name_en in _festivals(around):
        found.setdefault(day, (DayKind.FESTIVAL, name_zh, name_en, None))
    source = f"holidays {version('holidays')}"
    return [
        {"day": day, "kind": kind, "zh": name_zh, "en": name_en, "in_place_of": off, "source": source}
        for day, (kind, name_zh, name_en, off) in sorted(found.items())
        if day.year in wanted
    ]


def _weekends(free: set[date], worked: set[date]) -> set[date]:
    """Saturdays and Sundays on either side of a holiday: the announcements count them in (放假 5 天)."""
    joined: set[date] = set()
    for start in free:
        for step in (ONE_DAY, -ONE_DAY):
            day = start + step
            while day.isoweekday() > FRIDAY and day not in free | worked:
                joined.add(day)
                day += step
    return joined


def _festivals(years: Iterable[int]) -> Iterable[tuple[date, str, str]]:
    for number in years:
        for month, day, zh, en in FESTIVALS:
            yield LunarDate(number, month, day).to_solar_date(), zh, en
