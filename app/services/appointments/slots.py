"""Clinics and their slots."""

import uuid
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible, within
from app.errors import Conflict, Invalid
from app.models.appointments import Clinic, Slot, SlotStatus
from app.models.partners import Organization
from app.models.schedules import Practitioner, Room
from app.services import audit, idempotency, regions
from app.services.appointments import catalogue
from app.services.idempotency import Key
from app.services.plain import Body, Line, Moment, RegionCode, Text, example
from app.services.schedules import resources

FURTHEST = timedelta(days=366)
NOT_THERE = "该服务点没有，或已停用", "not of this clinic, or retired"


class SlotExists(Conflict, constraint="uq_slot_clinic_service_starts_practitioner_room_kept"):
    zh, en = "该时段已发布", "There is a slot of this clinic and service at this time"
    do_zh, do_en = "请查看当日号源，或选择其他时间", "Look at the day's slots, or choose another time"


class RoomTaken(Conflict, constraint="ex_slot_room_id"):
    """`slot` says whose time it is."""

    zh, en = "该诊室在此时间已有时段", "The room has a slot at this time"
    do_zh, do_en = "请换一间诊室或换一个时间", "Choose another room or another time"


class PractitionerTaken(Conflict, constraint="ex_slot_practitioner_id"):
    """`slot` says whose time it is."""

    zh, en = "该人员在此时间已有时段", "The practitioner has a slot at this time"
    do_zh, do_en = "请换一位人员或换一个时间", "Choose another practitioner or another time"


class NewClinic(Body):
    model_config = example(
        organization_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        region_code="640104000000",
        name="优生健康检查门诊",
        address="凤凰北街 1 号",
        phone="0951-0000000",
    )

    organization_id: uuid.UUID
    region_code: RegionCode
    name: Line
    address: Annotated[str, Text(200)]
    phone: Annotated[str, Field(pattern=r"^[0-9+ -]{5,30}$")]


class NewSlot(Body):
    model_config = example(
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        service_code="pre_pregnancy_check",
        starts_at="2026-12-01T08:00:00+08:00",
        ends_at="2026-12-01T09:00:00+08:00",
        capacity=20,
        opens_at="2026-11-25T08:00:00+08:00",
    )

    clinic_id: uuid.UUID
    service_code: Line
    starts_at: Moment
    ends_at: Moment
    capacity: Annotated[int, Field(ge=1, le=10_000)]
    opens_at: Moment
    room_id: uuid.UUID | None = None
    practitioner_id: uuid.UUID | None = None


async def open_clinic(db: AsyncSession, actor: Actor, *, key: Key, new: NewClinic) -> Clinic:
    """A place of a hospital, in the worker's own region."""
    if await idempotency.claim(db, actor, key):
        await fetch(db, actor, Organization, new.organization_id)
        await regions.require_own_region(db, actor, new.region_code)
        db.add(Clinic(id=key.id, created_at=clock.now(), **new.model_dump()))
        await db.flush()  # so that a broken reference is refused here
        await audit.record(db, actor, "open", "clinic", key.id)
    return await fetch(db, actor, Clinic, key.id)


async def publish(db: AsyncSession, actor: Actor, *, key: Key, new: NewSlot) -> Slot:
    """A slot becomes bookable at `opens_at`. Its clinic must be the hospital's own, or in the worker's region."""
    if await idempotency.claim(db, actor, key):
        await fetch(db, actor, Clinic, new.clinic_id)
        service = await catalogue.service(db, new.service_code)
        check_times(new)
        values = new.model_dump(exclude={"service_code"}) | {"service_id": service.id}
        row = Slot(id=key.id, status=SlotStatus.OPEN, created_at=clock.now(), **values)
        await check_resources(db, row, room_id=new.room_id, practitioner_id=new.practitioner_id)
        db.add(row)
        await db.flush()  # so that a second slot at this time is refused here
        await audit.record(db, actor, "publish", "slot", key.id)
    return await fetch(db, actor, Slot, key.id)


def check_times(new: NewSlot) -> None:
    now = clock.now()
    if not now < new.starts_at < now + FURTHEST:
        raise Invalid.at("/starts_at", "须在今后一年内", "must lie within the coming year")
    if not new.starts_at < new.ends_at <= new.starts_at + timedelta(days=1):
        raise Invalid.at("/ends_at", "须晚于开始时间且不超过一天", "must follow the start within a day")
    if not now - FURTHEST < new.opens_at < new.starts_at:
        raise Invalid.at("/opens_at", "须早于开始时间", "must come before the start")


