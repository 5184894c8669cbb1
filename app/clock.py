"""The only wall clock. Instants are UTC; business dates are Asia/Shanghai, which has no daylight saving."""

from datetime import UTC, date, datetime, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")


def now() -> datetime:
    return datetime.now(UTC)


def today() -> date:
    return now().astimezone(SHANGHAI).date()


def years_ago(years: int) -> date:
    """Who was born on this day or before has turned so many years old. Someone born on 29 February has the
    birthday on 1 March in other years."""
    day = today()
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return date(day.year - years, 2, 28)
