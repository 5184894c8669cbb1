"""What is changed of a slot by hand: capacity, room, practitioner, release, whether it takes bookings."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version
from app.errors import Conflict, Invalid, StaleVersion, WrongState
from app.models.appointments import Slot, SlotEvent, SlotStatus
from app.services import audit
from app.services.appointments import slots, waitlist
from app.services.plain import Body, Moment, example

USABLE = {SlotStatus.DRAFT, SlotStatus.OPEN, SlotStatus.CLOSED}


class CapacityBelowBooked(Conflict):
    """`booked` says how many places are taken."""

    zh, en = "已预约人数多于新的容量", "More places are booked than this capacity has"
    do_zh, do_en = (
        "容量不能低于 booked；如需减少，请先为已预约者改期",
        "The capacity cannot be below booked: move those who have booked first",
    )


class AlreadyReleased(Conflict):
    zh, en = "该时段已放号", "This slot has been released"
    do_zh, do_en = "放号时间只能在放号之前更改", "Its release can be changed only before it has come"


class ChangeSlot(Body):
    """What is left out stays as it is; a room or practitioner of null is taken away."""

    model_config = example(version=1, capacity=25)

    version: Annotated[int, Field(ge=1, le=2**31)]
    capacity: Annotated[int, Field(ge=1, le=10_000)] | None = None
    opens_at: Moment | None = None
    room_id: uuid.UUID | None = None
    practitioner_id: uuid.UUID | None = None

    def values(self) -> dict[str, Any]:
        given = self.model_dump(include=self.model_fields_set - {"version"})
        for name in ("capacity", "opens_at"):
            if given.get(name, 0) is None:
                raise Invalid.at(f"/{name}", "不能为空", "cannot be null")
        return given


async def change(db: AsyncSession, actor: Actor, *, id: uuid.UUID, new: ChangeSlot) -> Slot:
    """While people book. Places that are added go to those who wait first. It stands apart from its schedule then:
    publishing that again leaves it as it is."""
    given = new.values()
    slot = await fetch_version(db, actor, Slot, id, new.version)
    if slot.status not in USABLE or slot.starts_at <= clock.now():
        raise WrongState(status_now=slot.status)
    if given.get("capacity", slot.capacity) < slot.booked:
        raise CapacityBelowBooked(booked=slot.booked)
    if "opens_at" in given and given["opens_at"] != slot.opens_at:
        _check_release(slot, given["opens_at"])
    places = {name: given[name] for name in ("room_id", "practitioner_id") if name in given}
    await slots.check_resources(db, slot, **places)
    changed = await _write(db, actor, slot, given)
    await audit.record(db, actor, "change", "slot", id)
    await _offer(db, actor, changed)
    return changed


def _check_release(slot: Slot, opens_at: datetime) -> None:
    if slot.opens_at <= clock.now():
        raise AlreadyReleased
    if not clock.now() - slots.FURTHEST < opens_at < slot.starts_at:
        raise Invalid.at("/opens_at", "须早于开始时间", "must come before the start")


async def close(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Slot:
    """No further bookings; those made stand."""
    return await _turn(db, actor, id, SlotStatus.CLOSED, "close")


async def reopen(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Slot:
    """Bookable again, by those who wait first."""
    slot = await _turn(db, actor, id, SlotStatus.OPEN, "reopen")
    await _offer(db, actor, slot)
    return slot


async def _turn(db: AsyncSession, actor: Actor, id: uuid.UUID, status: SlotStatus, action: str) -> Slot:
    slot = await fetch(db, actor, Slot, id, lock=True)
    over = status is SlotStatus.OPEN and slot.starts_at <= clock.now()
    if slot.status not in {SlotStatus.OPEN, SlotStatus.CLOSED} or over:
        raise WrongState(status_now=slot.status)
    slot = await _write(db, actor, slot, {"status": status})
    await audit.record(db, actor, action, "slot", id)
    return slot


async def _write(db: AsyncSession, actor: Actor, slot: Slot, values: dict[str, Any]) -> Slot:
    """The slot is locked: bookings in flight wait, and count what they find then. Each change leaves what it was."""
    new = {name: value for name, value in values.items() if value != getattr(slot, name)}
    if not new:
        return slot
    db.add_all(
        SlotEvent(
            slot_id=slot.id, at=clock.now(), field=name, old=_written(getattr(slot, name)), new=_written(value),
            actor_role=actor.role, actor_id=actor.id,
        )
        for name, value in new.items()
    )  # fmt: skip
    query = (
        update(Slot)
        .where(Slot.id == slot.id, Slot.version == slot.version)
        .where(Slot.booked <= new.get("capacity", Slot.capacity))
        .values(**new, version=Slot.version + 1)
        .returning(Slot)
    )
    changed = await db.scalar(query.execution_options(populate_existing=True))
    if changed is None:  # what this session had read of it before was out of date
        seen = slot.version
        await db.refresh(slot)
        if slot.version != seen:
            raise StaleVersion(current_version=slot.version)
        raise CapacityBelowBooked(booked=slot.booked)
    return changed


def _written(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)


async def _offer(db: AsyncSession, actor: Actor, slot: Slot) -> None:
    if slot.status is SlotStatus.OPEN and slot.booked < slot.capacity and slot.opens_at <= clock.now():
        await waitlist.offer_free(db, actor, slot.id)


async def history(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, before: int | None, limit: int
) -> list[SlotEvent]:
    """What was changed by hand, newest first."""
    slot = await fetch(db, actor, Slot, id)
    query = select(SlotEvent).where(SlotEvent.slot_id == slot.id).order_by(SlotEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(SlotEvent.id < before)
    return list(await db.scalars(query))
