"""Closures of many days, of events of which one may have booked several, and of dates of a course."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, SlotEvent
from app.models.closures import ClosureMove
from app.models.waitlist import WaitlistEntry
from app.services import eligibility
from app.services.appointments import bookings, closures, courses, offers, slots
from app.services.appointments.closures import NewClosure
from app.services.idempotency import Key
from app.services.schedules import publishing
from tests.factories import appointments, schedules
from tests.factories.waiting import Place, at, book, full, held, join, place, settled, told


async def close(session: AsyncSession, where: Place, until: int) -> dict[str, Any]:
    new = NewClosure(clinic_id=where.hospital.clinic.id, from_at=at(0), to_at=at(until), reason="utilities")
    report = await closures.close(session, where.hospital.actor, key=Key(new_id(), b"fingerprint"), new=new)
    await session.commit()
    return report


async def test_who_had_a_later_day_is_not_left_out_because_of_enough_places_before_it(
    session: AsyncSession,
) -> None:
    where = await place(session)
    near = (await appointments.clinic(session)).clinic
    first, last = await where.slot(session, 0), await where.slot(session, 24 * 10)
    for hour in (2, 3):
        await where.slot(session, hour, capacity=9, clinic=near)
    beyond = await where.slot(session, 24 * 12, clinic=near)
    early, late = await settled(session, where, 2)
    await session.commit()
    for family, slot in ((early, first), (late, last)):
        await book(family.wife_actor, slot.id)
    report = await close(session, where, 24 * 11)
    assert (report["affected"], report["offered"], report["without"]) == (2, 2, 0)
    theirs = select(Appointment.slot_id).filter_by(subject_id=late.couple.id, status=AppointmentStatus.HELD)
    assert (await session.scalars(theirs)).one() == beyond.id


async def test_who_waits_there_already_may_go_on_as_long_as_before(session: AsyncSession) -> None:
    where, _, _, _ = await full(session, 1)
    [family] = await settled(session, where, 1)
    await session.commit()
    id = await join(family.wife_actor, where, days=150)
    slot = await where.slot(session, 1)
    await session.commit()
    await book(family.wife_actor, slot.id)
    assert (await close(session, where, 2))["waiting"] == 2
    one = await session.get_one(WaitlistEntry, id, populate_existing=True)
    assert (one.priority, one.to_on) == (0, clock.today() + timedelta(days=150))


async def test_who_had_booked_two_lectures_waits_once_and_is_told_of_each(session: AsyncSession) -> None:
    where = Place(await appointments.clinic(session), await appointments.service(session, "health_lecture"))
    early, late = [await where.slot(session, hour, capacity=5) for hour in (0, 2)]
    family, other = await appointments.couple(session), await appointments.couple(session)
    for one in (family, other):
        await eligibility.settle(session, one.wife_actor, service=where.service, person_id=one.wife.id)
    await session.commit()
    for one, slot in ((family, early), (other, early), (family, late)):
        await book(one.wife_actor, slot.id)
    report = await close(session, where, 4)
    assert (report["affected"], report["without"], report["waiting"]) == (3, 3, 3)
    line = select(WaitlistEntry.person_id).order_by(WaitlistEntry.priority, WaitlistEntry.number)
    assert list(await session.scalars(line)) == [family.wife.id, other.wife.id]
    assert await told(family.wife.id) == ["closed_none_free"] * 2
    entries = set(await session.scalars(select(ClosureMove.waitlist_entry_id)))
    assert len(entries) == 2
    assert None not in entries


async def test_a_time_that_is_not_released_yet_is_another_time_too(session: AsyncSession) -> None:
    where = await place(session)
    slot = await where.slot(session, 0)
    tomorrow = clock.now() + timedelta(days=1)
    unreleased = await where.slot(session, 24, opens_at=tomorrow)
    family, newcomer = await settled(session, where, 2)
    await session.commit()
    await book(family.wife_actor, slot.id)
    await close(session, where, 1)
    [offer] = await held(unreleased.id)
    accepted = await offers.accept(session, family.wife_actor, id=offer.id)
    assert (accepted.status, accepted.slot_id) == (AppointmentStatus.BOOKED, unreleased.id)
    await session.commit()
    with pytest.raises(bookings.SlotNotOpenYet):
        await book(newcomer.wife_actor, unreleased.id)


async def test_a_closed_slot_says_who_closed_it(session: AsyncSession) -> None:
    where = await place(session)
    slot = await where.slot(session, 0)
    await session.commit()
    await close(session, where, 1)
    [change] = await session.scalars(select(SlotEvent).filter_by(slot_id=slot.id))
    seen: tuple[str, str | None, str | None, uuid.UUID | None] = (
        change.field, change.old, change.new, change.actor_id,
    )  # fmt: skip
    assert seen == ("status", "open", "cancelled", where.hospital.organization.id)
    assert (await session.refresh(slot), slot.version)[1] == 2


async def test_what_the_night_adds_to_a_schedule_leaves_out_what_is_closed(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed before its slots were made; of the other day another service is."""
    where = await place(session)
    today = clock.today()
    daily = {
        "from_on": today, "until_on": None, "follows_calendar": False,
        "lines": [schedules.LINE | {"weekday": weekday} for weekday in range(1, 8)],
    }  # fmt: skip
    row = await schedules.schedule(session, where.hospital.actor, where.hospital.clinic, **daily)
    await publishing.publish(session, where.hospital.actor, id=row.id, version=row.version)
    shut, open_still = today + timedelta(days=16), today + timedelta(days=17)
    for day, service_code in ((shut, None), (open_still, appointments.FERTILITY)):
        from_at, to_at = slots.day(day)
        new = NewClosure(
            clinic_id=where.hospital.clinic.id, from_at=from_at, to_at=to_at, reason="other", service_code=service_code
        )  # fmt: skip
        await closures.close(session, where.hospital.actor, key=Key(new_id(), b"x"), new=new)
    await session.commit()
    later = clock.now() + timedelta(days=5)
    monkeypatch.setattr("app.clock.now", lambda: later)
    await publishing.extend_all()
    made = {slot.starts_at.astimezone(clock.SHANGHAI).date() for slot in await schedules.slots(session, row)}
    expected = {today + timedelta(days=n) for n in range(1, 20)} - {shut}
    assert made - {today} == expected


async def test_the_dates_of_a_course_stay_in_order(session: AsyncSession) -> None:
    treatment = await appointments.service(session, "reproductive_health_treatment")
    treatment.sessions = 2
    where = Place(await appointments.clinic(session), treatment)
    dates = [await where.slot(session, hour, capacity=2) for hour in (0, 30)]
    between, _after = await where.slot(session, 20), await where.slot(session, 50, capacity=2)
    families = [await appointments.couple(session) for _ in range(2)]
    new = courses.NewCourse(slot_ids=[slot.id for slot in dates])
    for one in families:
        await courses.book(session, one.wife_actor, key=Key(new_id(), b"course"), new=new)
    await session.commit()
    report = await close(session, where, until=2)
    assert (report["affected"], report["offered"], report["without"]) == (2, 1, 1)
    [offer] = await held(between.id)
    assert (offer.person_id, offer.session) == (families[0].wife.id, 1)
