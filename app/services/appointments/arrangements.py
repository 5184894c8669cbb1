"""What workers book for residents, and the exceptions that the office may make, each with its reason."""

import uuid
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch
from app.errors import Forbidden, NotFound
from app.models.appointments import (
    Appointment,
    AppointmentStatus,
    HealthcareService,
    Origin,
    Slot,
    SlotEvent,
    SlotStatus,
)
from app.models.households import Person
from app.models.messages import NoticeKind
from app.services import idempotency
from app.services.appointments import bookings, making
from app.services.idempotency import Key
from app.services.plain import Body, Note, example


class Ground(StrEnum):
    """Why a worker books, or cancels, for somebody."""

    ASKED_BY_RESIDENT = "asked_by_resident"
    NO_PHONE = "no_phone"
    MEDICAL_NEED = "medical_need"
    HARDSHIP = "hardship"
    POLICY = "policy"
    MISTAKE = "mistake"
    OTHER = "other"


class NewArrangement(Body):
    """`beyond`: also where no place is left. `waived`: also who does not qualify by the rule. The note is sealed."""

    model_config = example(
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        reason="no_phone",
        note="本人来村委会要求代约",
    )

    slot_id: uuid.UUID
    person_id: uuid.UUID
    reason: Ground
    note: Note | None = None
    beyond: bool = False
    waived: bool = False


class Withdrawal(Body):
    model_config = example(reason="asked_by_resident", note="来电取消")

    reason: Ground
    note: Note | None = None


async def arrange(db: AsyncSession, actor: Actor, *, key: Key, new: NewArrangement) -> Appointment:
    """For somebody of the worker's region, who is told. The office may go beyond the capacity, which grows by it, and
    waive the rule and the bar for times missed. Nobody waives the consents."""
    if (new.beyond or new.waived) and not actor.may(Permission.APPOINTMENT_OVERRIDE):
        raise Forbidden
    if await idempotency.claim(db, actor, key):
        person = await fetch(db, actor, Person, new.person_id)
        slot = await _slot(db, new.slot_id)
        service = await db.get_one(HealthcareService, slot.service_id)
        if service.sessions > 1:
            raise bookings.BookedAsCourse
        making.require_open(slot)
        who = await making.who(db, actor, service, person.id, waived=new.waived)
        if new.waived:
            await making.require_consents(db, service, who)
        else:
            await making.require_may_book(db, service, who)
        row = making.appointment(
            slot, service, who, id=key.id, status=AppointmentStatus.BOOKED, origin=Origin.STAFF
        )
        before = slot.capacity
        await making.add(db, actor, row, beyond=new.beyond, reason=new.reason, note=new.note)
        if new.beyond:
            await _note_growth(db, actor, slot, before)
        await bookings.tell_of(db, NoticeKind.APPOINTMENT_REMINDER, row, once="arranged")
    return await fetch(db, actor, Appointment, key.id)


async def _slot(db: AsyncSession, id: uuid.UUID) -> Slot:
    """Slots are no secret: a worker books where a resident of the region may, also at a clinic in the county town."""
    slot = await db.scalar(select(Slot).where(Slot.id == id, Slot.status != SlotStatus.DRAFT))
    if slot is None:
        raise NotFound
    return slot


async def _note_growth(db: AsyncSession, actor: Actor, slot: Slot, before: int) -> None:
    await db.refresh(slot)
    if slot.capacity > before:
        db.add(
            SlotEvent(
                slot_id=slot.id, at=clock.now(), field="capacity", old=str(before), new=str(slot.capacity),
                actor_role=actor.role, actor_id=actor.id,
            )
        )  # fmt: skip
