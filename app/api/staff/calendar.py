"""Working days, holidays and festivals of the association."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import Day, Db, View, example, staff_may
from app.errors import problems
from app.models.calendar import DayKind
from app.services import calendar

router = APIRouter(tags=["工作日历 calendar"])
Edit = Annotated[Actor, staff_may(Permission.CALENDAR_EDIT)]


class CalendarDayView(View):
    """`edited_at` is null where it is as our release knows it."""

    model_config = example(
        day="2026-02-14",
        kind="workday",
        zh="调休上班",
        en="Worked in place of a day off",
        in_place_of="2026-02-20",
        source="holidays 0.109",
        edited_at=None,
    )

    day: date
    kind: DayKind
    zh: str
    en: str
    in_place_of: date | None
    source: str
    edited_at: datetime | None


class CalendarYear(View):
    """`not_announced`: the swapped working days are not known yet; until then Monday to Friday are worked, but for
    the holidays of the law."""

    year: int
    not_announced: bool
    days: list[CalendarDayView]


@router.get("/calendar", summary="工作日历 The calendar of a year")
async def calendar_year(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.SLOT_READ)],
    year: Annotated[int, Query(ge=calendar.FIRST_YEAR, le=calendar.LAST_YEAR)],
) -> CalendarYear:
    """The days that are not like others of their weekday, or have a name."""
    return CalendarYear.model_validate(await calendar.year(db, year=year))


@router.put("/calendar/{day}", summary="修改日历 Set a day")
async def set_calendar_day(db: Db, actor: Edit, day: Day, body: calendar.NewDay) -> CalendarDayView:
    """Stands until it is taken back. An ordinary day is one of kind festival. Published slots stay as they are until
    their schedule is published again."""
    return CalendarDayView.model_validate(await calendar.set_day(db, actor, day=day, new=body))


@router.delete(
    "/calendar/{day}",
    status_code=204,
    summary="撤销日历修改 Take an own day back",
    responses=problems(calendar.NothingEdited),
)
async def take_back_calendar_day(db: Db, actor: Edit, day: Day) -> None:
    """The day is again as our release knows it."""
    await calendar.take_back(db, actor, day=day)
