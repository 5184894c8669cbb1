"""Who comes for the same people, appointments and slots from two sides waits, and is never told to try again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, or_, select, update

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.households import Sex
from app.services.appointments import attendance, bookings, closures, places, redistribution, rescheduling
from app.services.appointments.closures import NewClosure
from app.services.duplicates import merging
from app.services.idempotency import Key
from app.services.results import reports
from tests.factories import appointments as given
from tests.factories.appointments import Hospital, Spouses
from tests.factories.families import happens
from tests.factories.results import body, post
from tests.factories.twins import home
from tests.factories.waiting import at, book, held, place, settled
from tests.races.test_booking_races import outcomes
from tests.races.test_waitlist_races import check_places

pytestmark = pytest.mark.usefixtures("committed")
S = AppointmentStatus
Doing = Callable[[], Awaitable[Any]]


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def meet(
    monkeypatch: pytest.MonkeyPatch, first: Doing, at_step: tuple[Any, str], second: Doing
) -> list[str]:
    """The second begins while the first, at this step, holds what it holds, and comes as far as it can."""
    real, begun = getattr(*at_step), list[asyncio.Future[list[str]]]()

    async def reached(*of: Any, **more: Any) -> Any:
        if not begun:
            begun.append(asyncio.ensure_future(outcomes(second())))
            await asyncio.wait(begun, timeout=0.25)
        return await real(*of, **more)

    monkeypatch.setattr(*at_step, reached)
    return await outcomes(first()) + await begun[0]


async def close(hospital: Hospital) -> None:
    async with db.begin() as session:
        new = NewClosure(clinic_id=hospital.clinic.id, from_at=at(0), to_at=at(4), reason="weather")
        await closures.close(session, hospital.actor, key=key(), new=new)


async def call_off(actor: Actor, row: Appointment) -> None:
    async with db.begin() as session:
        await bookings.call_off(session, actor, id=row.id, reason="asked_by_resident", note=None)


async def die(actor: Actor, family: Spouses) -> None:
    async with db.begin() as session:
        await happens(session, actor, family.household.id, "death", person_id=family.wife.id)


async def merge(actor: Actor, family: Spouses) -> None:
    async with db.begin() as session:
        twin = given.person("李秀英", Sex.FEMALE)
        await home(session, given.person("马建国", Sex.MALE), twin)
    async with db.begin() as session:
        await merging.people(
            session, actor, key=key(), kept_id=twin.id, lost_id=family.wife.id, reason="同一人"
        )


@pytest.mark.parametrize("happens_to_her", [die, merge])
@pytest.mark.parametrize("closes", [True, False], ids=["closure", "called off"])
async def test_what_happens_to_somebody_waits_for_who_has_the_appointment(
    monkeypatch: pytest.MonkeyPatch, closes: bool, happens_to_her: Any
) -> None:
    async with db.begin() as session:
        where = await place(session)
        slot, _ = await where.slot(session, 0), await where.slot(session, 30)
        [family], officer = await settled(session, where, 1), await given.worker(session)
    row = await book(family.wife_actor, slot.id)
    first, step = (lambda: call_off(officer, row)), (places, "free")
    if closes:
        first, step = (lambda: close(where.hospital)), (closures, "_cancel_slots")
    assert await meet(monkeypatch, first, step, lambda: happens_to_her(officer, family)) == ["done", "done"]
    async with db.begin() as session:
        hers = or_(Appointment.person_id == family.wife.id, Appointment.spouse_id == family.wife.id)
        going = select(func.count()).where(hers, Appointment.status.in_([S.HELD, S.BOOKED]))
        assert await session.scalar(going) == 0
    await check_places()


async def test_a_closure_waits_for_no_slot_that_somebody_has_who_waits_for_a_closed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with db.begin() as session:
        where = await place(session)
        near, closed, later = [await where.slot(session, hour, capacity=2) for hour in (30, 0, 50)]
        stays, moves = await settled(session, where, 2)
    assert near.id < closed.id  # so that it is locked first
    await book(stays.wife_actor, closed.id)
    row = await book(moves.wife_actor, near.id)

    async def move() -> None:
        async with db.begin() as session:
            await rescheduling.reschedule(session, moves.wife_actor, id=row.id, slot_id=closed.id)

    said = await meet(monkeypatch, lambda: close(where.hospital), (redistribution, "move"), move)
    assert said == ["done", "slot-full"]
    assert [one.subject_id for one in await held(later.id)] == [stays.couple.id]
    await check_places()


async def test_nobody_is_absent_at_a_time_to_which_the_appointment_is_being_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with db.begin() as session:
        where = await place(session)
        slot, later = [await where.slot(session, hour) for hour in (0, 30)]
        [family], officer = await settled(session, where, 1), await given.worker(session)
    row = await book(family.wife_actor, slot.id)
    async with db.begin() as session:
        over = {"starts_at": clock.now() - timedelta(hours=2), "ends_at": clock.now() - timedelta(hours=1)}
        await session.execute(update(Slot).where(Slot.id == slot.id).values(over))
        await session.execute(update(Appointment).where(Appointment.id == row.id).values(over))

    async def move() -> None:
        async with db.begin() as session:
            await rescheduling.reschedule_for(
                session, officer, id=row.id, slot_id=later.id, reason="asked_by_resident", note=None
            )

    async def absent() -> None:
        async with db.begin() as session:
            await attendance.no_show(session, where.hospital.actor, id=row.id)

    assert await meet(monkeypatch, move, (places, "free"), absent) == ["done", "wrong-state"]
    await check_places()


async def test_a_merge_waits_for_a_new_version_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async with db.begin() as session:
        attended, officer = await given.attended(session), await given.worker(session)
        known = await post(session, attended, body(attended))

    async def correct() -> None:
        async with db.begin() as session:
            new = body(attended, external_id=known.external_id, version=2, status="amended")
            await post(session, attended, new)

    said = await meet(monkeypatch, correct, (reports, "store"), lambda: merge(officer, attended.spouses))
    assert said == ["done", "done"]


async def test_two_clinics_that_close_at_once_offer_none_of_each_other_s_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with db.begin() as session:
        here = await place(session)
        there = await given.clinic(session)
        slots = [
            await here.slot(session, 0, capacity=3, clinic=one)
            for one in (here.hospital.clinic, there.clinic)
        ]
        families = await settled(session, here, 2)
    for family, slot in zip(families, slots, strict=True):
        await book(family.wife_actor, slot.id)
    step = (redistribution, "move")
    assert await meet(monkeypatch, lambda: close(here.hospital), step, lambda: close(there)) == [
        "done",
        "done",
    ]
    assert [await held(slot.id) for slot in slots] == [[], []]
    await check_places()
