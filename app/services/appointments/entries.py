"""Joining a waiting list, one's place in it, and leaving it."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Row, Select, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, visible
from app.crypto import mask_name
from app.errors import Conflict, Invalid, NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Clinic, Slot
from app.models.catalogue import Cycle, HealthcareService
from app.models.households import Couple, Person
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import audit, idempotency, identity
from app.services.appointments import bookings, catalogue, line, making
from app.services.appointments.making import Who
from app.services.appointments.slots import day
from app.services.eligibility.facts import COUNTED
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Day, Line, example

W = WaitlistStatus
FURTHEST = timedelta(days=180)
#: That one person may have at a time, own and joint.
MOST_LIVE = 5


class AlreadyWaiting(Conflict, constraint="uq_waitlist_entry_subject_id_service_id_clinic_id_live"):
    zh, en = "您（或配偶）已在此处排队候补", "You or your spouse wait here already"
    do_zh, do_en = "如需更改日期，请先退出原候补", "Leave the line first to wait for other days"


class TooManyWaiting(Conflict):
    zh, en = "同时候补的项目过多", "You wait for too many places at once"
    do_zh, do_en = (
        f"最多同时候补 {MOST_LIVE} 项，请先退出其中一项",
        f"At most {MOST_LIVE} at a time: leave one first",
    )


class PlaceIsFree(Conflict):
    """Names the slot."""

    zh, en = "有空余名额，无需候补", "A place is free: there is nothing to wait for"
    do_zh, do_en = "请直接预约该时段", "Book this slot"


class NoWaitingForCourses(Conflict):
    zh, en = "疗程须一次约满各次时间，不设候补", "A course is booked as a whole: there is no waiting list"
    do_zh, do_en = "请选择其他时间，或联系服务点", "Choose other times, or call the clinic"


class NewEntry(Body):
    model_config = example(
        service_code="pre_pregnancy_check",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        from_on="2026-12-01",
        to_on="2026-12-31",
        places=1,
    )

    service_code: Line
    clinic_id: uuid.UUID
    from_on: Day
    to_on: Day
    places: Annotated[int, Field(ge=1, le=50)] = 1


async def join(db: AsyncSession, actor: Actor, *, key: Key, new: NewEntry) -> dict[str, Any]:
    """At the end of the line, for oneself or for oneself and spouse, qualified and agreed as for booking. Refused while
    a suitable place is free: whoever wants it books it."""
    if await idempotency.claim(db, actor, key):
        service = await catalogue.service(db, new.service_code)
        clinic = await fetch(db, actor, Clinic, new.clinic_id)
        _check(new, service)
        person_id = await identity.own_id(db, actor)
        await _require_room(db, person_id)
        who = await making.who(db, actor, service, person_id)
        await _require_not_had(db, service, who)
        await making.require_may_book(db, service, who, own=person_id)
        await line.hold(db, clinic.id, service.id)
        await _refuse_while_free(db, new, service, who.people)
        now = clock.now()
        db.add(
            WaitlistEntry(
                id=key.id, clinic_id=clinic.id, service_id=service.id, subject_id=who.subject_id, person_id=person_id,
                spouse_id=who.spouse_id, account_id=actor.account_id, region_code=who.region_code, from_on=new.from_on,
                to_on=new.to_on, places=new.places, status=W.WAITING, created_at=now, changed_at=now,
            )
        )  # fmt: skip
        await db.flush()  # a second entry of these two is refused here
        await audit.record(db, actor, "join", "waitlist_entry", key.id, people=who.people)
    return await detail(db, actor, id=key.id)


def _check(new: NewEntry, service: HealthcareService) -> None:
    today = clock.today()
    if service.sessions > 1:
        raise NoWaitingForCourses
    if not today <= new.from_on <= new.to_on:
        raise Invalid.at(
            "/from_on", "须不早于今天且不晚于截止日期", "must lie between today and the last day"
        )
    if new.to_on > today + FURTHEST:
        raise Invalid.at("/to_on", "须在今后 180 天内", "must lie within the coming 180 days")
    if new.places > service.places_limit:
        most = service.places_limit
        raise Invalid.at("/places", f"最多可约 {most} 个名额", f"at most {most} places at once")


async def _require_room(db: AsyncSession, person_id: uuid.UUID) -> None:
    """Both spouses are held: of two who join at once one counts the other's entry."""
    active = Couple.valid_to.is_(None)
    wife = select(Couple.wife_id).where(Couple.husband_id == person_id, active)
    husband = select(Couple.husband_id).where(Couple.wife_id == person_id, active)
    both = or_(Person.id == person_id, Person.id.in_(wife.union_all(husband)))
    await db.execute(select(Person.id).where(both).order_by(Person.id).with_for_update(key_share=True))
    theirs = or_(WaitlistEntry.person_id == person_id, WaitlistEntry.spouse_id == person_id)
    live = WaitlistEntry.status.in_([W.WAITING, W.OFFERED])
    count = await db.scalar(select(func.count()).select_from(WaitlistEntry).where(theirs, live))
    if (count or 0) >= MOST_LIVE:
        raise TooManyWaiting


