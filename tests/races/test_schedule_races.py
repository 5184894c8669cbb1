"""Two at once on real commits: publishers of one schedule, rooms wanted twice, capacity against bookings in flight."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app import clock, db, errors
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, Slot, SlotStatus
from app.services import eligibility, schedules
from app.services.appointments import bookings, slot_changes, slots
from app.services.appointments.slot_changes import ChangeSlot
from app.services.appointments.slots import NewSlot
from app.services.idempotency import Key
from tests.factories import appointments as made
from tests.factories import schedules as timed
from tests.factories.appointments import Hospital
from tests.factories.schedules import LINE

pytestmark = pytest.mark.usefixtures("committed")
PLACES = 6


async def outcomes(*calls: Awaitable[Any]) -> Counter[str]:
    """All at once: the name of the problem of each, or "done"."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(
        errors.to_problem(answer).slug() if isinstance(answer, Exception) else "done" for answer in answers
    )


def dates() -> dict[str, Any]:
    first = clock.today() + timedelta(days=1)
    return {"from_on": str(first), "until_on": str(first + timedelta(days=60)), "follows_calendar": False}


async def publish(hospital: Hospital, id: uuid.UUID, version: int) -> None:
    async with db.begin() as session:
        await schedules.publish(session, hospital.actor, id=id, version=version)


async def test_two_publishers_make_every_slot_once() -> None:
    async with db.begin() as session:
        hospital = await made.clinic(session)
        row = await timed.schedule(session, hospital.actor, hospital.clinic, **dates())
    said = await outcomes(*(publish(hospital, row.id, 1) for _ in range(4)))
    assert said == {"done": 1, "stale-version": 3}
    async with db.begin() as session:
        times = Counter(slot.starts_at for slot in await timed.slots(session, row))
        assert len(times) > 60
        assert set(times.values()) == {1}


async def test_two_schedules_of_one_room_never_overlap() -> None:
    """Whichever commits first has the room; the other is refused, and published again it says where they meet."""
    async with db.begin() as session:
        hospital = await made.clinic(session)
        room = await timed.room(session, hospital.actor, hospital.clinic)
        lines = [LINE | {"room_id": room.id}, LINE | {"room_id": room.id, "weekday": 2, "minutes": 45}]
        rows = [
            await timed.schedule(session, hospital.actor, hospital.clinic, **dates(), lines=lines)
            for _ in range(2)
        ]
    said = await outcomes(*(publish(hospital, row.id, 1) for row in rows))
    assert said["done"] >= 1
    assert set(said) <= {"done", "room-taken", "slot-exists", "unavailable"}
    async with db.begin() as session:
        for row in rows:
            version = (await schedules.get(session, hospital.actor, id=row.id)).version
            outcome = await schedules.publish(session, hospital.actor, id=row.id, version=version)
        # Both are published now: whoever came second has slots only where the first had none.
        assert outcome.conflict_number or await timed.slots(session, row)
        await no_overlap(session)


async def no_overlap(session: Any) -> None:
    overlapping = text(
        "SELECT count(*) FROM slot a JOIN slot b ON a.room_id = b.room_id AND a.id < b.id "
        "AND tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)"
    )
    assert await session.scalar(overlapping) == 0
    assert await session.scalar(select(func.count()).select_from(Slot)) > 0


async def test_ten_who_want_a_room_at_once_share_it_in_time() -> None:
    async with db.begin() as session:
        hospital = await made.clinic(session)
        room = await timed.room(session, hospital.actor, hospital.clinic)
    start = clock.now() + timedelta(days=2)

    async def one(number: int) -> None:
        starts = start + timedelta(minutes=number * 7)
        new = NewSlot(
            clinic_id=hospital.clinic.id, service_code=made.PRE_PREGNANCY, starts_at=starts,
            ends_at=starts + timedelta(hours=1), capacity=1, opens_at=clock.now(), room_id=room.id,
        )  # fmt: skip
        async with db.begin() as session:
            await slots.publish(session, hospital.actor, key=Key(new_id(), b""), new=new)

    said = await outcomes(*(one(number) for number in range(10)))
    assert said["done"] in {1, 2}
    # Two that wait for each other's row are told apart by the database.
    assert set(said) <= {"done", "room-taken", "unavailable"}
    async with db.begin() as session:
        await no_overlap(session)


async def test_capacity_lowered_against_bookings_in_flight_is_never_less_than_booked() -> None:
    async with db.begin() as session:
        hospital, service = await made.clinic(session), await made.service(session)
        families = [await made.couple(session) for _ in range(PLACES)]
        for family in families:
            await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
        slot = await made.slot(session, place=hospital.clinic, service=service, capacity=PLACES)

    async def book(number: int) -> None:
        actor = families[number].wife_actor
        await bookings.book(actor, key=Key(new_id(), b""), slot_id=slot.id)

    async def lower(to: int) -> None:
        async with db.begin() as session:
            row = await session.get_one(Slot, slot.id)
            new = ChangeSlot(version=row.version, capacity=to)
            await slot_changes.change(session, hospital.actor, id=slot.id, new=new)

    calls = [call for number in range(PLACES) for call in (book(number), lower(PLACES - number - 1 or 1))]
    said = await outcomes(*calls)
    assert set(said) <= {"done", "slot-full", "capacity-below-booked", "stale-version"}
    async with db.begin() as session:
        row = await session.get_one(Slot, slot.id)
        active = select(func.count()).where(
            Appointment.slot_id == slot.id, Appointment.status == AppointmentStatus.BOOKED
        )
        assert row.booked == await session.scalar(active)
        assert 0 < row.booked <= row.capacity


async def test_a_booking_against_a_change_of_template_keeps_its_slot_or_fails_whole() -> None:
    async with db.begin() as session:
        hospital, service = await made.clinic(session), await made.service(session)
        family = await made.couple(session)
        await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
        row = await timed.schedule(
            session, hospital.actor, hospital.clinic, **dates(), days_ahead=180, release_time="00:00"
        )
        outcome = await schedules.publish(session, hospital.actor, id=row.id, version=1)
        version = (await schedules.revise(
            session, hospital.actor, id=row.id, version=outcome.schedule.version,
            new=timed.template(**dates(), lines=[LINE | {"begins": "13:00", "ends": "14:00"}]),
        )).version  # fmt: skip
        target = (await timed.slots(session, row))[0].id

    async def book() -> None:
        await bookings.book(family.wife_actor, key=Key(new_id(), b""), slot_id=target)

    said = await outcomes(book(), publish(hospital, row.id, version))
    assert said["done"] >= 1
    async with db.begin() as session:
        booked = await session.scalar(select(Appointment.slot_id).where(Appointment.slot_id == target))
        slot = await session.scalar(select(Slot).where(Slot.id == target))
        if booked is None:
            assert slot is None, "withdrawn, and nobody had booked it"
        else:
            assert slot is not None
            assert (slot.booked, slot.status) == (1, SlotStatus.CLOSED)
