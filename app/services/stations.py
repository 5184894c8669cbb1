"""Stations (幸福寓所, 暖心家园, family-health places): kept by the workers of a region, found by anybody."""

import uuid
from datetime import date, datetime
from math import cos, radians
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import ColumnElement, Float, Select, and_, exists, func, not_, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible, within
from app.errors import Invalid, NotFound, Unfit, WrongState
from app.models.stations import Station, StationKind, StationStatus
from app.services import audit, idempotency, regions
from app.services.idempotency import Key
from app.services.plain import Body, Day, Line, RegionCode, Text, example

EARTH_METRES = 6_371_000
METRES_PER_DEGREE = 111_195  # of latitude, on that sphere

Time = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
CRS = "GCJ-02, as WeChat's map and wx.getLocation({type: 'gcj02'}) have it"
Latitude = Annotated[
    float, Field(ge=3, le=54, description=f"{CRS}; positions of a plain GPS differ by some 500 m")
]
Longitude = Annotated[float, Field(ge=73, le=136, description=CRS)]


class Room(Body):
    """贴心, 爱心, 联心 rooms as the happiness homes have them; others by what they are for."""

    kind: Literal["tiexin", "aixin", "lianxin", "counselling", "reading", "activity", "care", "other"]
    name: Line
    places: Annotated[int, Field(ge=0, le=10_000)]


class Device(Body):
    name: Line
    count: Annotated[int, Field(ge=1, le=10_000)]
    status: Literal["working", "broken", "in_repair"]


class Hours(Body):
    """Once a week, Shanghai time; several on one day for a break at noon."""

    weekday: Annotated[int, Field(ge=1, le=7, description="1 Monday … 7 Sunday (ISO 8601)")]
    opens: Time
    closes: Time

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.opens >= self.closes:
            raise Unfit("开门时间须早于关门时间", "must open before it closes")
        return self


class ClosedDay(Body):
    on: Day
    note: Annotated[str, Text(100)] | None = None


SHOWN: dict[str, Any] = {
    "name": "凤凰北街幸福寓所",
    "kind": "happiness_home",
    "region_code": "640104001000",
    "address": "凤凰北街 18 号",
    "latitude": 38.4921,
    "longitude": 106.2753,
    "phone": "0951-0000000",
    "rooms": [{"kind": "tiexin", "name": "贴心小屋", "places": 12}],
    "devices": [{"name": "血压计", "count": 2, "status": "working"}],
    "hours": [{"weekday": 1, "opens": "08:30", "closes": "12:00"}],
    "closed_days": [{"on": "2027-02-06", "note": "春节"}],
}


class NewStation(Body):
    model_config = example(**SHOWN)

    name: Line
    kind: StationKind
    region_code: RegionCode
    address: Annotated[str, Text(200)]
    latitude: Latitude
    longitude: Longitude
    phone: Annotated[str, Field(pattern=r"^[0-9+ -]{5,30}$", description="Of the office; public")] | None = (
        None
    )
    rooms: Annotated[list[Room], Field(max_length=50)] = []
    devices: Annotated[list[Device], Field(max_length=100)] = []
    hours: Annotated[list[Hours], Field(max_length=28)] = []
    closed_days: Annotated[list[ClosedDay], Field(max_length=100)] = []


async def create(db: AsyncSession, actor: Actor, *, key: Key, new: NewStation) -> Station:
    """A draft in the worker's own region; the public sees it when it is opened."""
    if await idempotency.claim(db, actor, key):
        await regions.require_own_region(db, actor, new.region_code)
        values = new.model_dump(mode="json")
        db.add(Station(id=key.id, status=StationStatus.DRAFT, created_at=clock.now(), **values))
        await audit.record(db, actor, "create", "station", key.id)
        await db.flush()  # so that an id already taken is refused here
    return await fetch(db, actor, Station, key.id)


async def revise(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, new: NewStation) -> Station:
    """Replaces what is known of it, in whatever state it is."""
    row = await fetch_version(db, actor, Station, id, version)
    if new.region_code != row.region_code:
        await regions.require_own_region(db, actor, new.region_code)
    for name, value in new.model_dump(mode="json").items():
        setattr(row, name, value)
    await audit.record(db, actor, "revise", "station", id)
    await db.flush()  # raises the version
    return row