async def check_resources(
    db: AsyncSession,
    slot: Slot,
    *,
    room_id: uuid.UUID | None = None,
    practitioner_id: uuid.UUID | None = None,
) -> None:
    """They are the clinic's, in use, and free at this time. Two who ask at once are told apart by the constraints."""
    if room_id is not None:
        if await resources.missing(db, Room, clinic_id=slot.clinic_id, ids={room_id}):
            raise Invalid.at("/room_id", *NOT_THERE)
        if other := await _other(db, slot, Slot.room_id == room_id):
            raise RoomTaken(slot=other)
    if practitioner_id is not None:
        if await resources.missing(db, Practitioner, clinic_id=slot.clinic_id, ids={practitioner_id}):
            raise Invalid.at("/practitioner_id", *NOT_THERE)
        if other := await _other(db, slot, Slot.practitioner_id == practitioner_id):
            raise PractitionerTaken(slot=other)


async def _other(db: AsyncSession, slot: Slot, same: ColumnElement[bool]) -> dict[str, str] | None:
    at_once = func.tstzrange(Slot.starts_at, Slot.ends_at).op("&&")(
        func.tstzrange(slot.starts_at, slot.ends_at)
    )
    query = select(Slot.id, Slot.starts_at, Slot.ends_at).where(
        same, at_once, Slot.status != SlotStatus.CANCELLED, Slot.id != slot.id
    )
    found = (await db.execute(query.order_by(Slot.starts_at).limit(1))).one_or_none()
    if found is None:
        return None
    times = {"starts_at": found.starts_at.isoformat(), "ends_at": found.ends_at.isoformat()}
    return {"id": str(found.id), **times}


async def clinics(db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int) -> list[Clinic]:
    """The hospital's own, or those of the worker's region; oldest first."""
    query = select(Clinic).where(visible(actor, Clinic)).order_by(Clinic.id).limit(limit)
    if after is not None:
        query = query.where(Clinic.id > after)
    return list(await db.scalars(query))


async def of_day(
    db: AsyncSession, actor: Actor, *, on: date, after: tuple[datetime, uuid.UUID] | None, limit: int
) -> list[Slot]:
    """A day's slots with how many places are taken, for those who publish them."""
    start, end = day(on)
    query = select(Slot).where(visible(actor, Slot), Slot.starts_at >= start, Slot.starts_at < end)
    if after is not None:
        query = query.where(func.row(Slot.starts_at, Slot.id) > func.row(*after))
    return list(await db.scalars(query.order_by(Slot.starts_at, Slot.id).limit(limit)))


async def search(
    db: AsyncSession, actor: Actor, *, service_code: str, on: date | None, region_code: str | None,
    after: tuple[datetime, uuid.UUID] | None, limit: int,
) -> list[Row[Any]]:  # fmt: skip
    """Coming slots of a service in time order, full ones too: a place may come free. With each the hospital,
    which will receive the data of those who book (PIPL art. 23)."""
    service = await catalogue.service(db, service_code)
    query = _offers().where(
        Slot.service_id == service.id, Slot.status == SlotStatus.OPEN, visible(actor, Slot)
    )
    query = query.where(Slot.starts_at > clock.now()).order_by(Slot.starts_at, Slot.id).limit(limit)
    if on is not None:
        start, end = day(on)
        query = query.where(Slot.starts_at >= start, Slot.starts_at < end)
    if region_code is not None:
        query = query.where(within(Clinic.region_code, region_code))
    if after is not None:
        query = query.where(func.row(Slot.starts_at, Slot.id) > func.row(*after))
    return list(await db.execute(query))


def _offers() -> Select[Any]:
    return (
        select(
            *Slot.__table__.columns,
            (Slot.capacity - Slot.booked).label("remaining"),
            Clinic.name.label("clinic_name"),
            Clinic.address.label("clinic_address"),
            Clinic.phone.label("clinic_phone"),
            Organization.name.label("organization_name"),
            Room.name.label("room_name"),
            Practitioner.name.label("practitioner_name"),
            Practitioner.title.label("practitioner_title"),
        )
        .join(Clinic, Clinic.id == Slot.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
        .outerjoin(Room, Room.id == Slot.room_id)
        .outerjoin(Practitioner, Practitioner.id == Slot.practitioner_id)
    )


def day(on: date) -> tuple[datetime, datetime]:
    """The instants at which a business day begins and ends."""
    start = clock.midnight(on)
    return start, start + timedelta(days=1)
