"""Who comes without an appointment gets one on the spot, where a place is free."""

import uuid
from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import Conflict, Invalid
from app.models.appointments import Appointment, AppointmentStatus, Origin, Slot, SlotStatus
from app.models.catalogue import HealthcareService, Subject
from app.models.households import DocumentKind, Household, HouseholdStatus, Membership, Person
from app.services import documents, eligibility, idempotency
from app.services.appointments import attendance, bookings, making
from app.services.appointments.slots import day
from app.services.idempotency import Key
from app.services.plain import Body, Line, Text, example

#: Decides for a hospital, which sees nobody's file before somebody has agreed to that.
DESK = Actor.system("walk_in")


class NotRegistered(Conflict):
    """No registered and verified person has this name and this document. Which of these is wrong stays unsaid."""

    zh, en = "未查到该姓名和证件的有效登记", "Nobody is registered with this name and document"
    do_zh, do_en = (
        "请核对证件；尚未登记的，可由本人在小程序登记家庭，经村（居）委会核实后再来",
        "Check the document; who is not registered yet registers the family in the mini-program, and comes again once "
        "the village office has verified it",
    )


class NotOneCouple(Conflict):
    zh, en = "两人未登记为夫妻", "These two are not registered as a couple"
    do_zh, do_en = (
        "本服务由夫妻双方共同参加，请先更新家庭登记",
        "The service is for a couple: update the registration first",
    )


class NotEntitled(Conflict):
    """Says no reason: that is for the family alone."""

    zh, en = "不符合本服务的办理条件", "Not entitled to this service"
    do_zh, do_en = (
        "原因可由本人在小程序“我是否符合条件”中查看，或咨询村（居）委会",
        "The family reads why in the mini-program, or asks the village office",
    )


class SlotNotToday(Conflict):
    zh, en = "只能为当天的时段办理现场登记", "Only a slot of today takes who walks in"
    do_zh, do_en = "请选择当天尚未结束的时段", "Choose a slot of today that is not over"


class Presented(Body):
    """A document as shown at the desk."""

    name: Line
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(40)]


class NewWalkIn(Body):
    """Of a couple both are there with their documents."""

    model_config = example(
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        people=[{"name": "王小芳", "document_kind": "passport", "document_number": "E12345678"}],
    )

    slot_id: uuid.UUID
    people: Annotated[list[Presented], Field(min_length=1, max_length=2)]


class NewVisit(Body):
    """Somebody of the worker's region."""

    model_config = example(
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07"
    )

    slot_id: uuid.UUID
    person_id: uuid.UUID


async def at_desk(
    db: AsyncSession, actor: Actor, *, key: Key, new: NewWalkIn
) -> tuple[Appointment, list[Person]]:
    """By the hospital: who is registered, qualifies and has agreed takes a free place of today, and has arrived."""
    if await idempotency.claim(db, actor, key):
        slot = await fetch(db, actor, Slot, new.slot_id)
        service = await db.get_one(HealthcareService, slot.service_id)
        if len(new.people) != (2 if service.subject is Subject.COUPLE else 1):
            raise Invalid.at(
                "/people", "夫妻服务须双方到场，其他服务为一人", "two for a couple's service, else one"
            )
        known = [await _known(db, one, f"/people/{n}/document_number") for n, one in enumerate(new.people)]
        who = await _qualified(db, service, known[0])
        if set(who.people) != set(known):
            raise NotOneCouple
        await _arrive(db, actor, key.id, slot, service, who)
    appointment = await fetch(db, actor, Appointment, key.id)
    return appointment, await attendance.shown(db, actor, appointment)


async def _qualified(db: AsyncSession, service: HealthcareService, person_id: uuid.UUID) -> making.Who:
    """The reasons of a refusal are of the family's file: the hospital hears that there is one, the family reads why."""
    try:
        return await making.who(db, DESK, service, person_id)
    except eligibility.NotEligible:
        raise NotEntitled from None


async def visit(db: AsyncSession, actor: Actor, *, key: Key, new: NewVisit) -> Appointment:
    """By a worker on the spot, for somebody of the own region: the same rules."""
    if await idempotency.claim(db, actor, key):
        slot = await fetch(db, actor, Slot, new.slot_id)
        person = await fetch(db, actor, Person, new.person_id)
        service = await db.get_one(HealthcareService, slot.service_id)
        who = await making.who(db, actor, service, person.id)
        await _arrive(db, actor, key.id, slot, service, who)
    return await fetch(db, actor, Appointment, key.id)


async def _known(db: AsyncSession, shown: Presented, pointer: str) -> uuid.UUID:
    document = documents.read(shown.document_kind, shown.document_number, pointer=pointer)
    lives = (
        select(Membership.person_id)
        .join(Household, Household.id == Membership.household_id)
        .where(Membership.valid_to.is_(None), Household.status == HouseholdStatus.ACTIVE)
    )
    found = await db.scalar(
        select(Person.id).where(
            Person.document_index == document.index, Person.name == shown.name, Person.restricted_at.is_(None),
            Person.id.in_(lives.where(Membership.person_id == Person.id)),
        )
    )  # fmt: skip
    if found is None:
        raise NotRegistered
    return found


async def _arrive(
    db: AsyncSession, actor: Actor, id: uuid.UUID, slot: Slot, service: HealthcareService, who: making.Who
) -> None:
    if service.sessions > 1:
        raise bookings.BookedAsCourse
    if slot.status is not SlotStatus.OPEN:
        raise bookings.SlotClosed
    start, end = day(clock.today())
    if not (start <= slot.starts_at < end and clock.now() < slot.ends_at):
        raise SlotNotToday
    await making.require_consents(db, service, who)
    row = making.appointment(
        slot, service, who, id=id, status=AppointmentStatus.ARRIVED, origin=Origin.WALK_IN
    )
    await making.add(db, actor, row)
