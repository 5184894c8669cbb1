"""Courses: so many dates of one service at one clinic, booked together or not at all."""

import uuid
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import new_id
from app.errors import Conflict, Invalid, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Origin, Slot
from app.models.catalogue import HealthcareService
from app.models.identity import Role
from app.services import eligibility, idempotency, identity
from app.services.appointments import bookings, making, places, rescheduling
from app.services.appointments.making import Who
from app.services.eligibility.facts import COUNTED
from app.services.idempotency import Key
from app.services.plain import Body, example


class NotACourse(Conflict):
    zh, en = "该服务不是疗程", "This service is not a course"
    do_zh, do_en = "请预约单个时段", "Book a single slot"


class CourseOver(Conflict):
    zh, en = "该疗程已没有保留的时间", "Nothing is left of this course"
    do_zh, do_en = "请重新预约整个疗程", "Book the course anew, all its dates together"


SlotIds = Annotated[list[uuid.UUID], Field(min_length=2, max_length=60)]


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

    slot_ids: SlotIds


class NewDate(Body):
    """`session`: which of the dates, counted from 1."""

    model_config = example(session=3, slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e06")

    session: Annotated[int, Field(ge=1, le=60)]
    slot_id: uuid.UUID


async def book(db: AsyncSession, actor: Actor, *, key: Key, new: NewCourse) -> list[Appointment]:
    """All dates or none. The key becomes the id of the course."""
    if await idempotency.claim(db, actor, key):
        slots, service = await chosen(db, new.slot_ids)
        person_id = await identity.own_id(db, actor)
        who = await making.who(db, actor, service, person_id)
        await making.require_may_book(db, service, who, own=person_id)
        origin, account = Origin.RESIDENT, actor.account_id
        rows = dates(slots, service, who, course_id=key.id, origin=origin, account_id=account)
        await add(db, actor, rows)
    return await sessions(db, actor, id=key.id)


def dates(
    slots: Sequence[Slot], service: HealthcareService, who: Who, *, course_id: uuid.UUID, origin: Origin,
    account_id: uuid.UUID | None = None,
) -> list[Appointment]:  # fmt: skip
    """All in the cycle of the first."""
    cycle = making.cycle_at(service, slots[0], who)
    return [
        making.appointment(
            slot, service, who, id=new_id(), status=AppointmentStatus.BOOKED, origin=origin, account_id=account_id,
            session=number, course_id=course_id, cycle=cycle,
        )
        for number, slot in enumerate(slots, start=1)
    ]  # fmt: skip


async def add(
    db: AsyncSession, actor: Actor, rows: Sequence[Appointment], *, beyond: bool = False,
    reason: str | None = None, note: str | None = None,
) -> None:  # fmt: skip
    """All of them, with a place each. What somebody writes about the course is kept with its first date."""
    db.add_all(rows)
    await db.flush()  # who is elsewhere at one of these times is refused here, before any slot is locked
    for slot_id in sorted(row.slot_id for row in rows):
        if not await places.take(db, slot_id, beyond=beyond):
            raise bookings.SlotFull(slot_id=str(slot_id))
    for row in rows:
        written = note if row.session == 1 else None
        await bookings.record(db, actor, row, "book", reason=reason, note=written)


async def chosen(db: AsyncSession, ids: list[uuid.UUID]) -> tuple[list[Slot], HealthcareService]:
    """The slots in the order asked for, which make up a course of the service."""
    found = {row.id: row for row in await db.scalars(select(Slot).where(Slot.id.in_(ids), making.KNOWN))}
    if len(set(ids)) < len(ids):
        raise Invalid.at("/slot_ids", "时段重复", "a slot is named twice")
    if len(found) < len(ids):
        raise NotFound
    slots = [found[id] for id in ids]
    service = await db.get_one(HealthcareService, slots[0].service_id)
    _check(slots, service)
    return slots, service


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


async def book_again(
    db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, new: NewDate, reason: str | None = None,
    note: str | None = None,
) -> Appointment:  # fmt: skip
    """One date of a course that was cancelled, at another time: between its neighbours, at the same clinic, for whom
    the course is, in its cycle. Of a course of which nothing is left all dates are booked anew."""
    if await idempotency.claim(db, actor, key):
        first = (await sessions(db, actor, id=id))[0]
        service = await db.get_one(HealthcareService, first.service_id)
        resident = actor.role is Role.RESIDENT
        own = await identity.own_id(db, actor) if resident else None
        who = await _began(db, actor, service, first)
        await making.require_may_book(db, service, who, own=own)
        rows = await sessions(db, actor, id=id, lock=True)
        _require_gap(rows, service, new.session)
        slot = await rescheduling.another(db, service, new.slot_id)
        await rescheduling.require_order(db, first, new.session, slot)
        row = making.appointment(
            slot, service, who, id=key.id, status=AppointmentStatus.BOOKED,
            origin=Origin.RESIDENT if resident else Origin.STAFF, account_id=actor.id if resident else None,
            session=new.session, course_id=id, cycle=first.cycle,
        )  # fmt: skip
        await making.add(db, actor, row, reason=reason, note=note)
    return await fetch(db, actor, Appointment, key.id)


async def _began(db: AsyncSession, actor: Actor, service: HealthcareService, first: Appointment) -> Who:
    """For whom the course is, and who still qualifies: that this very course counts already is not in the way."""
    explanation, standing = await eligibility.settle_standing(
        db, actor, service=service, person_id=first.person_id
    )
    failing = [one for one in explanation.failing() if one["fact"] != "services_this_cycle"]
    if failing or standing is None or standing.subject_id != first.subject_id:
        raise eligibility.NotEligible(criteria=explanation.failing())
    return Who(first.subject_id, first.person_id, standing.spouse_id, standing.region_code, first.cycle)


def _require_gap(rows: Sequence[Appointment], service: HealthcareService, session: int) -> None:
    if session > service.sessions:
        raise Invalid.at("/session", f"该疗程共 {service.sessions} 次", f"of {service.sessions} sessions")
    standing = [row for row in rows if row.session == session and row.status in making.STANDING]
    if standing:
        raise WrongState(status_now=standing[0].status)
    if not any(row.status in COUNTED for row in rows):
        raise CourseOver
