"""Bookings that meet in one process go together: each has its own outcome, and one bad one spoils nothing."""

import asyncio
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, Qualification, Slot
from app.models.audit import AuditEvent, IdempotencyKey
from app.services.appointments import bookings, grouping
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.waiting import Place, settled
from tests.races.test_booking_races import outcomes

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many went in each round trip."""
    seen: list[int] = []
    ask = grouping._ask

    async def counted(group: Any) -> Any:
        seen.append(len(group))
        return await ask(group)

    monkeypatch.setattr(grouping, "_ask", counted)
    return seen


async def book(actor: Actor, slot_id: uuid.UUID, key: Key | None = None) -> Any:
    return await bookings.book(actor, key=key or Key(new_id(), b"fingerprint"), slot_id=slot_id)


async def a_place(couples: int, *capacities: int) -> tuple[Place, list[Any], list[uuid.UUID]]:
    async with db.begin() as session:
        where = Place(await appointments.clinic(session), await appointments.service(session))
        families = await settled(session, where, couples)
        slots = [(await where.slot(session, hour, capacity=one)).id for hour, one in enumerate(capacities)]
    return where, families, slots


async def test_in_one_group_each_has_its_own_outcome(sizes: list[int]) -> None:
    where, families, [slot, small, elsewhere] = await a_place(8, 10, 1, 1)
    async with db.begin() as session:
        draft = await where.slot(session, 5, capacity=3, opens_at=clock.now() + timedelta(hours=1))
    twice = Key(new_id(), b"fingerprint")
    wives = [one.wife_actor for one in families]
    said = await outcomes(
        book(wives[0], elsewhere),  # alone and first: the others gather meanwhile
        book(wives[1], slot), book(families[1].husband_actor, slot), book(wives[2], draft.id),
        book(wives[3], new_id()), book(wives[4], small), book(wives[5], small), book(wives[6], elsewhere),
        book(wives[7], slot, twice), book(wives[7], slot, twice),
    )  # fmt: skip
    assert sizes[:2] == [1, 9]
    assert said[0] == said[5] == said[8] == said[9] == "done"
    assert sorted(said[1:3]) == ["already-booked", "done"]
    assert said[3:5] == ["slot-not-open-yet", "not-found"]
    assert said[6:8] == ["slot-full", "slot-full"]
    await check(booked=4)


async def check(booked: int) -> None:
    """What is there is complete, and what was refused has left nothing."""
    async with db.begin() as session:
        for table in (Appointment, AppointmentEvent, IdempotencyKey):
            assert await session.scalar(select(func.count()).select_from(table)) == booked
        trail = select(func.count()).select_from(AuditEvent).filter_by(action="book")
        assert await session.scalar(trail) == 2 * booked
        assert await session.scalar(select(func.sum(Slot.booked))) == booked


async def test_where_the_whole_group_fails_each_is_asked_alone(sizes: list[int]) -> None:
    """One is elsewhere at that time."""
    where, families, [first, slot] = await a_place(6, 1, 10)
    async with db.begin() as session:
        other = await appointments.service(session, "fertility_assessment")
        same = (await session.get_one(Slot, slot)).starts_at
        lecture = await appointments.slot(session, place=where.hospital.clinic, service=other, starts_at=same)
        rows = select(Qualification).filter_by(person_id=families[1].wife.id)
        mine = (await session.scalars(rows)).one()
        session.add(
            Appointment(
                id=new_id(), slot_id=lecture.id, clinic_id=lecture.clinic_id, service_id=other.id,
                subject_id=mine.subject_id, person_id=mine.person_id, spouse_id=mine.spouse_id, cycle="x",
                region_code=mine.region_code, code="ELSEWHERE0", starts_at=same, ends_at=lecture.ends_at,
                status="booked", created_at=clock.now(),
            )
        )  # fmt: skip
    said = await outcomes(
        book(families[0].wife_actor, first), *(book(one.wife_actor, slot) for one in families[1:])
    )
    assert said == ["done", "overlapping-appointment", "done", "done", "done", "done"]
    assert sizes == [1, 5, 1, 1, 1, 1, 1]


async def test_who_goes_away_in_the_line_keeps_nobody_waiting(sizes: list[int]) -> None:
    _, families, [first, slot] = await a_place(4, 1, 10)
    tasks = [
        asyncio.create_task(book(one.wife_actor, at))
        for one, at in zip(families, (first, slot, slot, slot), strict=True)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert Counter(type(answer).__name__ for answer in answers) == {"Row": 3, "CancelledError": 1}
    assert sizes == [1, 2]
