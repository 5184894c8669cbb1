"""Closing a clinic for some hours: nobody books there any more, and everyone who had a place is offered another."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, visible
from app.db import begin
from app.errors import Invalid
from app.models.appointments import Appointment, AppointmentStatus, Clinic, Slot, SlotEvent, SlotStatus
from app.models.closures import Closure, ClosureMove, ClosureReason, ClosureStatus
from app.services import audit, idempotency, queue
from app.services.appointments import catalogue, locks, redistribution
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Line, Moment, example

JOB = "move_closed_appointments"
CLERK = Actor.system("closures")
LONGEST = timedelta(days=31)
#: A slot lasts a day at most.
DAY = timedelta(days=1)
#: So many are moved in the request itself, in its transaction; of more, the job moves batch by batch.
AT_ONCE = 2000

S = AppointmentStatus


class Window(Body):
    """Every slot that touches these hours and is not over."""

    model_config = example(
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_code="pre_pregnancy_check",
        from_at="2026-12-03T08:00:00+08:00",
        to_at="2026-12-03T12:00:00+08:00",
    )

    clinic_id: uuid.UUID
    service_code: Line | None = None
    from_at: Moment
    to_at: Moment


class NewClosure(Window):
    model_config = example(
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_code="pre_pregnancy_check",
        from_at="2026-12-03T08:00:00+08:00",
        to_at="2026-12-03T12:00:00+08:00",
        reason="equipment",
    )

    reason: ClosureReason


async def preview(db: AsyncSession, actor: Actor, *, window: Window) -> dict[str, int]:
    """What closing would mean now: how many slots, how many appointments and held places in them, how many people are
    there already and stay."""
    clinic, service_id = await _scope(db, actor, window)
    slots = select(Slot.id).where(_within(clinic.id, service_id, window.from_at, window.to_at), _still_on())
    counts = (
        select(
            func.count().filter(Appointment.status == S.BOOKED).label("appointments"),
            func.count().filter(Appointment.status == S.HELD).label("held"),
            func.count().filter(Appointment.status == S.ARRIVED).label("arrived"),
        )
        .where(Appointment.slot_id.in_(slots))
    )  # fmt: skip
    found = await db.scalar(select(func.count()).select_from(slots.subquery()))
    return {"slots": found or 0, **(await db.execute(counts)).one()._asdict()}


async def close(db: AsyncSession, actor: Actor, *, key: Key, new: NewClosure) -> dict[str, Any]:
    """No slot of the window is booked any more. Whoever has not arrived is cancelled, told once, and has the nearest
    free time after the closed one held: at this clinic, else at another of the same hospital, else in the same county,
    in the order in which they had booked. For whom there is none, the front of the waiting list. Who has arrived stays.
    """
    if await idempotency.claim(db, actor, key):
        clinic, service_id = await _scope(db, actor, new)
        # Nobody publishes a schedule there meanwhile: its slots are closed too, or never made.
        held = select(Clinic.id).where(Clinic.id == clinic.id).with_for_update(key_share=True)
        await db.execute(held)
        window = _within(clinic.id, service_id, new.from_at, new.to_at)
        still_on = select(Slot.id).where(window, _still_on())
        affected = await _open_in(db, still_on)
        if affected <= AT_ONCE:
            # People and appointments are locked before slots, here as everywhere.
            await locks.appointments(db, redistribution.open_in(still_on))
        slots = await _cancel_slots(db, actor, window)
        closure = Closure(
            id=key.id, clinic_id=clinic.id, service_id=service_id, from_at=new.from_at, to_at=new.to_at,
            reason=new.reason, slots=slots, status=ClosureStatus.CLOSING, created_at=clock.now(),
        )  # fmt: skip
        db.add(closure)
        await db.flush()  # what is moved refers to it
        await audit.record(db, actor, "close", "closure", key.id)
        if affected <= AT_ONCE:
            while await redistribution.move(db, closure, _cancelled_slots(closure), slots_held=True):
                pass
        if not await _end(db, closure):
            await queue.enqueue(db, JOB, {"closure_id": str(key.id)}, once=f"{JOB}:{key.id}")
    return await report(db, actor, id=key.id)


async def _scope(db: AsyncSession, actor: Actor, window: Window) -> tuple[Clinic, uuid.UUID | None]:
    clinic, now = await fetch(db, actor, Clinic, window.clinic_id), clock.now()
    if not window.from_at < window.to_at <= window.from_at + LONGEST:
        raise Invalid.at("/to_at", "须晚于开始时间且不超过 31 天", "must follow the start within 31 days")
    if window.to_at <= now:
        raise Invalid.at("/to_at", "须晚于现在", "must lie ahead")
    if window.service_code is None:
        return clinic, None
    return clinic, (await catalogue.service(db, window.service_code)).id


def _within(
    clinic_id: uuid.UUID, service_id: uuid.UUID | None, from_at: Any, to_at: Any
) -> ColumnElement[bool]:
    inside = and_(
        Slot.clinic_id == clinic_id,
        Slot.starts_at < to_at,
        Slot.starts_at >= from_at - DAY,
        Slot.ends_at > from_at,
    )
    return inside if service_id is None else and_(inside, Slot.service_id == service_id)


def _still_on() -> ColumnElement[bool]:
    return and_(Slot.status != SlotStatus.CANCELLED, Slot.ends_at > clock.now())


async def _open_in(db: AsyncSession, slots: Any) -> int:
    query = select(func.count()).select_from(Appointment).where(redistribution.open_in(slots))
    return await db.scalar(query) or 0


async def _cancel_slots(db: AsyncSession, actor: Actor, window: ColumnElement[bool]) -> int:
    """A booking in flight has its place by now and is moved with the others, or finds the slot cancelled."""
    held = select(Slot.id, Slot.status).where(window, _still_on()).order_by(Slot.id).with_for_update()
    slots = (await db.execute(held)).all()
    cancelled = update(Slot).where(Slot.id.in_([slot.id for slot in slots]))
    await db.execute(
        cancelled.values(status=SlotStatus.CANCELLED, version=Slot.version + 1).execution_options(
            synchronize_session=False
        )
    )
    common = {
        "at": clock.now(), "field": "status", "new": SlotStatus.CANCELLED, "actor_role": actor.role,
        "actor_id": actor.id,
    }  # fmt: skip
    if slots:
        events = [common | {"slot_id": slot.id, "old": slot.status} for slot in slots]
        await db.execute(insert(SlotEvent), events)
    return len(slots)


def _cancelled_slots(closure: Closure) -> Any:
    window = _within(closure.clinic_id, closure.service_id, closure.from_at, closure.to_at)
    return select(Slot.id).where(
        window, Slot.status == SlotStatus.CANCELLED, Slot.ends_at > closure.created_at
    )


async def _end(db: AsyncSession, closure: Closure) -> bool:
    """Done, once nobody has a place there any more."""
    if await _open_in(db, _cancelled_slots(closure)):
        return False
    closure.status, closure.done_at = ClosureStatus.DONE, clock.now()
    return True


async def work(closure_id: uuid.UUID) -> None:
    """Batch by batch, each in a transaction of its own: what was moved stays moved if the worker dies."""
    going = True
    while going:
        async with begin() as db:
            closure = await db.get_one(Closure, closure_id, with_for_update=True)
            if going := closure.status is ClosureStatus.CLOSING:
                await redistribution.move(db, closure, _cancelled_slots(closure))
                going = not await _end(db, closure)


async def resume(db: AsyncSession) -> int:
    """A job lost with its worker is made again."""
    query = select(Closure.id).where(Closure.status == ClosureStatus.CLOSING).order_by(Closure.id).limit(100)
    ids = list(await db.scalars(query))
    for id in ids:
        await queue.enqueue(db, JOB, {"closure_id": str(id)}, once=f"{JOB}:{id}")
    return len(ids)


async def report(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> dict[str, Any]:
    """What became of everyone affected; while it is closing, how many are still to be moved."""
    closure = await fetch(db, actor, Closure, id)
    closing = closure.status is ClosureStatus.CLOSING
    remaining = await _open_in(db, _cancelled_slots(closure)) if closing else 0
    [counts] = await _counts(db, [id])
    return _shown(closure) | counts | {"remaining": remaining}


async def recent(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first."""
    query = select(Closure).where(visible(actor, Closure))
    query = newest_first(query, Closure.created_at, Closure.id, before, limit)
    return [_shown(row) for row in await db.scalars(query)]


