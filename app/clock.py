"""The only wall clock. Instants are UTC; business dates are Asia/Shanghai, which has no daylight saving."""

from datetime import UTC, date, datetime, time, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")


def now() -> datetime:
    return datetime.now(UTC)


def today() -> date:
    return day_of(now())


def day_of(moment: datetime) -> date:
    """The day on which it falls in China."""
    return moment.astimezone(SHANGHAI).date()


def midnight(day: date) -> datetime:
    """The instant at which the day begins in China."""
    return datetime.combine(day, time(), SHANGHAI)


def years_ago(years: int) -> date:
    """Who was born on this day or before has turned so many years old. Someone born on 29 February has the
    birthday on 1 March in other years."""
    day = today()
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return date(day.year - years, 2, 28)
