"""Booking and attendance. An appointment moves only along STEPS, each by one UPDATE … WHERE status IN (…)."""

import uuid
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, case, func, select, text, update
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock, tokens
from app.access import Actor, fetch, visible
from app.crypto import mask_name
from app.db import begin
from app.errors import Conflict, NotFound, Problem, Unavailable, WrongState
from app.logs import request_id
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentStatus,
    Clinic,
    HealthcareService,
    Slot,
)
from app.models.consents import Purpose
from app.models.households import Person
from app.models.identity import Role
from app.models.partners import Organization
from app.services import audit, consents, eligibility, idempotency, identity
from app.services.appointments import slots
from app.services.appointments.slots import day
from app.services.idempotency import Key

S = AppointmentStatus
STEPS: dict[S, frozenset[S]] = {
    S.CANCELLED: frozenset({S.HELD, S.BOOKED}),
    S.ARRIVED: frozenset({S.BOOKED, S.NO_SHOW}),
    S.FULFILLED: frozenset({S.ARRIVED}),
    S.NO_SHOW: frozenset({S.BOOKED}),
}
CODE_LENGTH = 10
# An appointment just after midnight may be checked in for the evening before.
EARLY = timedelta(hours=2)
BOOK = text(
    "SELECT outcome, (booked).* FROM book_appointment(:id, :account, :fingerprint, :slot, :code, :request, :now)"
)


class SlotFull(Conflict):
    zh, en = "该时段已约满", "This slot has no places left"
    do_zh, do_en = "请选择其他时段", "Choose another slot"


class SlotNotOpenYet(Conflict):
    zh, en = "该时段尚未放号", "This slot is not open for booking yet"
    do_zh, do_en = "请在放号时间之后再预约", "Book after its release time"


class SlotClosed(Conflict):
    zh, en = "该时段已停止预约", "This slot is closed"
    do_zh, do_en = "请选择其他时段", "Choose another slot"


class AlreadyBooked(Conflict, constraint="uq_appointment_subject_id_service_id_cycle_session_active"):
    zh, en = (
        "您（或配偶）已预约或已享受过本次服务",
        "You or your spouse have this service booked or had it already",
    )
    do_zh, do_en = "如需更改时间，请先取消原预约", "Cancel the other appointment to choose a new time"


class NotToday(Conflict):
    zh, en = "只能在预约当天签到", "Check-in is possible on the day of the appointment only"
    do_zh, do_en = "请核对预约日期，当天再来", "Look at the date of the appointment and come on that day"


REFUSALS: dict[str, type[Problem]] = {
    "unknown_slot": NotFound,
    "not_open_yet": SlotNotOpenYet,
    "full": SlotFull,
    "closed": SlotClosed,
    "not_bound": identity.NotBound,
}
ATTEMPTS = 3


async def book(db: AsyncSession, actor: Actor, *, key: Key, slot_id: uuid.UUID) -> Any:
    """A place for oneself, or for oneself and spouse where the service is for couples. `db` is in autocommit:
    who qualified beforehand books in one round trip; for others eligibility is settled here, once."""
    for _ in range(ATTEMPTS):
        row = await _try(db, actor, key, slot_id)
        match row.outcome:
            case "booked":
                return row
            case "replay":
                await idempotency.check(db, actor, key)
                return await fetch(db, actor, Appointment, key.id)
            case "not_qualified":
                # Gives the connection back: a rush of those who hold one and wait for another would not move.
                await db.commit()
                await _qualify(actor, slot_id)
            case "consent_required":
                await _require_consents(db, actor, slot_id)
            case refusal:
                raise REFUSALS[refusal]
    raise Unavailable  # what was settled between the attempts was taken back each time


async def _try(db: AsyncSession, actor: Actor, key: Key, slot_id: uuid.UUID) -> Any:
    values = {
        "id": key.id, "account": actor.account_id, "fingerprint": key.fingerprint, "slot": slot_id,
        "code": tokens.random_code(CODE_LENGTH), "request": request_id.get(), "now": clock.now(),
    }  # fmt: skip
    try:
        return (await db.execute(BOOK, values)).one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "NX001":  # the last place went while we were writing
            raise SlotFull from error
        raise


async def _service_of(db: AsyncSession, slot_id: uuid.UUID) -> HealthcareService:
    query = (
        select(HealthcareService)
        .join(Slot, Slot.service_id == HealthcareService.id)
        .where(Slot.id == slot_id)
    )
    return (await db.scalars(query)).one()


async def _qualify(actor: Actor, slot_id: uuid.UUID) -> None:
    async with begin() as db:
        service = await _service_of(db, slot_id)
        person_id = await identity.own_id(db, actor)
        explanation = await eligibility.settle(db, actor, service=service, person_id=person_id)
    if not explanation.eligible:
        failing = explanation.failing()
        if [criterion["fact"] for criterion in failing] == ["services_this_cycle"]:
            raise AlreadyBooked
        raise eligibility.NotEligible(criteria=failing)


async def _require_consents(db: AsyncSession, actor: Actor, slot_id: uuid.UUID) -> None:
    person_id = await identity.own_id(db, actor)
    service = await _service_of(db, slot_id)
    spouse_id = await eligibility.spouse_of(db, service=service, person_id=person_id)
    people = [person for person in (person_id, spouse_id) if person is not None]
    await consents.require(db, people, own=person_id)


