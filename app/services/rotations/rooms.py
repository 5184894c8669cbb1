"""How many clinics take in each month: as stated for the rotation, or as published in slots."""

import uuid
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import ColumnElement, Date, and_, cast, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import within
from app.models.appointments import Slot, SlotStatus
from app.models.rotations import Rotation, RotationCapacity, RotationTurn, TurnStatus
from app.services.rotations.group import years_of
from app.services.rotations.planning import Room

#: Who needs no room at a clinic any more.
AWAY = (TurnStatus.DROPPED, TurnStatus.DECLINED)
Place = tuple[uuid.UUID, date]


async def capacities(db: AsyncSession, rotation_id: uuid.UUID) -> list[RotationCapacity]:
    query = select(RotationCapacity).where(RotationCapacity.rotation_id == rotation_id)
    return list(await db.scalars(query.order_by(RotationCapacity.id)))


def first_open(rotation: Rotation) -> date:
    """The first month that people can still be given: after this one, and after those that were invited."""
    latest = max(clock.today(), rotation.invited_through or date(rotation.first_year - 1, 12, 1))
    return (latest.replace(day=1) + timedelta(days=32)).replace(day=1)


async def rooms(db: AsyncSession, rotation: Rotation, lines: Sequence[RotationCapacity]) -> list[Room]:
    """Every month of the rotation from now on in which a clinic takes anybody."""
    first = first_open(rotation)
    months = [date(year, month, 1) for year in years_of(rotation) for month in range(1, 13)]
    published = await _published(db, rotation, [line.clinic_id for line in lines if line.monthly is None])
    found = []
    for line in lines:
        for month in months:
            place = line.clinic_id, month
            taken = published.get(place, 0) if line.monthly is None else line.monthly[month.month - 1]
            if taken and month >= first:
                found.append(Room(line.clinic_id, month, taken, line.serves_region_code))
    return found


async def _published(db: AsyncSession, rotation: Rotation, clinics: list[uuid.UUID]) -> dict[Place, int]:
    if not clinics:
        return {}
    month = cast(func.date_trunc("month", func.timezone("Asia/Shanghai", Slot.starts_at)), Date)
    until = clock.midnight(date(rotation.first_year + rotation.years, 1, 1))
    query = (
        select(Slot.clinic_id, month, func.sum(Slot.capacity))
        .where(Slot.service_id == rotation.service_id, Slot.clinic_id.in_(clinics))
        .where(Slot.starts_at > clock.now(), Slot.starts_at < until)
        .where(Slot.status == SlotStatus.OPEN)
        .group_by(Slot.clinic_id, month)
    )
    return {(clinic, day): int(places) for clinic, day, places in await db.execute(query)}


async def taken(db: AsyncSession, rotation: Rotation) -> dict[Place, int]:
    """How many come already in each month of each clinic."""
    query = (
        select(RotationTurn.clinic_id, RotationTurn.month, func.count())
        .where(RotationTurn.rotation_id == rotation.id, RotationTurn.month.is_not(None))
        .where(RotationTurn.status.not_in(AWAY))
        .group_by(RotationTurn.clinic_id, RotationTurn.month)
    )
    return {(clinic, month): people for clinic, month, people in await db.execute(query) if clinic and month}


def served(lines: Sequence[RotationCapacity]) -> ColumnElement[bool]:
    """A turn's clinic takes people of that village."""
    return or_(
        false(),
        *(
            and_(
                RotationTurn.clinic_id == line.clinic_id,
                within(RotationTurn.region_code, line.serves_region_code),
            )
            for line in lines
        ),
    )
