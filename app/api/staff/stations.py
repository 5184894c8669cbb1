"""Stations of the worker's region: rooms, devices, hours, and whether the public sees them."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Version,
    Versioned,
    example,
    listing,
    staff_may,
)
from app.api.public.stations import PublicStation
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.stations import StationKind, StationStatus
from app.services import regions, stations
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.stations import SHOWN, NewStation

router = APIRouter(tags=["服务站点 stations"])
Manage = Annotated[Actor, staff_may(Permission.STATION_MANAGE)]
CHANGES = problems(NotFound, StaleVersion, WrongState)


class StationView(PublicStation):
    status: StationStatus
    version: int


class ReviseStation(Body):
    model_config = example(version=1, station=SHOWN)

    version: Version
    station: NewStation


@router.post(
    "/stations",
    status_code=201,
    summary="新增服务站点 Create a station",
    responses=problems(regions.RegionOutsideOwn, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def create_station(db: Db, actor: Manage, key: IdempotencyKey, body: NewStation) -> StationView:
    """A draft; open it when it is right."""
    return StationView.model_validate(await stations.create(db, actor, key=key, new=body))


@router.get("/stations", summary="服务站点列表 Stations of the region", response_model=Listing[StationView])
async def list_stations(
    db: Db, actor: Manage, page: Paging, status: StationStatus | None = None, kind: StationKind | None = None
) -> dict[str, Any]:
    after = page.after(str, uuid.UUID)
    rows = await stations.listing(db, actor, status=status, kind=kind, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.region_code, row.id))


@router.get("/stations/{id}", summary="服务站点 A station", responses=problems(NotFound))
async def station(db: Db, actor: Manage, id: uuid.UUID) -> StationView:
    return StationView.model_validate(await stations.get(db, actor, id=id))


@router.put(
    "/stations/{id}",
    summary="修改服务站点 Revise a station",
    responses=problems(NotFound, StaleVersion, regions.RegionOutsideOwn),
)
async def revise_station(db: Db, actor: Manage, id: uuid.UUID, body: ReviseStation) -> StationView:
    """As a whole; what is left out is emptied. An open one stays open."""
    row = await stations.revise(db, actor, id=id, version=body.version, new=body.station)
    return StationView.model_validate(row)


@router.post("/stations/{id}/open", summary="开放站点 Open a station", responses=CHANGES)
async def open_station(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> StationView:
    """The public sees it from now on."""
    row = await stations.open_to_public(db, actor, id=id, version=body.version)
    return StationView.model_validate(row)


@router.post("/stations/{id}/close", summary="关闭站点 Close a station", responses=CHANGES)
async def close_station(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> StationView:
    """The public sees it no more; it can be opened again. A single day is one of `closed_days`."""
    return StationView.model_validate(await stations.close(db, actor, id=id, version=body.version))
