"""From an abnormal result to the first contact about it, in days: over the people whose result was abnormal, by the
month in which it was issued. Made anew every hour from the steps of follow-ups; read as a few counts."""

from collections import Counter
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Select,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, within
from app.models.follow_ups import FirstContact, FollowUp, FollowUpEvent
from app.services import regions
from app.services.small_numbers import SMALLEST, few

MONTHS = 36
NOT_YET = -1
ONLY_ONE = 7_301_664_019  # advisory lock


async def recompute(db: AsyncSession) -> bool:
    """False: another is at it."""
    if not await db.scalar(select(func.pg_try_advisory_xact_lock(ONLY_ONE))):
        return False
    await db.execute(text("SET LOCAL statement_timeout = '10min'"))
    await db.execute(delete(FirstContact))
    columns = ["region_code", "month", "days", "people", "within", "late", "as_of"]
    await db.execute(insert(FirstContact).from_select(columns, _counted()))
    return True


def _first() -> date:
    today = clock.today()
    months = today.year * 12 + today.month - 1 - MONTHS
    return date(months // 12, months % 12 + 1, 1)


def _cases() -> Select[Any]:
    """One for each person and report, with the first contact in any follow-up of it. A report belongs to where the
    person was when it came, or is now."""
    where = func.array_agg(aggregate_order_by(FollowUp.region_code, FollowUp.id))[1]
    return (
        select(
            where.label("region_code"),
            func.min(FollowUp.flagged_on).label("flagged_on"),
            func.min(FollowUp.contact_by).label("contact_by"),
            func.min(FollowUpEvent.contacted_on).label("contacted_on"),
        )
        .outerjoin(FollowUpEvent, FollowUpEvent.follow_up_id == FollowUp.id)
        .where(FollowUp.flagged_on >= _first())
        .group_by(FollowUp.report_id, FollowUp.person_id)
    )


def _counted() -> Select[Any]:
    one = _cases().cte("one")
    met, limit = one.c.contacted_on, one.c.contact_by
    days = case((met.is_(None), NOT_YET), else_=func.greatest(met - one.c.flagged_on, 0))
    month = cast(func.date_trunc("month", one.c.flagged_on), Date)
    late = or_(met > limit, met.is_(None) & (limit < clock.today()))
    return select(
        one.c.region_code, month, days, func.count(), func.count().filter(met <= limit),
        func.count().filter(late), literal(clock.now()),
    ).group_by(one.c.region_code, month, days)  # fmt: skip


async def measure(
    db: AsyncSession, actor: Actor, *, region_code: str, from_month: date, to_month: date
) -> dict[str, Any]:
    """By month and over all months, for a region and everything below it. Where fewer than five people stand behind a
    month it is hidden, and others with it as far as the difference to the sum would tell."""
    await regions.require_own_region(db, actor, region_code)
    place: ColumnElement[bool] = within(FirstContact.region_code, region_code)
    query = (
        select(
            FirstContact.month, FirstContact.days, func.sum(FirstContact.people), func.sum(FirstContact.within),
            func.sum(FirstContact.late), func.max(FirstContact.as_of),
        )
        .where(place, FirstContact.month.between(from_month, to_month))
        .group_by(FirstContact.month, FirstContact.days)
    )  # fmt: skip
    months: dict[date, Counter[str]] = {}
    as_of = None
    for month, days, people, met_in_time, late, at in await db.execute(query):
        counted = months.setdefault(month, Counter())
        counted.update({f"day{days}": int(people), "within": int(met_in_time), "late": int(late)})
        counted["people"] += int(people)
        as_of = max(as_of or at, at)
    total = sum(months.values(), Counter[str]())
    hidden = few({month: counted["people"] for month, counted in months.items()})
    return {
        "region_code": region_code, "as_of": as_of, "total": _figures(total, total["people"] < SMALLEST),
        "months": [
            {"month": month, **_figures(counted, month in hidden)}
            for month, counted in sorted(months.items())
        ],
    }  # fmt: skip


def _figures(counted: Counter[str], hidden: bool) -> dict[str, Any]:
    if hidden:
        return dict.fromkeys(("people", "waiting", "median_days", "p90_days", "share_within")) | {
            "hidden": True
        }
    waits = sorted((int(key[3:]), n) for key, n in counted.items() if key.startswith("day") and n)
    met = [(days, n) for days, n in waits if days != NOT_YET]
    decided = counted["within"] + counted["late"]
    return {
        "people": counted["people"], "waiting": counted[f"day{NOT_YET}"], "median_days": _percentile(met, 50),
        "p90_days": _percentile(met, 90),
        "share_within": round(counted["within"] / decided, 3) if decided else None, "hidden": False,
    }  # fmt: skip


def _percentile(waits: list[tuple[int, int]], percent: int) -> int | None:
    """The smallest number of days within which so many in a hundred were reached."""
    left = -(-sum(n for _, n in waits) * percent // 100)
    for days, n in waits:
        left -= n
        if left <= 0:
            return days
    return None
