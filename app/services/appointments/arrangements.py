"""What workers book for residents, and the exceptions that the office may make, each with its reason."""

import uuid
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch
from app.errors import Forbidden, NotFound
from app.models.appointments import Appointment, AppointmentStatus, Origin, Slot, SlotEvent
from app.models.catalogue import HealthcareService
from app.models.households import Person
from app.models.messages import NoticeKind
from app.services import idempotency
from app.services.appointments import bookings, courses, making
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


class Arrangement(Body):
    """`beyond`: also where no place is left. `waived`: also who does not qualify by the rule. The note is sealed."""

    person_id: uuid.UUID
    reason: Ground
    note: Note | None = None
    beyond: bool = False
    waived: bool = False


class NewArrangement(Arrangement):
    model_config = example(
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        reason="no_phone",
        note="本人来村委会要求代约",
    )

    slot_id: uuid.UUID


class NewArrangedCourse(Arrangement):
    """The dates in time order, as many as the service has sessions."""

    model_config = example(
        slot_ids=[
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
            "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        ],
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        reason="no_phone",
    )

    slot_ids: courses.SlotIds


class Withdrawal(Body):
    model_config = example(reason="asked_by_resident", note="来电取消")

    reason: Ground
    note: Note | None = None


class AnotherTime(Withdrawal):
    model_config = example(
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", reason="asked_by_resident", note="来电改约"
    )

    slot_id: uuid.UUID


class ArrangedDate(courses.NewDate, Withdrawal):
    model_config = example(
        session=3, slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e06", reason="asked_by_resident"
    )


async def arrange(db: AsyncSession, actor: Actor, *, key: Key, new: NewArrangement) -> Appointment:
    """For somebody of the worker's region, who is told. The office may go beyond the capacity, which grows by it, and
    waive the rule and the bar for times missed. Nobody waives the consents."""
    _require_excepting(actor, new)
    if await idempotency.claim(db, actor, key):
        person = await fetch(db, actor, Person, new.person_id)
        slot = await _slot(db, new.slot_id)
        service = await db.get_one(HealthcareService, slot.service_id)
        if service.sessions > 1:
            raise bookings.BookedAsCourse
        making.require_open(slot)
        who = await _who(db, actor, service, person, new)
        row = making.appointment(
            slot, service, who, id=key.id, status=AppointmentStatus.BOOKED, origin=Origin.STAFF
        )
        before = slot.capacity
        await making.add(db, actor, row, beyond=new.beyond, reason=new.reason, note=new.note)
        if new.beyond:
            await _note_growth(db, actor, slot, before)
        await bookings.tell_of(db, NoticeKind.APPOINTMENT_REMINDER, row, once="arranged")
    return await fetch(db, actor, Appointment, key.id)


async def arrange_course(
    db: AsyncSession, actor: Actor, *, key: Key, new: NewArrangedCourse
) -> list[Appointment]:
    """All dates of a treatment or none, with the same exceptions. The key becomes the id of the course; those concerned
    are told of its first date, as of the whole."""
    _require_excepting(actor, new)
    if await idempotency.claim(db, actor, key):
        person = await fetch(db, actor, Person, new.person_id)
        slots, service = await courses.chosen(db, new.slot_ids)
        who = await _who(db, actor, service, person, new)
        rows = courses.dates(slots, service, who, course_id=key.id, origin=Origin.STAFF)
        before = {slot.id: slot.capacity for slot in slots}
        await courses.add(db, actor, rows, beyond=new.beyond, reason=new.reason, note=new.note)
        if new.beyond:
            for slot in slots:
                await _note_growth(db, actor, slot, before[slot.id])
        await bookings.tell_of(db, NoticeKind.APPOINTMENT_REMINDER, rows[0], once="arranged")
    return await courses.sessions(db, actor, id=key.id)


async def arrange_date(
    db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, new: ArrangedDate
) -> Appointment:
    """A cancelled date of a course anew, by the rules for residents; those concerned are told."""
    row = await courses.book_again(db, actor, key=key, id=id, new=new, reason=new.reason, note=new.note)
    await bookings.tell_of(db, NoticeKind.APPOINTMENT_REMINDER, row, once="arranged")
    return row


def _require_excepting(actor: Actor, new: Arrangement) -> None:
    if (new.beyond or new.waived) and not actor.may(Permission.APPOINTMENT_OVERRIDE):
        raise Forbidden


async def _who(
    db: AsyncSession, actor: Actor, service: HealthcareService, person: Person, new: Arrangement
) -> making.Who:
    who = await making.who(db, actor, service, person.id, waived=new.waived)
    if new.waived:
        await making.require_consents(db, service, who)
    else:
        await making.require_may_book(db, service, who)
    return who


async def _slot(db: AsyncSession, id: uuid.UUID) -> Slot:
    slot = await db.scalar(select(Slot).where(Slot.id == id, making.KNOWN))
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