def _shown(closure: Closure) -> dict[str, Any]:
    return {column.name: getattr(closure, column.name) for column in Closure.__table__.columns}


async def _counts(db: AsyncSession, ids: list[uuid.UUID]) -> list[dict[str, int]]:
    offered = aliased(Appointment)
    accepted = offered.status.in_([S.BOOKED, S.ARRIVED, S.FULFILLED, S.NO_SHOW])

    def number(which: ColumnElement[bool]) -> Any:
        return func.count(case((which, 1)))

    query = (
        select(
            func.count(ClosureMove.appointment_id).label("affected"),
            number(offered.id.is_not(None)).label("offered"),
            number(offered.status == S.HELD).label("unanswered"),
            number(accepted).label("accepted"),
            number(offered.status.in_([S.CANCELLED, S.ENTERED_IN_ERROR])).label("declined"),
            number(offered.status == S.EXPIRED).label("expired"),
            number(ClosureMove.waitlist_entry_id.is_not(None)).label("waiting"),
            number(ClosureMove.offered_id.is_(None)).label("without"),
        )
        .select_from(ClosureMove)
        .outerjoin(offered, offered.id == ClosureMove.offered_id)
        .where(ClosureMove.closure_id.in_(ids))
    )
    return [(await db.execute(query)).one()._asdict()]
