"""Clinics and their slots."""

import uuid
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible, within
from app.errors import Conflict, Invalid, WrongState
from app.models.appointments import Clinic, Slot, SlotStatus
from app.models.partners import Organization
from app.services import audit, idempotency, regions
from app.services.appointments import catalogue
from app.services.idempotency import Key
from app.services.plain import Body, Line, Moment, RegionCode, Text, example

FURTHEST = timedelta(days=366)


class SlotExists(Conflict, constraint="uq_slot_clinic_id_service_id_starts_at"):
    zh, en = "该时段已发布", "There is a slot of this clinic and service at this time"
    do_zh, do_en = "请查看当日号源，或选择其他时间", "Look at the day's slots, or choose another time"


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
        clinic = await fetch(db, actor, Clinic, new.clinic_id)
        service = await catalogue.service(db, new.service_code)
        _check_times(new)
        db.add(
            Slot(
                id=key.id, clinic_id=clinic.id, service_id=service.id, starts_at=new.starts_at,
                ends_at=new.ends_at, capacity=new.capacity, opens_at=new.opens_at, status=SlotStatus.OPEN,
                created_at=clock.now(),
            )
        )  # fmt: skip
        await db.flush()  # so that a second slot at this time is refused here
        await audit.record(db, actor, "publish", "slot", key.id)
    return await fetch(db, actor, Slot, key.id)


def _check_times(new: NewSlot) -> None:
    now = clock.now()
    if not now < new.starts_at < now + FURTHEST:
        raise Invalid.at("/starts_at", "须在今后一年内", "must lie within the coming year")
    if not new.starts_at < new.ends_at <= new.starts_at + timedelta(days=1):
        raise Invalid.at("/ends_at", "须晚于开始时间且不超过一天", "must follow the start within a day")
    if not now - FURTHEST < new.opens_at < new.starts_at:
        raise Invalid.at("/opens_at", "须早于开始时间", "must come before the start")


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


async def close(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Slot:
    """No further bookings; those made stand."""
    slot = await fetch(db, actor, Slot, id, lock=True)
    if slot.status not in {SlotStatus.OPEN, SlotStatus.CLOSED}:
        raise WrongState(status_now=slot.status)
    slot.status = SlotStatus.CLOSED
    await audit.record(db, actor, "close", "slot", slot.id)
    return slot


async def free_place(db: AsyncSession, id: uuid.UUID) -> None:
    """One booking fewer; taking a place is part of app/models/sql/book_appointment.sql."""
    await db.execute(update(Slot).where(Slot.id == id).values(booked=Slot.booked - 1))


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
        )
        .join(Clinic, Clinic.id == Slot.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
    )


def day(on: date) -> tuple[datetime, datetime]:
    """The instants at which a business day begins and ends."""
    start = datetime.combine(on, time.min, clock.SHANGHAI)
    return start, start + timedelta(days=1)
