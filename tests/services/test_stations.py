"""Stations: what the public finds, how far it is, whether the door stands open."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.models.stations import Station, StationStatus
from app.services import regions, stations
from app.services.idempotency import Key
from app.services.stations import SHOWN, NewStation
from tests.factories import appointments as made

TOWN, NEXT_COUNTY = "640104001000", "640105001000"
#: A Monday, 10:00 in Shanghai.
MONDAY = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def new(**changes: Any) -> NewStation:
    return NewStation.model_validate(SHOWN | changes)


async def a_station(session: AsyncSession, actor: Actor, *, opened: bool = True, **changes: Any) -> Station:
    row = await stations.create(session, actor, key=Key(new_id(), b""), new=new(**changes))
    if opened:
        row = await stations.open_to_public(session, actor, id=row.id, version=row.version)
    return row


@pytest.fixture
async def clerk(session: AsyncSession) -> Actor:
    return await made.worker(session, TOWN)


async def around(session: AsyncSession, latitude: float, longitude: float, **more: Any) -> list[Any]:
    how = {"within_km": 50, "kind": None, "only_open_now": False, "limit": 20} | more
    found = await stations.nearest(session, latitude=latitude, longitude=longitude, **how)
    return [(row["station"].name, row["distance_metres"]) for row in found]


async def test_the_nearest_comes_first_with_its_distance(session: AsyncSession, clerk: Actor) -> None:
    for name, latitude, longitude in (("北", 38.51, 106.27), ("近", 38.493, 106.27), ("东", 38.49, 106.3)):
        await a_station(session, clerk, name=name, latitude=latitude, longitude=longitude)
    # A degree of latitude is 111.195 km; one of longitude at 38.49° that times cos(38.49°) = 87.03 km.
    expected = [("近", 334), ("北", 2224), ("东", 2611)]
    assert await around(session, 38.49, 106.27) == [
        (name, pytest.approx(metres, abs=2)) for name, metres in expected
    ]
    assert [name for name, _ in await around(session, 38.49, 106.27, limit=2)] == ["近", "北"]


async def test_what_lies_further_than_asked_is_not_found(session: AsyncSession, clerk: Actor) -> None:
    """The corners of the box are further away than its sides."""
    await a_station(session, clerk, latitude=38.49 + 0.0085, longitude=106.27 + 0.0108)
    assert await around(session, 38.49, 106.27, within_km=1) == []
    assert len(await around(session, 38.49, 106.27, within_km=2)) == 1
    for latitude, longitude in ((53.9, 135.9), (3.0, 73.0)):
        assert await around(session, latitude, longitude, within_km=200) == []


async def test_drafts_and_closed_ones_are_nobody_s_to_see(session: AsyncSession, clerk: Actor) -> None:
    draft = await a_station(session, clerk, opened=False)
    assert (draft.status, draft.version) == (StationStatus.DRAFT, 1)
    with pytest.raises(NotFound):
        await stations.public_detail(session, id=draft.id)
    opened = await stations.open_to_public(session, clerk, id=draft.id, version=1)
    assert (await stations.public_detail(session, id=draft.id))["station"] is opened
    with pytest.raises(StaleVersion):
        await stations.close(session, clerk, id=draft.id, version=1)
    with pytest.raises(WrongState):
        await stations.open_to_public(session, clerk, id=draft.id, version=2)
    closed = await stations.close(session, clerk, id=draft.id, version=2)
    assert await around(session, closed.latitude, closed.longitude) == []
    listed = await stations.public_listing(session, region_code=TOWN, kind=None, after=None, limit=9)
    assert listed == []
    with pytest.raises(WrongState):
        await stations.close(session, clerk, id=draft.id, version=3)
    await stations.open_to_public(session, clerk, id=draft.id, version=3)


async def test_without_hours_a_station_does_not_open(session: AsyncSession, clerk: Actor) -> None:
    with pytest.raises(Invalid):
        await a_station(session, clerk, hours=[])


async def test_a_station_is_its_own_region_s(session: AsyncSession, clerk: Actor) -> None:
    row, stranger = await a_station(session, clerk), await made.worker(session, NEXT_COUNTY)
    with pytest.raises(NotFound):
        await stations.get(session, stranger, id=row.id)
    with pytest.raises(NotFound):
        await stations.revise(session, stranger, id=row.id, version=row.version, new=new())
    with pytest.raises(regions.RegionOutsideOwn):
        await a_station(session, clerk, region_code=NEXT_COUNTY)
    with pytest.raises(regions.RegionOutsideOwn):
        await stations.revise(
            session, clerk, id=row.id, version=row.version, new=new(region_code=NEXT_COUNTY)
        )
    listed = await stations.listing(session, stranger, status=None, kind=None, after=None, limit=9)
    assert listed == []


async def test_revising_replaces_all_of_it_and_an_old_version_nothing(
    session: AsyncSession, clerk: Actor
) -> None:
    row = await a_station(session, clerk)
    seen = row.version
    revised = await stations.revise(
        session, clerk, id=row.id, version=seen, new=new(name="新名", rooms=[], phone=None)
    )
    assert (revised.name, revised.rooms, revised.phone, revised.version) == ("新名", [], None, seen + 1)
    with pytest.raises(StaleVersion):
        await stations.revise(session, clerk, id=row.id, version=seen, new=new())


NOON = [
    {"weekday": 1, "opens": "08:30", "closes": "12:00"},
    {"weekday": 1, "opens": "14:00", "closes": "17:30"},
    {"weekday": 7, "opens": "00:00", "closes": "23:59"},
]


@pytest.mark.parametrize(
    ("hour", "minute", "day", "open_"),
    [
        (0, 29, 23, False), (0, 30, 23, True), (2, 0, 23, True), (3, 59, 23, True), (4, 0, 23, False),
        (6, 0, 23, True), (9, 30, 23, False), (2, 0, 24, False), (16, 0, 21, True), (15, 59, 21, False),
        (2, 0, 30, False),
    ],
)  # fmt: skip
async def test_open_means_now_in_shanghai_on_a_day_that_is_not_closed(
    session: AsyncSession, clerk: Actor, monkeypatch: pytest.MonkeyPatch, hour: int, minute: int, day: int, open_: bool
) -> None:  # fmt: skip
    closed = [{"on": date(2026, 11, 30), "note": "休整"}]
    await a_station(session, clerk, hours=NOON, closed_days=closed)
    monkeypatch.setattr("app.clock.now", lambda: datetime(2026, 11, day, hour, minute, tzinfo=UTC))
    listed = await stations.public_listing(session, region_code=TOWN, kind=None, after=None, limit=9)
    assert [row["open_now"] for row in listed] == [open_]
    found = await around(session, SHOWN["latitude"], SHOWN["longitude"], only_open_now=True)
    assert len(found) == int(open_)


@pytest.mark.parametrize(
    "changes",
    [
        {"latitude": 106.27, "longitude": 38.49},  # the wrong way round
        {"hours": [{"weekday": 1, "opens": "12:00", "closes": "08:00"}]},
        {"hours": [{"weekday": 8, "opens": "08:00", "closes": "12:00"}]},
        {"hours": [{"weekday": 1, "opens": "8:00", "closes": "12:00"}]},
        {"hours": [{"weekday": 1, "opens": "08:00", "closes": "24:00"}]},
        {"rooms": [{"kind": "unknown", "name": "x", "places": 1}]},
        {"devices": [{"name": "x", "count": 0, "status": "working"}]},
        {"latitude": float("nan")},
    ],
)
def test_what_no_station_can_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  pydantic's own
        new(**changes)


async def test_among_ten_thousand_the_index_finds_the_neighbourhood(
    session: AsyncSession, clerk: Actor
) -> None:
    await session.execute(
        text(
            "INSERT INTO station (id, name, kind, region_code, address, latitude, longitude, status, created_at) "
            "SELECT gen_random_uuid(), 's' || n, 'other', :town, '', 20 + (n % 250) * 0.1, 80 + (n / 250) * 1.0, "
            "'open', now() FROM generate_series(1, 10000) n"
        ),
        {"town": TOWN},
    )
    await session.execute(text("ANALYZE station"))
    found = await around(session, 38.5, 106.3)
    assert found
    plan = "\n".join(await session.scalars(text(EXPLAIN)))
    assert "ix_station_latitude_longitude_open" in plan, plan


EXPLAIN = (
    "EXPLAIN SELECT id FROM station WHERE status = 'open' "
    "AND latitude BETWEEN 38.1 AND 38.9 AND longitude BETWEEN 105.8 AND 106.8"
)
