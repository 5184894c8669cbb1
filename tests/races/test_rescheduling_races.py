"""Moves, courses, walk-ins and two accounts of one couple at once, on real commits."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, Clinic, Origin, Slot
from app.models.identity import Role
from app.services import eligibility
from app.services.appointments import attendance, courses, holding, making, places, rescheduling, walk_ins
from app.services.idempotency import Key
from tests.database import WAITING
from tests.factories import appointments as made
from tests.races.test_booking_races import book, booked, outcomes

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS = 4
CHECK, LECTURE, TREATMENT = "pre_pregnancy_check", "health_lecture", "reproductive_health_treatment"


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def the_slots(
    code: str, count: int, capacity: int, *, apart: timedelta = timedelta(hours=2)
) -> list[Slot]:
    async with db.begin() as session:
        place, service = await made.clinic(session), await made.service(session, code)
        first = clock.now() + timedelta(days=2)
        return [
            await made.slot(
                session, place=place.clinic, service=service, starts_at=first + apart * n, capacity=capacity
            )
            for n in range(count)
        ]


async def couples(count: int, code: str) -> list[made.Spouses]:
    """Settled beforehand."""
    async with db.begin() as session:
        rows = [await made.couple(session) for _ in range(count)]
        service = await made.service(session, code)
        for row in rows:
            await eligibility.settle(session, row.wife_actor, service=service, person_id=row.wife.id)
    return rows


async def move(actor: Actor, id: uuid.UUID, slot: Slot) -> None:
    async with db.begin() as session:
        await rescheduling.reschedule(session, actor, id=id, slot_id=slot.id)


async def course(actor: Actor, slots: Sequence[Slot]) -> None:
    async with db.begin() as session:
        new = courses.NewCourse(slot_ids=[slot.id for slot in slots])
        await courses.book(session, actor, key=key(), new=new)


async def seated(*slots: Slot) -> list[int]:
    return [await booked(slot.id) for slot in slots]


async def test_two_who_change_places_at_once_do_not_wait_for_each_other_for_ever() -> None:
    one, other = await the_slots(CHECK, 2, 2)
    first, second = await couples(2, CHECK)
    a, b = await book(first.wife_actor, one.id), await book(second.wife_actor, other.id)
    for _ in range(ROUNDS):
        said = await outcomes(move(first.wife_actor, a.id, other), move(second.wife_actor, b.id, one))
        assert said == ["done", "done"]
        one, other = other, one
        assert await seated(one, other) == [1, 1]


async def test_nobody_arrives_at_a_time_that_is_being_moved_away() -> None:
    today, later = await the_slots(CHECK, 2, 2)
    [family] = await couples(1, CHECK)
    async with db.begin() as session:
        soon = clock.now() + timedelta(seconds=30)
        times = {"starts_at": soon, "ends_at": soon + timedelta(hours=1)}
        await session.execute(update(Slot).where(Slot.id == today.id).values(times))
        hospital = await session.get_one(Clinic, today.clinic_id)
    desk = Actor(role=Role.PARTNER, id=hospital.organization_id)
    row = await book(family.wife_actor, today.id)

    async def arrive() -> None:
        async with db.begin() as session:
            await attendance.check_in(session, desk, code=row.code)

    async with db.begin() as moving, asyncio.timeout(10):
        await rescheduling.reschedule(moving, family.wife_actor, id=row.id, slot_id=later.id)
        arriving = asyncio.create_task(outcomes(arrive()))
        await _waits_for_a_lock(moving)
    assert await arriving == ["not-today"]


async def test_two_who_want_each_others_last_place_both_stay() -> None:
    one, other = await the_slots(CHECK, 2, 1)
    first, second = await couples(2, CHECK)
    a, b = await book(first.wife_actor, one.id), await book(second.wife_actor, other.id)
    said = await outcomes(move(first.wife_actor, a.id, other), move(second.wife_actor, b.id, one))
    assert said == ["slot-full", "slot-full"]
    assert await seated(one, other) == [1, 1]


async def test_spouses_who_move_one_appointment_to_two_times_leave_one_place_taken() -> None:
    slots = await the_slots(CHECK, 3, 5)
    [family] = await couples(1, CHECK)
    row = await book(family.wife_actor, slots[0].id)
    said = await outcomes(
        move(family.wife_actor, row.id, slots[1]), move(family.husband_actor, row.id, slots[2])
    )
    assert said == ["done", "done"]
    taken = await seated(*slots)
    async with db.begin() as session:
        at = (await session.get_one(Appointment, row.id)).slot_id
    assert taken == [int(slot.id == at) for slot in slots]


async def test_of_two_courses_for_the_last_places_one_gets_all_dates_and_the_other_none() -> None:
    for _ in range(ROUNDS):
        slots = await the_slots(TREATMENT, 6, 1)
        first, second = await couples(2, TREATMENT)
        said = await outcomes(course(first.wife_actor, slots[:5]), course(second.wife_actor, slots[1:]))
        assert sorted(said) == ["done", "slot-full"]
        taken = await seated(*slots)
        assert taken == ([1] * 5 + [0] if said[0] == "done" else [0] + [1] * 5)


async def test_two_dates_of_a_course_moved_at_once_stay_in_order() -> None:
    *dates, later, last = await the_slots(TREATMENT, 7, 3)
    [family] = await couples(1, TREATMENT)
    await course(family.wife_actor, dates)
    async with db.begin() as session:
        ids = list(await session.scalars(select(Appointment.id).order_by(Appointment.session)))
    said = await outcomes(move(family.wife_actor, ids[3], last), move(family.wife_actor, ids[4], later))
    assert sorted(said) == ["done", "out-of-order"]


async def test_wife_and_husband_cannot_be_in_two_places_from_two_phones() -> None:
    for _ in range(ROUNDS):
        [joint] = await the_slots(CHECK, 1, 5)
        [lecture] = await the_slots(LECTURE, 1, 5)
        [family] = await couples(1, CHECK)
        async with db.begin() as session:
            service = await made.service(session, LECTURE)
            await eligibility.settle(
                session, family.husband_actor, service=service, person_id=family.husband.id
            )
        said = await outcomes(book(family.wife_actor, joint.id), book(family.husband_actor, lecture.id))
        assert sorted(said) == ["done", "overlapping-appointment"]
        assert sorted(await seated(joint, lecture)) == [0, 1]


async def test_a_walk_in_and_a_phone_share_the_last_place() -> None:
    for _ in range(ROUNDS):
        [slot] = await the_slots(LECTURE, 1, 1)
        at_home, at_desk = await couples(2, LECTURE)
        async with db.begin() as session:
            soon = clock.now() + timedelta(seconds=30)
            times = {"starts_at": soon, "ends_at": soon + timedelta(hours=1)}
            await session.execute(update(Slot).where(Slot.id == slot.id).values(times))
            worker = await made.worker(session)

        async def come(slot: Slot = slot, who: made.Spouses = at_desk, worker: Actor = worker) -> None:
            async with db.begin() as session:
                new = walk_ins.NewVisit(slot_id=slot.id, person_id=who.wife.id)
                await walk_ins.visit(session, worker, key=key(), new=new)

        assert sorted(await outcomes(book(at_home.wife_actor, slot.id), come())) == ["done", "slot-full"]
        assert await seated(slot) == [1]


async def test_an_offer_to_who_is_booking_the_same_slot_at_this_moment_is_not_waited_for() -> None:
    """Who offers holds the slot and would wait for the person, who books and waits for the slot."""
    [slot] = await the_slots(LECTURE, 1, 2)
    [family] = await couples(1, LECTURE)
    async with db.begin() as session:
        service = await made.service(session, LECTURE)
        who = await making.who(session, family.wife_actor, service, family.wife.id)
    async with db.begin() as offering, asyncio.timeout(10):
        await places.hold(offering, [slot.id])
        booking = asyncio.create_task(book(family.wife_actor, slot.id))
        await _waits_for_a_lock(offering)
        until = clock.now() + timedelta(hours=1)
        held = holding.Hold(
            slot, who.subject_id, who.person_id, None, family.wife_actor.id, who.region_code, "another", 1,
            Origin.WAITLIST, until,
        )  # fmt: skip
        assert await holding.hold(offering, Actor.system("test"), [held]) == []
    assert (await booking).outcome == "booked"
    assert await seated(slot) == [1]


async def _waits_for_a_lock(session: AsyncSession) -> None:
    while not await session.scalar(text(WAITING)):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