async def open_to_public(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Station:
    """For the first time or again. Nobody comes to a place without hours."""
    row = await fetch_version(db, actor, Station, id, version)
    if row.status is StationStatus.OPEN:
        raise WrongState(status_now=row.status)
    if not row.hours:
        raise Invalid.at("/hours", "请先填写开放时间", "state the hours first")
    return await _turn(db, actor, row, StationStatus.OPEN)


async def close(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Station:
    """The public sees it no more; single days are `closed_days`."""
    row = await fetch_version(db, actor, Station, id, version)
    if row.status is not StationStatus.OPEN:
        raise WrongState(status_now=row.status)
    return await _turn(db, actor, row, StationStatus.CLOSED)


async def _turn(db: AsyncSession, actor: Actor, row: Station, status: StationStatus) -> Station:
    row.status = status
    await audit.record(db, actor, status, "station", row.id)
    await db.flush()  # raises the version
    return row


async def get(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Station:
    return await fetch(db, actor, Station, id)


async def listing(
    db: AsyncSession, actor: Actor, *, status: StationStatus | None, kind: StationKind | None,
    after: tuple[str, uuid.UUID] | None, limit: int,
) -> list[Station]:  # fmt: skip
    """Those of the worker's region, by village."""
    query = _by_region(select(Station).where(visible(actor, Station)), kind, after, limit)
    if status is not None:
        query = query.where(Station.status == status)
    return list(await db.scalars(query))


Stations = TypeVar("Stations", bound=Select[*tuple[Any, ...]])


def _by_region(
    query: Stations, kind: StationKind | None, after: tuple[str, uuid.UUID] | None, limit: int
) -> Stations:
    if kind is not None:
        query = query.where(Station.kind == kind)
    if after is not None:
        query = query.where(func.row(Station.region_code, Station.id) > func.row(*after))
    return query.order_by(Station.region_code, Station.id).limit(limit)


async def public_listing(
    db: AsyncSession, *, region_code: str, kind: StationKind | None, after: tuple[str, uuid.UUID] | None,
    limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The open ones of a region and below, by village, each with whether its door stands open now."""
    query = select(Station, open_now(clock.now()).label("open_now")).where(
        Station.status == StationStatus.OPEN, within(Station.region_code, region_code)
    )
    return [
        {"station": row, "open_now": here}
        for row, here in await db.execute(_by_region(query, kind, after, limit))
    ]


async def public_detail(db: AsyncSession, *, id: uuid.UUID) -> dict[str, Any]:
    query = select(Station, open_now(clock.now())).where(
        Station.id == id, Station.status == StationStatus.OPEN
    )
    found = (await db.execute(query)).one_or_none()
    if found is None:
        raise NotFound
    return {"station": found[0], "open_now": found[1]}


async def nearest(
    db: AsyncSession, *, latitude: float, longitude: float, within_km: int, kind: StationKind | None,
    only_open_now: bool, limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The open ones around a place, nearest first, with the distance as the crow flies in metres."""
    away, here = distance(latitude, longitude), open_now(clock.now())
    query = select(Station, away.label("metres"), here.label("open_now")).where(
        Station.status == StationStatus.OPEN,
        _around(latitude, longitude, within_km * 1000),
        away <= within_km * 1000,
    )
    if kind is not None:
        query = query.where(Station.kind == kind)
    if only_open_now:
        query = query.where(here)
    query = query.order_by(away, Station.id).limit(limit)
    return [
        {"station": row, "distance_metres": round(metres), "open_now": open_}
        for row, metres, open_ in await db.execute(query)
    ]


def _around(latitude: float, longitude: float, metres: int) -> ColumnElement[bool]:
    """A box that holds the circle: the index finds it, the distance decides."""
    up = metres / METRES_PER_DEGREE
    widest = min(abs(latitude) + up, 89.0)
    aside = up / cos(radians(widest))
    return and_(
        Station.latitude.between(latitude - up, latitude + up),
        Station.longitude.between(longitude - aside, longitude + aside),
    )


def distance(latitude: float, longitude: float) -> ColumnElement[float]:
    """Haversine, on a sphere: within half a percent."""
    half_up = func.radians(Station.latitude - latitude) / 2
    half_aside = func.radians(Station.longitude - longitude) / 2
    chord = func.power(func.sin(half_up), 2) + cos(radians(latitude)) * func.cos(
        func.radians(Station.latitude)
    ) * func.power(func.sin(half_aside), 2)
    return type_coerce(2 * EARTH_METRES * func.asin(func.least(1.0, func.sqrt(chord))), Float)


def open_now(at: datetime) -> ColumnElement[bool]:
    """By the weekly hours of Shanghai, and not on a day that it is closed."""
    local = at.astimezone(clock.SHANGHAI)
    today: date = local.date()
    hours = func.jsonb_array_elements(Station.hours).table_valued("value", name="hours")
    one = type_coerce(hours.c.value, JSONB)
    now = f"{local:%H:%M}"
    by_the_week = exists(
        select(1)
        .select_from(hours)
        .where(
            one["weekday"].as_integer() == today.isoweekday(),
            one["opens"].as_string() <= now,
            one["closes"].as_string() > now,
        )
    )
    closed = Station.closed_days.contains([{"on": today.isoformat()}])
    return and_(by_the_week, not_(closed))
