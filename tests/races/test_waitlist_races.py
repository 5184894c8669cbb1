"""Waiting lists, offers and closures with real commits, many at once: the order is kept, each place counted once."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus, Slot, SlotStatus
from app.models.closures import Closure, ClosureStatus
from app.models.messages import InboxMessage
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services.appointments import attendance, bookings, closures, entries, offers
from app.services.appointments.closures import NewClosure
from app.services.idempotency import Key
from app.services.schedules import publishing
from tests.factories import schedules
from tests.factories.appointments import Hospital
from tests.factories.waiting import Place, at, book, cancel, entry, full, held, join, place, settled, wish
from tests.races.test_booking_races import outcomes

pytestmark = pytest.mark.usefixtures("committed")
S, W = AppointmentStatus, WaitlistStatus
ROUNDS = 2


async def check_places() -> None:
    """B1, and no offer without its entry."""
    async with db.begin() as session:
        active = Appointment.status.in_([S.HELD, S.BOOKED, S.ARRIVED, S.FULFILLED, S.NO_SHOW])
        taken = select(func.coalesce(func.sum(Appointment.places), 0)).where(
            Appointment.slot_id == Slot.id, active
        )
        rows = await session.execute(select(Slot.booked, Slot.capacity, taken.scalar_subquery()))
        assert all(booked == counted <= capacity for booked, capacity, counted in rows)
        unlike = select(WaitlistEntry.id).join(Appointment, Appointment.id == WaitlistEntry.appointment_id)
        offered = unlike.where(WaitlistEntry.status == W.OFFERED, Appointment.status != S.HELD)
        assert list(await session.scalars(offered)) == []


async def a_full_slot(capacity: int, waiting: int) -> tuple[Place, Slot, list[Any], list[Any], list[Any]]:
    """With those who have its places, and couples who qualify and may wait."""
    async with db.begin() as session:
        where, slot, families, rows = await full(session, capacity)
    async with db.begin() as session:
        more = await settled(session, where, waiting)
    return where, slot, families, rows, more


async def beside(first: Callable[[AsyncSession], Awaitable[Any]], second: Awaitable[Any]) -> str:
    """What the second hears that runs while the first has done its work and not committed it."""
    async with db.begin() as session:
        await first(session)
        other = asyncio.ensure_future(outcomes(second))
        await asyncio.wait([other], timeout=0.25)
    return (await other)[0]


async def test_who_joins_while_a_place_comes_free_finds_it_free() -> None:
    where, slot, [family], [row], [waiter] = await a_full_slot(1, 1)

    async def cancelled(session: AsyncSession) -> None:
        await bookings.cancel(session, family.wife_actor, id=row.id, reason=None)

    assert await beside(cancelled, join(waiter.wife_actor, where)) == "place-is-free"
    assert await held(slot.id) == []
    await check_places()


async def test_who_has_joined_when_a_place_comes_free_is_called() -> None:
    where, slot, [family], [row], [waiter] = await a_full_slot(1, 1)

    async def joined(session: AsyncSession) -> None:
        await entries.join(session, waiter.wife_actor, key=Key(new_id(), b"x"), new=wish(where))

    assert await beside(joined, cancel(family.wife_actor, row.id)) == "done"
    assert [offer.subject_id for offer in await held(slot.id)] == [waiter.couple.id]
    await check_places()


async def test_of_many_places_that_come_free_at_once_each_goes_to_the_next_in_line() -> None:
    where, slot, families, rows, waiters = await a_full_slot(6, 9)
    for one in waiters:
        await join(one.wife_actor, where)
    async with db.begin() as session:
        [newcomer] = await settled(session, where, 1)
    cancelled = [cancel(one.wife_actor, row.id) for one, row in zip(families, rows, strict=True)]
    said = await outcomes(*cancelled, *(book(newcomer.wife_actor, slot.id) for _ in range(6)))
    assert Counter(said) == {"done": 6, "slot-full": 6}
    assert {row.subject_id for row in await held(slot.id)} == {one.couple.id for one in waiters[:6]}
    await check_places()


async def test_an_answer_meets_the_end_of_its_time() -> None:
    """Accepted, or expired and gone on to the next: once."""
    where, slot, families, rows, waiters = await a_full_slot(4, 8)
    for one in waiters:
        await join(one.wife_actor, where)
    for one, row in zip(families, rows, strict=True):
        await cancel(one.wife_actor, row.id)
    first = await held(slot.id)
    until = clock.now() + timedelta(milliseconds=250)
    async with db.begin() as session:
        await session.execute(
            update(Appointment).where(Appointment.status == S.HELD).values(hold_expires_at=until)
        )

    async def accept(actor: Actor, id: uuid.UUID, wait: float) -> None:
        await asyncio.sleep(wait)
        async with db.begin() as session:
            await offers.accept(session, actor, id=id)

    async def expire() -> int:
        await asyncio.sleep(0.255)
        return await offers.expire_due()

    waits = (0.0, 0.23, 0.24, 0.25)
    accepts = [
        accept(one.wife_actor, row.id, wait) for one, row, wait in zip(waiters, first, waits, strict=False)
    ]
    said = await outcomes(*accepts, expire(), expire())
    assert said[0] == "done"
    assert set(said[1:4]) <= {"done", "offer-over"}
    await offers.expire_due()
    accepted = said[:4].count("done")
    async with db.begin() as session:
        states = Counter(
            await session.scalars(
                select(Appointment.status).where(Appointment.id.in_([row.id for row in first]))
            )
        )
        expired = select(func.count()).select_from(AppointmentEvent).filter_by(status=S.EXPIRED)
        assert await session.scalar(expired) == 4 - accepted
    assert states == Counter({S.BOOKED: accepted, S.EXPIRED: 4 - accepted})
    assert [row.subject_id for row in await held(slot.id)] == [
        one.couple.id for one in waiters[4 : 8 - accepted]
    ]
    await check_places()


def morning(hospital: Hospital) -> NewClosure:
    return NewClosure(clinic_id=hospital.clinic.id, from_at=at(0), to_at=at(4), reason="weather")


async def close(hospital: Hospital) -> None:
    async with db.begin() as session:
        key = Key(new_id(), b"fingerprint")
        await closures.close(session, hospital.actor, key=key, new=morning(hospital))


async def test_whoever_books_while_the_clinic_closes_is_moved_or_refused() -> None:
    async with db.begin() as session:
        where = await place(session)
        slot = await where.slot(session, 0, capacity=12)
        evening = await where.slot(session, 30, capacity=6)
        families = await settled(session, where, 12)
    rows = [await book(one.wife_actor, slot.id) for one in families[:4]]
    said = await outcomes(
        *(book(one.wife_actor, slot.id) for one in families[4:8]),
        close(where.hospital),
        cancel(families[0].wife_actor, rows[0].id),
        *(book(one.wife_actor, slot.id) for one in families[8:]),
        close(where.hospital),
    )
    assert said[4] == said[-1] == "done"
    assert set(said) <= {"done", "slot-closed", "slot-full", "wrong-state"}
    async with db.begin() as session:
        live = Appointment.status.in_([S.BOOKED, S.HELD])
        assert await session.scalar(select(func.count()).where(Appointment.slot_id == slot.id, live)) == 0
        assert (await session.get_one(Slot, slot.id)).status is SlotStatus.CANCELLED
        assert (await session.get_one(Slot, evening.id)).booked == min(6, (await moved(session)))
        told = select(InboxMessage.person_id, func.count()).where(InboxMessage.kind.startswith("closed"))
        counts = (await session.execute(told.group_by(InboxMessage.person_id))).all()
        assert {count for _, count in counts} == {1}
        assert len(counts) == 2 * await moved(session)
    await check_places()


async def test_who_books_and_cancels_while_the_clinic_closes_is_waited_for_by_nobody(monkeypatch) -> None:
    """Booked after the closure has looked, cancelled once it has the slots: the rest is left to the job."""
    async with db.begin() as session:
        where = await place(session)
        slot = await where.slot(session, 0, capacity=2)
        first, second = await settled(session, where, 2)
    stays = await book(first.wife_actor, slot.id)
    real, cancelling = closures._cancel_slots, []

    async def while_it_closes(*of: Any) -> int:
        row = await book(second.wife_actor, slot.id)
        slots = await real(*of)
        cancelling.append(asyncio.ensure_future(outcomes(cancel(second.wife_actor, row.id))))
        await asyncio.wait(cancelling, timeout=0.25)
        return slots

    monkeypatch.setattr(closures, "_cancel_slots", while_it_closes)
    assert await outcomes(close(where.hospital)) == ["done"]
    assert await cancelling[0] == ["done"]
    async with db.begin() as session:
        closure = (await session.scalars(select(Closure))).one()
        assert closure.status is ClosureStatus.CLOSING
        row = await session.get_one(Appointment, stays.id)
        assert row.status is S.CANCELLED
    await closures.work(closure.id)
    async with db.begin() as session:
        report = await closures.report(session, where.hospital.actor, id=closure.id)
    assert (report["status"], report["affected"], report["remaining"]) == (ClosureStatus.DONE, 1, 0)
    await check_places()


async def moved(session: Any) -> int:
    events = (
        select(func.count())
        .select_from(AppointmentEvent)
        .where(AppointmentEvent.reason == "closure: weather")
    )
    return int(await session.scalar(events) or 0)


async def test_a_schedule_published_while_the_clinic_closes_leaves_nothing_open() -> None:
    for closes_first in (True, False):
        async with db.begin() as session:
            where = await place(session)
            daily = [schedules.LINE | {"weekday": weekday} for weekday in range(1, 8)]
            clinic, actor = where.hospital.clinic, where.hospital.actor
            dates = {"from_on": clock.today(), "until_on": clock.today() + timedelta(days=5)}
            row = await schedules.schedule(
                session, actor, clinic, follows_calendar=False, days_ahead=30, lines=daily, **dates
            )

        async def published(session: AsyncSession, row: Any = row, actor: Actor = actor) -> None:
            await publishing.publish(session, actor, id=row.id, version=row.version)

        async def closed(session: AsyncSession, hospital: Hospital = where.hospital) -> None:
            await closures.close(session, hospital.actor, key=Key(new_id(), b"x"), new=morning(hospital))

        async def alone(work: Callable[[AsyncSession], Awaitable[None]]) -> None:
            async with db.begin() as session:
                await work(session)

        order = (closed, published) if closes_first else (published, closed)
        assert await beside(order[0], alone(order[1])) == "done"
        async with db.begin() as session:
            there = Slot.clinic_id == clinic.id, Slot.status == SlotStatus.OPEN
            starts = list(await session.scalars(select(Slot.starts_at).where(*there)))
        assert starts
        assert not [one for one in starts if at(0) <= one < at(4)]


async def test_who_arrives_while_the_clinic_closes_stays_or_is_moved() -> None:
    for _ in range(ROUNDS):
        async with db.begin() as session:
            where = await place(session)
            soon = clock.now() + timedelta(minutes=30)
            slot = await where.slot(session, starts_at=soon, capacity=3)
            families = await settled(session, where, 3)
        rows = [await book(one.wife_actor, slot.id) for one in families]

        async def arrive(code: str, hospital: Hospital = where.hospital) -> None:
            async with db.begin() as session:
                await attendance.check_in(session, hospital.actor, code=code)

        async def shut(hospital: Hospital = where.hospital) -> None:
            async with db.begin() as session:
                now = clock.now()
                window = {"from_at": now, "to_at": now + timedelta(hours=1), "reason": "utilities"}
                new = NewClosure(clinic_id=hospital.clinic.id, **window)
                await closures.close(session, hospital.actor, key=Key(new_id(), b"x"), new=new)

        said = await outcomes(arrive(rows[0].code), arrive(rows[1].code), shut(), arrive(rows[2].code))
        assert said[2] == "done"
        arrived = [said[0], said[1], said[3]].count("done")
        async with db.begin() as session:
            states = Counter(await session.scalars(select(Appointment.status).filter_by(slot_id=slot.id)))
            assert (states[S.ARRIVED], states[S.CANCELLED]) == (arrived, 3 - arrived)
            assert (await session.get_one(Slot, slot.id)).booked == arrived
        await check_places()


async def test_leaving_the_line_meets_the_call() -> None:
    """Out of it, or offered the place: never both."""
    for _ in range(ROUNDS):
        where, slot, [family], [row], [waiter] = await a_full_slot(1, 1)
        id = await join(waiter.wife_actor, where)

        async def leave(id: uuid.UUID = id, actor: Actor = waiter.husband_actor) -> None:
            async with db.begin() as session:
                await entries.withdraw(session, actor, id=id)

        said = await outcomes(leave(), cancel(family.wife_actor, row.id))
        assert said[1] == "done"
        status = (await entry(id)).status
        assert status is (W.WITHDRAWN if said[0] == "done" else W.OFFERED)
        assert len(await held(slot.id)) == (status is W.OFFERED)
        await check_places()
