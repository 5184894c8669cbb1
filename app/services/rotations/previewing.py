"""What a plan means before it is published: how many come from where and when, and who finds no room."""

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, within
from app.models.regions import Region
from app.models.rotations import Rotation, RotationTurn, TurnStatus
from app.services import regions
from app.services.rotations.rooms import AWAY, capacities, rooms, taken


@dataclass(frozen=True, slots=True)
class VillageMonth:
    region_code: str
    name: str
    clinic_id: uuid.UUID
    month: date
    people: int


@dataclass(frozen=True, slots=True)
class ClinicMonth:
    """`over`: more than the clinic takes. Of a month that is over, or invited, the capacity is no matter any more."""

    clinic_id: uuid.UUID
    month: date
    capacity: int | None
    people: int
    over: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """`unplaced`: whom no clinic has room for within the years; `missing_monthly`: how many places more in each open
    month would do. `parted`: villages that do not come in one month."""

    villages: list[VillageMonth]
    months: list[ClinicMonth]
    unplaced: int
    unplaced_villages: list[str]
    missing_monthly: int
    parted: list[str]


async def preview(db: AsyncSession, actor: Actor, *, id: uuid.UUID, region_code: str | None) -> Preview:
    """Of the whole rotation, or of a part of its region; the months of the clinics are always whole."""
    rotation = await fetch(db, actor, Rotation, id)
    where = region_code or rotation.region_code
    await regions.require_own_region(db, actor, where)
    villages = await _villages(db, rotation, where)
    unplaced = await _unplaced(db, rotation, where)
    free = await rooms(db, rotation, await capacities(db, id))
    parts = Counter(line.region_code for line in villages)
    people, months = sum(unplaced.values()), {room.month for room in free}
    return Preview(
        villages, _months({(room.clinic, room.month): room.capacity for room in free}, await taken(db, rotation)),
        people, sorted(unplaced), -(-people // len(months)) if months else people,
        sorted(village for village, number in parts.items() if number > 1),
    )  # fmt: skip


async def _villages(db: AsyncSession, rotation: Rotation, region_code: str) -> list[VillageMonth]:
    columns = RotationTurn.region_code, Region.name, RotationTurn.clinic_id, RotationTurn.month
    query = (
        select(*columns, func.count())
        .join(Region, Region.code == RotationTurn.region_code)
        .where(RotationTurn.rotation_id == rotation.id, within(RotationTurn.region_code, region_code))
        .where(RotationTurn.month.is_not(None), RotationTurn.status.not_in(AWAY))
        .group_by(*columns)
        .order_by(RotationTurn.region_code, RotationTurn.month, RotationTurn.clinic_id)
    )
    return [VillageMonth(*row) for row in await db.execute(query)]  # type: ignore[arg-type]  # no NULL


async def _unplaced(db: AsyncSession, rotation: Rotation, region_code: str) -> dict[str, int]:
    query = (
        select(RotationTurn.region_code, func.count())
        .where(RotationTurn.rotation_id == rotation.id, within(RotationTurn.region_code, region_code))
        .where(RotationTurn.status == TurnStatus.PLANNED, RotationTurn.month.is_(None))
        .group_by(RotationTurn.region_code)
    )
    return dict((await db.execute(query)).all())


def _months(
    capacity: dict[tuple[uuid.UUID, date], int], people: dict[tuple[uuid.UUID, date], int]
) -> list[ClinicMonth]:
    rows = []
    for clinic, month in sorted(capacity.keys() | people.keys(), key=lambda place: (place[1], place[0])):
        takes, come = capacity.get((clinic, month)), people.get((clinic, month), 0)
        rows.append(ClinicMonth(clinic, month, takes, come, takes is not None and come > takes))
    return rows
