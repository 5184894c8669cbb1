"""The places of a slot. Booking by oneself takes them inside app/models/sql/book_appointment.sql; all else here."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.appointments import Appointment, Slot, SlotStatus
from app.services.appointments import waitlist


async def hold(db: AsyncSession, slot_ids: Iterable[uuid.UUID]) -> list[Slot]:
    """Slots locked until the transaction ends, always in the order of their ids, as they are now."""
    query = select(Slot).where(Slot.id.in_(slot_ids)).order_by(Slot.id).with_for_update()
    return list(await db.scalars(query.execution_options(populate_existing=True)))


async def take(db: AsyncSession, slot_id: uuid.UUID, places: int = 1, *, beyond: bool = False) -> bool:
    """All of these places of an open slot, or none. `beyond`: the capacity is raised by what is missing."""
    wanted = Slot.booked + places
    changed: dict[str, Any] = {"booked": wanted}
    query = update(Slot).where(Slot.id == slot_id, Slot.status == SlotStatus.OPEN)
    if beyond:
        changed["capacity"] = func.greatest(Slot.capacity, wanted)
        changed["version"] = Slot.version + case((wanted > Slot.capacity, 1), else_=0)
    else:
        query = query.where(wanted <= Slot.capacity)
    taken = query.values(changed).returning(Slot.id).execution_options(synchronize_session=False)
    return await db.scalar(taken) is not None


async def free(db: AsyncSession, actor: Actor, slot_id: uuid.UUID, places: int = 1) -> None:
    """So many places fewer are taken; they are offered to those who wait, in this very transaction."""
    given_back = update(Slot).where(Slot.id == slot_id).values(booked=Slot.booked - places)
    await db.execute(given_back.execution_options(synchronize_session=False))
    await waitlist.offer_free(db, actor, slot_id)


async def free_all(db: AsyncSession, actor: Actor, rows: Sequence[Appointment]) -> None:
    """The places of several. Every slot is locked before the first line of waiters is, and lines in one order."""
    await hold(db, {row.slot_id for row in rows})
    for row in sorted(rows, key=lambda row: (row.clinic_id, row.service_id, row.slot_id)):
        await free(db, actor, row.slot_id, row.places)