async def step(
    db: AsyncSession,
    actor: Actor,
    *,
    appointment: Appointment,
    to: AppointmentStatus,
    reason: str | None = None,
) -> Appointment:
    """One step, by compare and swap: of two at once, one wins and the other hears what the state is now."""
    moved = await db.scalar(
        update(Appointment)
        .where(Appointment.id == appointment.id, Appointment.status.in_(STEPS[to]))
        .values(status=to)
        .returning(Appointment)
        .execution_options(populate_existing=True)
    )
    if moved is None:
        await db.refresh(appointment)
        raise WrongState(status_now=appointment.status)
    event = {"appointment_id": moved.id, "at": clock.now(), "status": to, "reason": reason}
    db.add(AppointmentEvent(**event, actor_role=actor.role, actor_id=actor.id))
    await audit.record(db, actor, to, "appointment", moved.id, people=[moved.person_id, moved.spouse_id])
    return moved


async def cancel(db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str | None) -> Appointment:
    """Before it begins; the place is free again at once. Either spouse may cancel."""
    appointment = await fetch(db, actor, Appointment, id)
    if appointment.starts_at <= clock.now():
        raise SlotClosed
    appointment = await step(db, actor, appointment=appointment, to=S.CANCELLED, reason=reason)
    await slots.free_place(db, appointment.slot_id)
    return appointment


async def check_in(db: AsyncSession, actor: Actor, *, code: str) -> tuple[Appointment, list[Person]]:
    """Arrival by the code that the couple shows, on the day. The hospital now learns who they are, if they
    still agree to that (PIPL art. 23). Checking in again shows them again: the first answer may be lost."""
    query = select(Appointment).where(
        Appointment.code == tokens.typed_code(code), visible(actor, Appointment)
    )
    appointment = await db.scalar(query)
    if appointment is None:
        raise NotFound
    start, end = day(appointment.starts_at.astimezone(clock.SHANGHAI).date())
    if not min(start, appointment.starts_at - EARLY) <= clock.now() < end:
        raise NotToday
    ids = [person for person in (appointment.person_id, appointment.spouse_id) if person is not None]
    await consents.require(db, ids)
    if appointment.status is not S.ARRIVED:
        late = "no_show withdrawn: arrived the same day" if appointment.status is S.NO_SHOW else None
        appointment = await step(db, actor, appointment=appointment, to=S.ARRIVED, reason=late)
    await audit.record(
        db, actor, "read_unmasked", "appointment", appointment.id, people=ids, purpose="appointment"
    )
    people = list(await db.scalars(select(Person).where(Person.id.in_(ids)).order_by(Person.sex)))
    return appointment, people


def _places() -> Select[Any]:
    """Appointments with what and where: a slot that has closed is listed no more, its appointments are."""
    return (
        select(
            *Appointment.__table__.columns,
            HealthcareService.zh.label("service_zh"),
            HealthcareService.en.label("service_en"),
            Clinic.name.label("clinic_name"),
            Clinic.address.label("clinic_address"),
            Clinic.phone.label("clinic_phone"),
            Organization.name.label("organization_name"),
        )
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
    )


async def mine(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Row[Any]]:
    """One's own and one's spouse's, newest first."""
    query = _places().where(visible(actor, Appointment)).order_by(Appointment.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Appointment.id < before)
    return list(await db.execute(query))


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Row[Any]:
    query = _places().where(Appointment.id == id, visible(actor, Appointment))
    row: Row[Any] | None = (await db.execute(query)).one_or_none()
    if row is None:
        raise NotFound
    return row


async def schedule(
    db: AsyncSession, actor: Actor, *, on: date, after: tuple[datetime, uuid.UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """The day's appointments that the actor may see, in time order, names masked; without the code, which is
    the couple's own key to check-in."""
    start, end = day(on)
    query = (
        _names(actor)
        .where(visible(actor, Appointment), Appointment.starts_at >= start, Appointment.starts_at < end)
        .order_by(Appointment.starts_at, Appointment.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(Appointment.starts_at, Appointment.id) > func.row(*after))
    return [
        row._asdict() | {"people": [mask_name(name) for name in row.people if name]}
        for row in await db.execute(query)
    ]


def _names(actor: Actor) -> Select[Any]:
    """A hospital reads no name of somebody who no longer agrees to that."""
    spouse = aliased(Person)

    def name(person: Any) -> Any:
        agreed = consents.agreed(person.id, Purpose.SHARE_WITH_HOSPITAL)
        return case((agreed, person.name)) if actor.role is Role.PARTNER else person.name

    return (
        select(
            Appointment.id, Appointment.status, Appointment.starts_at, Appointment.ends_at,
            HealthcareService.code.label("service_code"), Clinic.name.label("clinic_name"),
            array([name(Person), name(spouse)]).label("people"),
        )
        .join(Person, Person.id == Appointment.person_id)
        .outerjoin(spouse, spouse.id == Appointment.spouse_id)
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
    )  # fmt: skip


async def fulfil(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """The examination took place."""
    return await step(db, actor, appointment=await fetch(db, actor, Appointment, id), to=S.FULFILLED)


async def no_show(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """Nobody came, once the time is over. Coming later the same day still checks in."""
    appointment = await fetch(db, actor, Appointment, id)
    if appointment.ends_at > clock.now():
        raise WrongState(ends_at=appointment.ends_at.isoformat())
    return await step(db, actor, appointment=appointment, to=S.NO_SHOW)
