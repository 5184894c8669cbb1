from datetime import date, timedelta
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given as hypothetically
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import NotFound
from app.models.audit import AuditEvent
from app.services.results import drawing, trends
from app.services.results.trends import Point, Trend
from tests.factories import appointments as given
from tests.factories.results import NORMAL_HUSBAND, NORMAL_WIFE, body, post, with_value

SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(SVG + tag))


async def test_one_s_own_values_oldest_first_and_nobody_else_s(session: AsyncSession) -> None:
    attended = await given.attended(session)
    for days, value in ((30, 118), (60, 98)):
        issued = (clock.now() - timedelta(days=days)).isoformat()
        wife = with_value(NORMAL_WIFE, "haemoglobin", value, unit="g/L", range_low=115, range_high=150)
        husband = with_value(NORMAL_HUSBAND, "haemoglobin", 160, unit="g/L")
        await post(session, attended, body(attended, issued_at=issued, wife=wife, husband=husband))
    await post(session, attended, body(attended, status="preliminary"))  # not released

    trend = await trends.own(session, attended.wife, code="haemoglobin")

    assert [int(point.value) for point in trend.points] == [98, 118]
    assert (trend.unit, trend.zh, trend.points[0].low) == ("g/L", "血红蛋白", 115)
    with pytest.raises(NotFound):
        await trends.own(session, attended.wife, code="nothing_like_it")
    with pytest.raises(NotFound):  # a code, not a number
        await trends.own(session, attended.wife, code="hbsag")


async def test_a_corrected_value_is_shown_once_as_it_is_now(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted)
    wife = with_value(NORMAL_WIFE, "haemoglobin", 90, unit="g/L")
    await post(session, attended, posted | {"version": 2, "status": "corrected", "wife": wife})
    trend = await trends.own(session, attended.wife, code="haemoglobin")
    assert [int(point.value) for point in trend.points] == [90]


async def test_a_worker_states_a_purpose_and_sees_only_the_own_region(session: AsyncSession) -> None:
    attended = await given.attended(session)
    await post(session, attended, body(attended))
    wife, worker = attended.spouses.wife, await given.worker(session)
    await trends.of_person(session, worker, person_id=wife.id, code="haemoglobin", purpose="follow_up")
    seen = select(AuditEvent.purpose).where(
        AuditEvent.person_id == wife.id, AuditEvent.actor_id == worker.id, AuditEvent.action == "read_trend"
    )
    assert (await session.scalars(seen)).all() == ["follow_up"]
    elsewhere = await given.worker(session, "640200000000")
    with pytest.raises(NotFound):
        await trends.of_person(session, elsewhere, person_id=wife.id, code="haemoglobin", purpose="follow_up")


def trend(*points: Point, zh: str = "血红蛋白") -> Trend:
    return Trend("haemoglobin", zh, "Haemoglobin", "g/L", list(points))


def point(day: int, value: str, low: str | None = "115", high: str | None = "150") -> Point:
    limits = (None if limit is None else Decimal(limit) for limit in (low, high))
    return Point(date(2026, 1, 1) + timedelta(days=day), Decimal(value), *limits)


def test_the_picture_has_a_title_every_value_in_words_units_dates_and_ranges() -> None:
    picture = drawing.svg(trend(point(0, "98"), point(100, "120")))
    assert elements(picture, "title")[0].text == "血红蛋白 Haemoglobin（g/L）"
    words = elements(picture, "desc")[0].text or ""
    assert "2026-01-01 98 g/L" in words
    assert "115–150" in words
    assert [one.text for one in elements(picture, "text")][-2:] == ["2026-01-01", "2026-04-11"]
    bars, marks = (
        [one for one in elements(picture, tag) if one.get("class") == kind]
        for tag, kind in (("rect", "r"), ("circle", "p"))
    )
    assert (len(bars), len(marks)) == (2, 1)
    assert [one for one in elements(picture, "rect") if one.get("class") == "o"]


def test_nothing_in_a_name_becomes_part_of_the_picture() -> None:
    picture = drawing.svg(trend(point(0, "98"), zh="<script>alert(1)</script>&"))
    assert "<script" not in picture
    assert not elements(picture, "script")


numbers = st.decimals(-1_000_000_000, 1_000_000_000, places=3)
limit = st.none() | numbers
points = st.builds(Point, st.dates(date(2000, 1, 1), date(2100, 1, 1)), numbers, limit, limit)


@hypothetically(st.lists(points, min_size=1, max_size=trends.MOST))
def test_whatever_was_measured_lies_on_the_picture(measured: list[Point]) -> None:
    ordered = sorted(measured, key=lambda one: one.on)
    picture = drawing.svg(trend(*ordered))
    line = elements(picture, "polyline")[0].get("points") or ""
    places = [tuple(map(float, place.split(","))) for place in line.split()]
    assert len(places) == len(measured)
    assert all(0 <= x <= drawing.WIDTH and 0 <= y <= drawing.HEIGHT for x, y in places)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
