"""Slots changed by hand: while people book, with what it was, never below what is booked."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.models.appointments import Slot, SlotEvent, SlotStatus
from app.services.appointments import slot_changes, slots, waitlist
from app.services.appointments.slot_changes import AlreadyReleased, CapacityBelowBooked, ChangeSlot
from app.services.appointments.slots import NewSlot, PractitionerTaken, RoomTaken
from tests.explain import Explain
from tests.factories import appointments as made
from tests.factories import schedules as timed
from tests.factories.appointments import Hospital


@pytest.fixture
async def hospital(session: AsyncSession) -> Hospital:
    return await made.clinic(session)


async def a_slot(session: AsyncSession, hospital: Hospital, **values: Any) -> Slot:
    service = await made.service(session)
    return await made.slot(session, place=hospital.clinic, service=service, **values)


async def change(session: AsyncSession, hospital: Hospital, slot: Slot, **values: Any) -> Slot:
    new = ChangeSlot.model_validate({"version": slot.version} | values)
    return await slot_changes.change(session, hospital.actor, id=slot.id, new=new)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The slots whose free places went to those who wait."""
    asked: list[Any] = []

    async def offer(db: AsyncSession, actor: Any, slot_id: Any) -> int:
        asked.append(slot_id)
        return 0

    monkeypatch.setattr(waitlist, "offer_free", offer)
    return asked


async def test_capacity_changes_while_booked_but_not_below(
    session: AsyncSession, hospital: Hospital, offered: list[Any]
) -> None:
    slot = await a_slot(session, hospital, capacity=5)
    await session.execute(update(Slot).where(Slot.id == slot.id).values(booked=4))
    with pytest.raises(CapacityBelowBooked) as refused:
        await change(session, hospital, slot, capacity=3)
    assert refused.value.extensions == {"booked": 4}
    assert (await change(session, hospital, slot, capacity=4)).version == 2
    assert offered == [], "nothing is free"
    changed = await change(session, hospital, slot, capacity=9)
    assert (changed.capacity, changed.booked, changed.version, offered) == (9, 4, 3, [slot.id])


async def test_places_of_a_slot_not_yet_released_are_offered_to_nobody(
    session: AsyncSession, hospital: Hospital, offered: list[Any]
) -> None:
    slot = await a_slot(session, hospital, opens_at=clock.now() + timedelta(hours=1))
    await change(session, hospital, slot, capacity=99)
    assert offered == []


async def test_each_change_leaves_what_it_was(session: AsyncSession, hospital: Hospital) -> None:
    slot = await a_slot(session, hospital, capacity=5)
    room = await timed.room(session, hospital.actor, hospital.clinic)
    slot = await change(session, hospital, slot, capacity=6, room_id=room.id)
    slot = await change(session, hospital, slot, room_id=None, capacity=6)
    closed = await slot_changes.close(session, hospital.actor, id=slot.id)
    assert (closed.status, closed.version) == (SlotStatus.CLOSED, 4)
    again = await slot_changes.close(session, hospital.actor, id=slot.id)
    assert again.version == 4, "closing a closed one changes nothing"
    seen = await slot_changes.history(session, hospital.actor, id=slot.id, before=None, limit=9)
    assert {(one.field, one.old, one.new) for one in seen} == {
        ("capacity", "5", "6"), ("room_id", None, str(room.id)), ("room_id", str(room.id), None),
        ("status", "open", "closed"),
    }  # fmt: skip
    assert {(one.actor_role, one.actor_id) for one in seen} == {("partner", hospital.organization.id)}
    older = await slot_changes.history(session, hospital.actor, id=slot.id, before=seen[1].id, limit=9)
    assert older == seen[2:]


async def test_a_closed_slot_opens_again_for_those_who_wait(
    session: AsyncSession, hospital: Hospital, offered: list[Any]
) -> None:
    slot = await a_slot(session, hospital)
    await slot_changes.close(session, hospital.actor, id=slot.id)
    opened = await slot_changes.reopen(session, hospital.actor, id=slot.id)
    assert (opened.status, offered) == (SlotStatus.OPEN, [slot.id])
    for status, starts_at in ((SlotStatus.CANCELLED, slot.starts_at), (SlotStatus.CLOSED, clock.now())):
        values = {"status": status, "starts_at": starts_at}
        await session.execute(update(Slot).where(Slot.id == slot.id).values(**values))
        await session.refresh(slot)
        with pytest.raises(WrongState):
            await slot_changes.reopen(session, hospital.actor, id=slot.id)


async def test_the_release_can_change_until_it_has_come(session: AsyncSession, hospital: Hospital) -> None:
    soon = clock.now() + timedelta(hours=1)
    slot = await a_slot(session, hospital, opens_at=soon)
    with pytest.raises(Invalid):
        await change(session, hospital, slot, opens_at=slot.starts_at)
    slot = await change(session, hospital, slot, opens_at=clock.now() - timedelta(seconds=1))
    with pytest.raises(AlreadyReleased):
        await change(session, hospital, slot, opens_at=soon)


