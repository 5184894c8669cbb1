"""Courses: so many dates of one service at one clinic, booked together or not at all."""

import uuid
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.db import new_id
from app.errors import Conflict, Invalid, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus, HealthcareService, Origin, Slot
from app.services import idempotency, identity
from app.services.appointments import bookings, making, places
from app.services.idempotency import Key
from app.services.plain import Body, example


class NotACourse(Conflict):
    zh, en = "该服务不是疗程", "This service is not a course"
    do_zh, do_en = "请预约单个时段", "Book a single slot"


class NewCourse(Body):
    """The dates in time order, as many as the service has sessions."""

    model_config = example(
        slot_ids=[
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e05",
        ]
    )

    slot_ids: Annotated[list[uuid.UUID], Field(min_length=2, max_length=60)]


async def book(db: AsyncSession, actor: Actor, *, key: Key, new: NewCourse) -> list[Appointment]:
    """All dates or none. The key becomes the id of the course."""
    if await idempotency.claim(db, actor, key):
        slots = await _slots(db, actor, new.slot_ids)
        service = await db.get_one(HealthcareService, slots[0].service_id)
        _check(slots, service)
        person_id = await identity.own_id(db, actor)
        who = await making.who(db, actor, service, person_id)
        await making.require_may_book(db, service, who, own=person_id)
        cycle = making.cycle_at(service, slots[0], who)
        rows = [
            making.appointment(
                slot, service, who, id=new_id(), status=AppointmentStatus.BOOKED, origin=Origin.RESIDENT,
                account_id=actor.account_id, session=number, course_id=key.id, cycle=cycle,
            )
            for number, slot in enumerate(slots, start=1)
        ]  # fmt: skip
        db.add_all(rows)
        await db.flush()  # who is elsewhere at one of these times is refused here, before any slot is locked
        for slot in sorted(slots, key=lambda slot: slot.id):
            if not await places.take(db, slot.id):
                raise bookings.SlotFull(slot_id=str(slot.id))
        for row in rows:
            await bookings.record(db, actor, row, "book")
    return await sessions(db, actor, id=key.id)


async def _slots(db: AsyncSession, actor: Actor, ids: list[uuid.UUID]) -> list[Slot]:
    """In the order asked for."""
    found = {
        row.id: row for row in await db.scalars(select(Slot).where(Slot.id.in_(ids), visible(actor, Slot)))
    }
    if len(set(ids)) < len(ids):
        raise Invalid.at("/slot_ids", "时段重复", "a slot is named twice")
    if len(found) < len(ids):
        raise NotFound
    return [found[id] for id in ids]


def _check(slots: list[Slot], service: HealthcareService) -> None:
    if service.sessions == 1:
        raise NotACourse
    if len({(slot.service_id, slot.clinic_id) for slot in slots}) > 1:
        raise Invalid.at("/slot_ids", "须为同一服务点的同一服务", "must be one service at one clinic")
    if len(slots) != service.sessions:
        needed = service.sessions
        raise Invalid.at("/slot_ids", f"该疗程共 {needed} 次", f"this course has {needed} sessions")
    if any(later.starts_at < earlier.ends_at for earlier, later in pairwise(slots)):
        raise Invalid.at(
            "/slot_ids", "须按时间先后排列且互不重叠", "must be in time order, one after the other"
        )
    for slot in slots:
        making.require_open(slot)


async def sessions(db: AsyncSession, actor: Actor, *, id: uuid.UUID, lock: bool = False) -> list[Appointment]:
    """The dates of a course in order."""
    query = select(Appointment).where(Appointment.course_id == id, visible(actor, Appointment))
    query = query.order_by(Appointment.id).execution_options(populate_existing=True)
    rows = list(await db.scalars(query.with_for_update(of=Appointment) if lock else query))
    if not rows:
        raise NotFound
    return sorted(rows, key=lambda row: row.session)


async def cancel_rest(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str | None
) -> list[Appointment]:
    """Every date still to come, as long before it as the service asks for; one that is nearer stands."""
    rows = await sessions(db, actor, id=id, lock=True)
    booked = [row for row in rows if row.status is AppointmentStatus.BOOKED and row.starts_at > clock.now()]
    going = [row for row in booked if await bookings.changeable_until(db, row) > clock.now()]
    if booked and not going:
        await bookings.require_in_time(db, booked[-1])
    if not going:
        raise WrongState
    for row in going:
        await bookings.step(db, actor, appointment=row, to=AppointmentStatus.CANCELLED, note=reason)
    await places.free_all(db, actor, going)
    return rows