async def _require_not_had(db: AsyncSession, service: HealthcareService, who: Who) -> None:
    """In this cycle; of events each is a cycle of its own."""
    had = select(Appointment.id).where(
        Appointment.subject_id == who.subject_id, Appointment.service_id == service.id,
        Appointment.cycle == who.cycle, Appointment.status.in_(COUNTED),
    )  # fmt: skip
    if service.cycle is not Cycle.EVENT and await db.scalar(select(had.exists())):
        raise bookings.AlreadyBooked


async def _refuse_while_free(
    db: AsyncSession, new: NewEntry, service: HealthcareService, people: list[uuid.UUID]
) -> None:
    since, until = day(new.from_on)[0], day(new.to_on)[1]
    free = line.free_slots(new.clinic_id, service.id, since, until, new.places)
    found = (
        await db.execute(free.where(~line.busy(Slot.starts_at, Slot.ends_at, *people)).limit(1))
    ).one_or_none()
    if found is not None:
        raise PlaceIsFree(slot_id=str(found.id), starts_at=found.starts_at.isoformat())
    known = select(Slot.id).where(Slot.clinic_id == new.clinic_id, Slot.service_id == service.id)
    if await db.scalar(known.limit(1)) is None:
        raise Invalid.at("/clinic_id", "该服务点不提供此服务", "this clinic does not give this service")


def _entries(actor: Actor) -> Select[Any]:
    """With what, where, how many come before, and what is offered now."""
    held = and_(Appointment.id == WaitlistEntry.appointment_id, Appointment.status == AppointmentStatus.HELD)
    return (
        select(
            *WaitlistEntry.__table__.columns, line.ahead().label("ahead"), Clinic.name.label("clinic_name"),
            HealthcareService.code.label("service_code"), HealthcareService.zh.label("service_zh"),
            HealthcareService.en.label("service_en"), Appointment.starts_at.label("offered_starts_at"),
            Appointment.hold_expires_at.label("offer_expires_at"),
        )
        .join(Clinic, Clinic.id == WaitlistEntry.clinic_id)
        .join(HealthcareService, HealthcareService.id == WaitlistEntry.service_id)
        .outerjoin(Appointment, held)
        .where(visible(actor, WaitlistEntry))
    )  # fmt: skip


def _shown(row: Row[Any]) -> dict[str, Any]:
    """A place in line has who still waits."""
    shown = row._asdict()
    return shown if row.status is W.WAITING else shown | {"ahead": None}


async def mine(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """One's own and one's spouse's, newest first."""
    query = newest_first(_entries(actor), WaitlistEntry.created_at, WaitlistEntry.id, before, limit)
    return [_shown(row) for row in await db.execute(query)]


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> dict[str, Any]:
    row = (await db.execute(_entries(actor).where(WaitlistEntry.id == id))).one_or_none()
    if row is None:
        raise NotFound
    return _shown(row)


async def in_line(
    db: AsyncSession, actor: Actor, *, clinic_id: uuid.UUID, service_code: str, after: tuple[int, int] | None,
    limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Those who wait, and whom the actor may see, in the order in which they are called; names masked."""
    service, e, spouse = await catalogue.service(db, service_code), WaitlistEntry, aliased(Person)
    query = (
        select(
            e.id, e.priority, e.number, e.region_code, e.from_on, e.to_on, e.places, e.created_at,
            (e.priority == 0).label("first"), array([Person.name, spouse.name]).label("people"),
        )
        .join(Person, Person.id == e.person_id)
        .outerjoin(spouse, spouse.id == e.spouse_id)
        .where(visible(actor, e), e.clinic_id == clinic_id, e.service_id == service.id, e.status == W.WAITING)
        .order_by(e.priority, e.number)
        .limit(limit)
    )  # fmt: skip
    if after is not None:
        query = query.where(func.row(e.priority, e.number) > func.row(*after))
    return [
        row._asdict() | {"people": [mask_name(name) for name in row.people if name]}
        for row in await db.execute(query)
    ]


async def withdraw(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> dict[str, Any]:
    """Out of the line, by either spouse. An offer that has come meanwhile is accepted or declined instead."""
    row = await fetch(db, actor, WaitlistEntry, id)
    left = await db.scalar(
        update(WaitlistEntry)
        .where(WaitlistEntry.id == id, WaitlistEntry.status == W.WAITING)
        .values(status=W.WITHDRAWN, changed_at=clock.now())
        .returning(WaitlistEntry.id)
    )
    if left is None:
        await db.refresh(row)
        raise WrongState(status_now=row.status)
    await audit.record(db, actor, "withdraw", "waitlist_entry", id, people=[row.person_id, row.spouse_id])
    return await detail(db, actor, id=id)