async def test_a_stale_or_empty_or_foreign_change_is_refused(
    session: AsyncSession, hospital: Hospital
) -> None:
    slot = await a_slot(session, hospital)
    with pytest.raises(StaleVersion):
        await change(session, hospital, slot, version=2, capacity=3)
    with pytest.raises(Invalid):
        await change(session, hospital, slot, capacity=None)
    with pytest.raises(NotFound):
        await change(session, await made.clinic(session), slot, capacity=3)
    await session.execute(update(Slot).where(Slot.id == slot.id).values(status=SlotStatus.CANCELLED))
    await session.refresh(slot)
    with pytest.raises(WrongState):
        await change(session, hospital, slot, version=1, capacity=3)
    assert await session.scalar(select(SlotEvent.id).where(SlotEvent.slot_id == slot.id)) is None


async def test_a_room_or_practitioner_has_one_slot_at_a_time_and_the_refusal_names_it(
    session: AsyncSession, hospital: Hospital
) -> None:
    actor, clinic = hospital.actor, hospital.clinic
    room, doctor = await timed.room(session, actor, clinic), await timed.practitioner(session, actor, clinic)
    starts = clock.now().replace(microsecond=0) + timedelta(days=3)
    times = {
        "clinic_id": clinic.id,
        "service_code": made.PRE_PREGNANCY,
        "capacity": 1,
        "opens_at": clock.now(),
    }
    places = {"room_id": room.id, "practitioner_id": doctor.id}
    hour = timedelta(hours=1)
    first = await slots.publish(
        session, actor, key=timed.key(),
        new=NewSlot(**times, **places, starts_at=starts, ends_at=starts + hour),
    )  # fmt: skip
    for taken, place in (
        (RoomTaken, {"room_id": room.id}),
        (PractitionerTaken, {"practitioner_id": doctor.id}),
    ):
        late = starts + timedelta(minutes=59)
        new = NewSlot(**times, **place, starts_at=late, ends_at=late + hour)
        with pytest.raises(taken) as refused:
            await slots.publish(session, actor, key=timed.key(), new=new)
        shown = {
            "id": str(first.id),
            "starts_at": first.starts_at.isoformat(),
            "ends_at": first.ends_at.isoformat(),
        }
        assert refused.value.extensions == {"slot": shown}
    other = NewSlot(**times, starts_at=starts, ends_at=starts + hour)  # in no room, with nobody
    second = await slots.publish(session, actor, key=timed.key(), new=other)
    with pytest.raises(RoomTaken):
        await change(session, hospital, second, room_id=room.id)
    after = NewSlot(**times, **places, starts_at=starts + hour, ends_at=starts + 2 * hour)
    await slots.publish(session, actor, key=timed.key(), new=after)
    await session.execute(update(Slot).where(Slot.id == first.id).values(status=SlotStatus.CANCELLED))
    assert (await change(session, hospital, second, room_id=room.id)).room_id == room.id


async def test_residents_see_who_gives_the_service_and_when_it_opens(
    session: AsyncSession, hospital: Hospital
) -> None:
    doctor = await timed.practitioner(session, hospital.actor, hospital.clinic)
    opens_at = clock.now() + timedelta(hours=5)
    slot = await a_slot(session, hospital, opens_at=opens_at)
    await change(session, hospital, slot, practitioner_id=doctor.id)
    family = await made.couple(session)
    found = await slots.search(
        session, family.wife_actor, service_code=made.PRE_PREGNANCY, on=None, region_code=made.COUNTY,
        after=None, limit=9,
    )  # fmt: skip
    [seen] = [row for row in found if row.id == slot.id]
    assert (seen.practitioner_name, seen.practitioner_title) == ("赵敏", "主任医师")
    assert (seen.room_name, seen.opens_at) == (None, opens_at)


async def test_a_day_s_list_reads_the_day_only(session: AsyncSession, hospital: Hospital) -> None:
    """Among 40,000 slots of a year."""
    await session.execute(
        text(
            "INSERT INTO slot (id, clinic_id, service_id, starts_at, ends_at, capacity, opens_at, status, created_at) "
            "SELECT gen_random_uuid(), :clinic, :service, at, at + interval '10 minutes', 5, now(), 'open', now() "
            "FROM generate_series(now(), now() + interval '280 days', interval '10 minutes') AS at"
        ),
        {"clinic": hospital.clinic.id, "service": (await made.service(session)).id},
    )
    await session.execute(text("ANALYZE slot"))
    start, end = slots.day(clock.today() + timedelta(days=100))
    worker = await made.worker(session)
    for actor in (hospital.actor, worker):
        query = select(Slot).where(slots.visible(actor, Slot), Slot.starts_at >= start, Slot.starts_at < end)
        plan = "\n".join(await session.scalars(Explain(query.order_by(Slot.starts_at, Slot.id).limit(21))))
        assert "Index Scan using ix_slot_starts_at" in plan, plan
