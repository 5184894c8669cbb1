"""Stations to walk into: around a place, in a region."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import StringConstraints

from app.api.deps import Db, Listing, Paging, RegionCode, View, example, listing
from app.errors import NotFound, problems
from app.models.stations import StationKind
from app.services import stations
from app.services.stations import ClosedDay, Device, Hours, Room

ROUNDED = "rounded to three decimals, about 100 m: an address line says no more than the neighbourhood one stands in"
Latitude = Annotated[
    str,
    StringConstraints(pattern=r"^([3-9]|[1-4][0-9]|5[0-3])(\.[0-9]{1,3})?$"),
    Query(description=f"GCJ-02, {ROUNDED}", examples=["38.492"]),
]
Longitude = Annotated[
    str,
    StringConstraints(pattern=r"^(7[3-9]|[89][0-9]|1[0-2][0-9]|13[0-5])(\.[0-9]{1,3})?$"),
    Query(description=f"GCJ-02, {ROUNDED}", examples=["106.275"]),
]


def _cached(response: Response) -> None:
    """The same for everybody, and open or not by the minute."""
    response.headers["Cache-Control"] = "public, max-age=60"


router = APIRouter(tags=["服务站点 stations"], dependencies=[Depends(_cached)])


class PublicStation(View):
    id: uuid.UUID
    name: str
    kind: StationKind
    region_code: str
    address: str
    latitude: float
    longitude: float
    phone: str | None
    rooms: list[Room]
    devices: list[Device]
    hours: list[Hours]
    closed_days: list[ClosedDay]


class StationNow(View):
    station: PublicStation
    open_now: bool


class StationNearby(StationNow):
    model_config = example(
        station={
            "id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e12",
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
            "closed_days": [],
        },
        open_now=True,
        distance_metres=420,
    )

    distance_metres: int


@router.get("/stations", summary="辖区服务站点 Stations of a region", response_model=Listing[StationNow])
async def list_stations(
    db: Db, page: Paging, region_code: RegionCode, kind: StationKind | None = None
) -> dict[str, Any]:
    """Of the region and all below it, by village."""
    after = page.after(str, uuid.UUID)
    rows = await stations.public_listing(
        db, region_code=region_code, kind=kind, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row["station"].region_code, row["station"].id))


@router.get("/stations/nearest", summary="附近的服务站点 Stations around a place")
async def nearest_stations(
    db: Db,
    latitude: Latitude,
    longitude: Longitude,
    kind: StationKind | None = None,
    open_now: bool = False,
    within_km: Annotated[int, Query(ge=1, le=200)] = 50,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> list[StationNearby]:
    """Nearest first, as the crow flies. Round the position before you send it: addresses get written down on the way,
    and more decimals are refused."""
    found = await stations.nearest(
        db, latitude=float(latitude), longitude=float(longitude), within_km=within_km, kind=kind,
        only_open_now=open_now, limit=limit,
    )  # fmt: skip
    return [StationNearby.model_validate(row) for row in found]


@router.get("/stations/{id}", summary="服务站点 A station", responses=problems(NotFound))
async def station(db: Db, id: uuid.UUID) -> StationNow:
    return StationNow.model_validate(await stations.public_detail(db, id=id))
