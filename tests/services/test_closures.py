"""A closed morning: everyone affected is offered another time, once, in the order in which they had booked."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.errors import Invalid, NotFound
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentStatus,
    Clinic,
    Origin,
    Slot,
    SlotStatus,
)
from app.models.closures import Closure, ClosureStatus
from app.models.messages import InboxMessage
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services.appointments import bookings, closures, entries, offers, redistribution
from app.services.appointments.closures import NewClosure, Window
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Spouses
from tests.factories.waiting import Place, at, book, cancel, full, held, join, place, settled, told

S, W = AppointmentStatus, WaitlistStatus


def morning(where: Place, **more: Any) -> NewClosure:
    window = {"from_at": at(0), "to_at": at(2), "reason": "equipment", **more}
    return NewClosure(clinic_id=where.hospital.clinic.id, **window)


async def close(session: AsyncSession, where: Place, key: Key | None = None, **more: Any) -> dict[str, Any]:
    key = key or Key(new_id(), b"fingerprint")
    report = await closures.close(session, where.hospital.actor, key=key, new=morning(where, **more))
    await session.commit()
    return report


async def consistent(session: AsyncSession) -> None:
    """Of every slot as many places are taken as appointments have."""
    seated = Appointment.status.in_([S.HELD, S.BOOKED, S.ARRIVED, S.FULFILLED, S.NO_SHOW])
    taken = select(func.coalesce(func.sum(Appointment.places), 0)).where(
        Appointment.slot_id == Slot.id, seated
    )
    wrong = select(Slot.id).where(Slot.booked != taken.scalar_subquery())
    assert list(await session.scalars(wrong)) == []


async def a_morning(
    session: AsyncSession, count: int
) -> tuple[Place, list[Slot], list[Spouses], list[uuid.UUID]]:
    """Two slots at 8 and 9 with `count` couples, booked in this order, alternately."""
    where = await place(session)
    slots = [await where.slot(session, hour, capacity=count) for hour in (0, 1)]
    families = await settled(session, where, count)
    await session.commit()
    rows = [(await book(one.wife_actor, slots[n % 2].id)).id for n, one in enumerate(families)]
    return where, slots, families, rows


async def theirs(session: AsyncSession, family: Spouses, status: S) -> Appointment:
    query = select(Appointment).filter_by(subject_id=family.couple.id, status=status)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def test_everyone_is_offered_the_nearest_time_in_the_order_of_booking(session: AsyncSession) -> None:
    where, slots, families, rows = await a_morning(session, 5)
    near = await appointments.clinic(session)
    before, noon, later = (
        await where.slot(session, -24, capacity=9), await where.slot(session, 5, capacity=1),
        await where.slot(session, 30, capacity=1),
    )  # fmt: skip
    there = await where.slot(session, 3, capacity=1, clinic=near.clinic)
    sister = Clinic(
        id=new_id(), organization_id=where.hospital.organization.id, region_code=appointments.COUNTY, name="二院区",
        address="解放东街2号", phone="0951-1234568", created_at=clock.now(),
    )  # fmt: skip
    session.add(sister)
    same_hospital = await where.slot(session, 26, capacity=1, clinic=sister)
    far = await appointments.clinic(session, "640105000000")
    await where.slot(session, 4, capacity=9, clinic=far.clinic)
    await session.commit()
    report = await close(session, where)
    query = select(Appointment.slot_id)
    offered = [
        await session.scalar(query.filter_by(subject_id=one.couple.id, status=S.HELD)) for one in families
    ]
    assert offered == [noon.id, later.id, same_hospital.id, there.id, None]
    names = ("slots", "affected", "offered", "unanswered", "without", "waiting", "remaining")
    assert [report[name] for name in names] == [2, 5, 4, 4, 1, 1, 0]
    assert report["status"] is ClosureStatus.DONE
    for n, one in enumerate(families):
        kind = "closed_another_offered" if n < 4 else "closed_none_free"
        assert await told(one.wife.id) == await told(one.husband.id) == [kind]
    hold = await theirs(session, families[0], S.HELD)
    assert hold.origin is Origin.CLOSURE
    assert hold.hold_expires_at == hold.starts_at - timedelta(hours=2) or (
        hold.hold_expires_at - clock.now() > timedelta(hours=71)
    )
    for slot in slots:
        await session.refresh(slot)
        assert (slot.status, slot.booked) == (SlotStatus.CANCELLED, 0)
    events = select(AppointmentEvent.reason).filter_by(appointment_id=rows[0]).order_by(AppointmentEvent.id)
    assert list(await session.scalars(events)) == [None, "closure: equipment"]
    assert (await session.get_one(Slot, before.id, populate_existing=True)).booked == 0
    await consistent(session)


async def test_whoever_found_nothing_is_the_first_in_line(session: AsyncSession) -> None:
    where, _, families, _ = await a_morning(session, 2)
    other, slot = (await settled(session, where, 1))[0], await where.slot(session, 30, capacity=1)
    [taker] = await settled(session, where, 1)
    await session.commit()
    taken = await book(taker.wife_actor, slot.id)
    await session.execute(update(Slot).where(Slot.starts_at < at(2)).values(capacity=1))  # full
    await session.commit()
    await join(other.wife_actor, where)
    report = await close(session, where)
    assert (report["offered"], report["waiting"]) == (0, 2)
    places = [
        (await entries.mine(session, one.wife_actor, before=None, limit=1))[0]["ahead"]
        for one in (*families, other)
    ]
    assert places == [0, 1, 2]
    await cancel(taker.wife_actor, taken.id)
    [offer] = await held(slot.id)
    assert offer.subject_id == families[0].couple.id


async def test_the_answers_to_a_closure_are_counted_and_declined_places_go_on(session: AsyncSession) -> None:
    where, _, families, _ = await a_morning(session, 3)
    for hour in (24, 25, 26):
        await where.slot(session, hour)
    key = Key(new_id(), b"fingerprint")
    await close(session, where, key)
    first, second, third = [await theirs(session, one, S.HELD) for one in families]
    await offers.accept(session, families[0].wife_actor, id=first.id)
    await offers.decline(session, families[1].wife_actor, id=second.id)
    over = {"hold_expires_at": clock.now() - timedelta(seconds=1)}
    await session.execute(update(Appointment).where(Appointment.id == third.id).values(over))
    await session.commit()
    assert await offers.expire_due() == 1
    report = await closures.report(session, where.hospital.actor, id=key.id)
    counts = {
        name: report[name]
        for name in ("affected", "offered", "accepted", "declined", "expired", "unanswered", "without")
    }
    assert counts == {
        "affected": 3, "offered": 3, "accepted": 1, "declined": 1, "expired": 1, "unanswered": 0, "without": 0,
    }  # fmt: skip
    # The same request again is the same closure, and tells nobody twice.
    told_before = await session.scalar(select(func.count()).select_from(InboxMessage))
    again = await close(session, where, key)
    assert again == report
    assert await session.scalar(select(func.count()).select_from(InboxMessage)) == told_before
    await consistent(session)


async def test_who_has_arrived_stays_and_who_waits_keeps_the_place_in_line(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    first, second = await settled(session, where, 2)
    await session.commit()
    for one in (first, second):
        await join(one.wife_actor, where)
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    came = await appointments.attended(session, status=S.ARRIVED, hospital=where.hospital)
    there = {"slot_id": slot.id, "starts_at": slot.starts_at, "ends_at": slot.ends_at}
    await session.execute(update(Appointment).where(Appointment.id == came.appointment.id).values(there))
    await session.execute(update(Slot).where(Slot.id == slot.id).values(capacity=2, booked=2))
    await session.execute(update(Slot).where(Slot.id == came.slot.id).values(booked=0))
    await session.commit()
    window = Window(clinic_id=where.hospital.clinic.id, from_at=at(0), to_at=at(1))
    seen = await closures.preview(session, where.hospital.actor, window=window)
    assert seen == {"slots": 1, "appointments": 0, "held": 1, "arrived": 1}
    report = await close(session, where)
    assert (report["affected"], report["waiting"]) == (1, 1)
    assert (
        await session.get_one(Appointment, came.appointment.id, populate_existing=True)
    ).status is S.ARRIVED
    [entry] = await entries.mine(session, first.wife_actor, before=None, limit=5)
    assert (entry["status"], entry["ahead"]) == (W.WAITING, 0)
    assert (await session.get_one(Appointment, offer.id, populate_existing=True)).status is S.CANCELLED
    assert await told(first.wife.id) == ["place_offered", "closed_none_free"]
    [entry] = await entries.mine(session, second.wife_actor, before=None, limit=5)
    assert (entry["status"], entry["ahead"]) == (W.WAITING, 1)
    await session.execute(
        update(Appointment).where(Appointment.id == came.appointment.id).values(status=S.FULFILLED)
    )
    await consistent(session)


async def test_nobody_is_offered_a_time_at_which_they_are_elsewhere(session: AsyncSession) -> None:
    where, _, [family], _ = await a_morning(session, 1)
    *clashes, fits = [await where.slot(session, hour) for hour in (24, 25, 26, 27, 29)]
    elsewhere = await appointments.attended(
        session, service_code=appointments.FERTILITY, spouses=family, status=S.BOOKED
    )
    times = {"starts_at": clashes[0].starts_at, "ends_at": clashes[-1].ends_at}
    await session.execute(update(Appointment).where(Appointment.id == elsewhere.appointment.id).values(times))
    await session.commit()
    await close(session, where)
    assert (await theirs(session, family, S.HELD)).slot_id == fits.id


async def test_one_service_of_a_clinic_and_what_touches_the_window(session: AsyncSession) -> None:
    where, slots, _, _ = await a_morning(session, 2)
    other = Place(where.hospital, await appointments.service(session, appointments.FERTILITY))
    beside, after = await other.slot(session, 0), await where.slot(session, 2)
    report = await close(
        session, where, service_code=where.service.code, from_at=at(0) + timedelta(minutes=59)
    )
    assert report["slots"] == 2  # one touches it by a minute
    for slot in (beside, after):
        await session.refresh(slot)
        assert slot.status is SlotStatus.OPEN
    with pytest.raises(bookings.SlotClosed):
        await book((await settled(session, where, 1))[0].wife_actor, slots[0].id)


async def test_many_are_moved_by_a_job_that_goes_on_where_it_was(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, slots, families, _ = await a_morning(session, 5)
    evening = await where.slot(session, 30, capacity=4)
    monkeypatch.setattr(closures, "AT_ONCE", 4)
    monkeypatch.setattr(redistribution, "BATCH", 2)
    report = await close(session, where)
    assert (report["status"], report["affected"], report["remaining"]) == (ClosureStatus.CLOSING, 0, 5)
    with pytest.raises(bookings.SlotClosed):
        await book((await settled(session, where, 1))[0].wife_actor, slots[0].id)
    assert await closures.resume(session) == 1
    await session.commit()
    for _ in range(2):
        await closures.work(report["id"])
    await session.refresh(await session.get_one(Closure, report["id"]))
    report = await closures.report(session, where.hospital.actor, id=report["id"])
    assert (report["status"], report["affected"], report["offered"], report["remaining"]) == (
        ClosureStatus.DONE, 5, 4, 0,
    )  # fmt: skip
    assert {row.subject_id for row in await held(evening.id)} == {one.couple.id for one in families[:4]}
    await consistent(session)


async def test_who_may_close_what(session: AsyncSession) -> None:
    where, _, _, _ = await a_morning(session, 1)
    stranger = (await appointments.clinic(session)).actor
    key = Key(new_id(), b"fingerprint")
    with pytest.raises(NotFound):
        await closures.close(session, stranger, key=key, new=morning(where))
    for wrong in ({"to_at": at(0)}, {"to_at": at(24 * 40)}, {"from_at": at(-200), "to_at": at(-100)}):
        with pytest.raises(Invalid):
            await closures.close(
                session, where.hospital.actor, key=Key(new_id(), b"x"), new=morning(where, **wrong)
            )
    report = await close(session, where)
    county = await appointments.worker(session)
    assert [row["id"] for row in await closures.recent(session, county, before=None, limit=5)] == [
        report["id"]
    ]
    far = await appointments.worker(session, "640105000000")
    for actor in (stranger, far):
        assert await closures.recent(session, actor, before=None, limit=5) == []
        with pytest.raises(NotFound):
            await closures.report(session, actor, id=report["id"])


async def test_who_waited_there_already_moves_to_the_front(session: AsyncSession) -> None:
    """In line before, and first in line by the closure: one entry."""
    where, _, [family], [_row] = await a_morning(session, 1)
    now = clock.now()
    session.add(
        WaitlistEntry(
            id=new_id(), clinic_id=where.hospital.clinic.id, service_id=where.service.id,
            subject_id=family.couple.id, person_id=family.wife.id, spouse_id=family.husband.id,
            region_code=appointments.REGION, from_on=clock.today(), to_on=clock.today(), places=1,
            status=W.WAITING, created_at=now, changed_at=now,
        )
    )  # fmt: skip
    await session.commit()
    await close(session, where)
    [entry] = await entries.mine(session, family.wife_actor, before=None, limit=5)
    assert entry["priority"] == 0
    assert entry["to_on"] > clock.today() + timedelta(days=80)


async def test_a_connection_that_was_used_for_long_puts_people_in_line_too(session: AsyncSession) -> None:
    """PostgreSQL plans a statement that it has seen often for any values."""
    where, *_ = await a_morning(session, 1)
    await session.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
    assert (await close(session, where))["waiting"] == 1
