"""Booking, and the steps of an appointment: it moves only along STEPS, each by one UPDATE … WHERE status IN (…)."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch
from app.db import begin, new_id
from app.errors import Conflict, Invalid, NotFound, Problem, Unavailable, WrongState
from app.logs import request_id
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentNote,
    AppointmentStatus,
    Clinic,
    Slot,
)
from app.models.catalogue import HealthcareService
from app.models.messages import NoticeKind
from app.services import audit, consents, eligibility, idempotency, identity
from app.services.appointments import grouping, holding, locks, places
from app.services.idempotency import Key
from app.services.messages import tell

S = AppointmentStatus
STEPS: dict[S, frozenset[S]] = {
    S.BOOKED: frozenset({S.HELD}),
    S.EXPIRED: frozenset({S.HELD}),
    S.CANCELLED: frozenset({S.HELD, S.BOOKED}),
    S.ARRIVED: frozenset({S.BOOKED, S.NO_SHOW}),
    S.FULFILLED: frozenset({S.ARRIVED}),
    S.NO_SHOW: frozenset({S.BOOKED}),
    S.ENTERED_IN_ERROR: frozenset(S) - {S.ENTERED_IN_ERROR},
}
CODE_LENGTH = 10
# An appointment just after midnight may be checked in for the evening before.
EARLY = timedelta(hours=2)


class SlotFull(Conflict):
    zh, en = "该时段已约满", "This slot has no places left"
    do_zh, do_en = "请选择其他时段", "Choose another slot"


class NotEnoughPlaces(Conflict):
    zh, en = "该时段余下的名额不够", "This slot has fewer places left than asked for"
    do_zh, do_en = "请减少人数，或选择其他时段", "Ask for fewer places, or choose another slot"


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
    do_zh, do_en = "如需更改时间，请改约原预约", "Move the other appointment to choose a new time"


class OverlappingAppointment(Conflict, constraint="ex_appointment_one_place_at_a_time"):
    zh, en = "您（或配偶）在该时间已有其他预约", "You or your spouse have another appointment at this time"
    do_zh, do_en = "请选择其他时段，或改约另一预约", "Choose another slot, or move the other appointment"


class TooManyNoShows(Conflict):
    """Names from when one may book this again."""

    zh, en = "因多次预约未到，暂不能预约该服务", "Missed too often: this service cannot be booked for now"
    do_zh, do_en = "请在所示日期之后再预约，或联系服务点", "Book after the day shown, or call the clinic"


class BookedAsCourse(Conflict):
    zh, en = "该服务为疗程，须一次约满各次时间", "This is a course: all its dates are booked together"
    do_zh, do_en = "请选择全部各次时间后预约疗程", "Choose all the dates and book the course"


class TooLateToChange(Conflict):
    """Names until when it was possible, and whom to call."""

    zh, en = "已过可自行取消或改约的时限", "Too late to cancel or move it by oneself"
    do_zh, do_en = "请致电服务点说明情况", "Call the clinic"


class TooManyPlaces(Invalid):
    zh, en = "一次预约的名额过多", "Too many places for one booking"
    do_zh, do_en = "请减少人数后重试", "Ask for fewer places"


REFUSALS: dict[str, type[Problem]] = {
    "unknown_slot": NotFound,
    "not_open_yet": SlotNotOpenYet,
    "full": SlotFull,
    "closed": SlotClosed,
    "not_bound": identity.NotBound,
    "course": BookedAsCourse,
    "too_many_places": TooManyPlaces,
    "already_booked": AlreadyBooked,
}
ATTEMPTS = 3


async def book(actor: Actor, *, key: Key, slot_id: uuid.UUID, wanted: int = 1) -> Any:
    """A place for oneself, or for oneself and spouse where the service is for couples; of a lecture several, all or
    none. Who qualified beforehand books in one round trip, shared with others; for whoever did not, eligibility is
    settled here, once."""
    for _ in range(ATTEMPTS):
        row = await _try(actor, key, slot_id, wanted)
        match row.outcome:
            case "booked":
                return row
            case "replay":
                return await _booked_before(actor, key)
            case "not_qualified":
                await _qualify(actor, slot_id)
            case "consent_required":
                await _require_consents(actor, slot_id)
            case "no_shows":
                raise TooManyNoShows(again_from=row.again.isoformat())
            case "full" if wanted > 1:
                raise NotEnoughPlaces
            case refusal:
                raise REFUSALS[refusal]
    raise Unavailable  # what was settled between the attempts was taken back each time


async def _try(actor: Actor, key: Key, slot_id: uuid.UUID, wanted: int) -> Any:
    tap = grouping.Tap(
        id=key.id, account=actor.account_id, fingerprint=key.fingerprint, slot=slot_id, places=wanted,
        code=tokens.random_code(CODE_LENGTH), request=request_id.get(), now=clock.now(),
    )  # fmt: skip
    try:
        return await grouping.book(tap)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "NX001":  # the last place went while we were writing
            raise (SlotFull if wanted == 1 else NotEnoughPlaces) from error
        raise


async def _booked_before(actor: Actor, key: Key) -> Appointment:
    async with begin() as db:
        await idempotency.check(db, actor, key)
        return await fetch(db, actor, Appointment, key.id)


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
    require_eligible(explanation)


def require_eligible(explanation: eligibility.Explanation) -> None:
    """Who is refused for nothing but having had it is told so."""
    if not explanation.eligible:
        failing = explanation.failing()
        if [criterion["fact"] for criterion in failing] == ["services_this_cycle"]:
            raise AlreadyBooked
        raise eligibility.NotEligible(criteria=failing)


async def _require_consents(actor: Actor, slot_id: uuid.UUID) -> None:
    async with begin() as db:
        person_id = await identity.own_id(db, actor)
        service = await _service_of(db, slot_id)
        spouse_id = await eligibility.spouse_of(db, service=service, person_id=person_id)
        people = [person for person in (person_id, spouse_id) if person is not None]
        await consents.require(db, people, own=person_id)


async def step(
    db: AsyncSession, actor: Actor, *, appointment: Appointment, to: AppointmentStatus,
    reason: str | None = None, note: str | None = None,
) -> Appointment:  # fmt: skip
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
    await record(db, actor, moved, to, reason=reason, note=note)
    return moved


async def step_all(
    db: AsyncSession, actor: Actor, rows: Sequence[Appointment], to: AppointmentStatus, *,
    reason: str | None = None,
) -> None:  # fmt: skip
    """The same step of many, that the caller holds and has found able to make it."""
    if not rows:
        return
    which = Appointment.id.in_([row.id for row in rows]), Appointment.status.in_(STEPS[to])
    stepped = update(Appointment).where(*which).values(status=to).returning(Appointment)
    moved = list(await db.scalars(stepped.execution_options(populate_existing=True)))
    if len(moved) < len(rows):
        raise WrongState
    people = [(row.id, (row.person_id, row.spouse_id)) for row in moved]
    await holding.note(db, actor, to, people, reason=reason)


async def record(
    db: AsyncSession, actor: Actor, row: Appointment, action: str, *, reason: str | None = None,
    note: str | None = None, slot_id: uuid.UUID | None = None,
) -> None:  # fmt: skip
    """The event of a step that `row` has made, and the trail of it. What people write is sealed beside the event."""
    event = AppointmentEvent(
        appointment_id=row.id, at=clock.now(), status=row.status, reason=reason, slot_id=slot_id,
        actor_role=actor.role, actor_id=actor.id,
    )  # fmt: skip
    if note is not None:
        written = AppointmentNote(id=new_id(), appointment_id=row.id)
        written.note = note
        db.add(written)
        await db.flush()  # the event refers to it
        event.note_id = written.id
    db.add(event)
    await audit.record(db, actor, action, "appointment", row.id, people=[row.person_id, row.spouse_id])


async def cancel(db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str | None) -> Appointment:
    """By either spouse, as long before it begins as the service asks for; the place is free again at once."""
    appointment = await fetch(db, actor, Appointment, id, lock=True)
    await require_in_time(db, appointment)
    appointment = await step(db, actor, appointment=appointment, to=S.CANCELLED, note=reason)
    await places.free(db, actor, appointment.slot_id, appointment.places)
    return appointment


async def changeable_until(db: AsyncSession, appointment: Appointment) -> datetime:
    """Until when residents may cancel or move it by themselves. What is only held is declined until it begins."""
    service = await db.get_one(HealthcareService, appointment.service_id)
    hours = 0 if appointment.status is S.HELD else service.cancel_hours
    return appointment.starts_at - timedelta(hours=hours)


async def require_in_time(db: AsyncSession, appointment: Appointment) -> None:
    until = await changeable_until(db, appointment)
    if until <= clock.now() and appointment.status in STEPS[S.CANCELLED]:
        clinic = await db.get_one(Clinic, appointment.clinic_id)
        raise TooLateToChange(until=until.isoformat(), call=clinic.phone)


async def call_off(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str, note: str | None
) -> Appointment:
    """By a worker, at any time until somebody has arrived; those concerned are told."""
    appointment = await locks.appointment(db, actor, id)
    appointment = await step(db, actor, appointment=appointment, to=S.CANCELLED, reason=reason, note=note)
    await places.free(db, actor, appointment.slot_id, appointment.places)
    await tell_of(db, NoticeKind.APPOINTMENT_CANCELLED, appointment)
    return appointment


async def tell_of(db: AsyncSession, kind: NoticeKind, row: Appointment, *, once: str = "") -> None:
    """What, where and when, to those whom it is for."""
    service, clinic = (
        await db.get_one(HealthcareService, row.service_id),
        await db.get_one(Clinic, row.clinic_id),
    )
    await tell(
        db, kind, [row.person_id, row.spouse_id], entity="appointment", entity_id=row.id, once=once,
        values={"service": service.zh, "place": clinic.name, "time": row.starts_at.isoformat()},
    )  # fmt: skip
