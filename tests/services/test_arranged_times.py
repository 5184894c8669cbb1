"""Courses and other times that workers arrange, a date of a course booked anew, a held place taken at another time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.errors import Forbidden, Invalid, NotFound, WrongState
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentNote,
    AppointmentStatus,
    Clinic,
    Origin,
    Slot,
    SlotEvent,
)
from app.models.catalogue import HealthcareService
from app.models.consents import Consent
from app.models.households import Couple, Person
from app.models.identity import Role
from app.models.waitlist import WaitlistStatus
from app.services import eligibility
from app.services.appointments import arrangements, bookings, closures, courses, offers, rescheduling
from app.services.appointments.arrangements import ArrangedDate, NewArrangedCourse
from app.services.consents import ConsentRequired
from app.services.idempotency import Key
from tests.factories import appointments as made
from tests.factories.waiting import at, cancel, entry, full, held, join, settled, told

TREATMENT, CHECK = "reproductive_health_treatment", "pre_pregnancy_check"
S = AppointmentStatus


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def slots(
    session: AsyncSession, place: Clinic, count: int, code: str = TREATMENT, **more: Any
) -> list[Slot]:
    """Two hours apart, from three days ahead."""
    service = await made.service(session, code)
    rows = [
        await made.slot(session, place=place, service=service, starts_at=at(2 * number), **more)
        for number in range(count)
    ]
    await session.commit()
    return rows


def wanted(dates: Sequence[Slot], person: Person, **more: Any) -> NewArrangedCourse:
    ids = [slot.id for slot in dates]
    return NewArrangedCourse(slot_ids=ids, person_id=person.id, reason="no_phone", **more)


async def places(session: AsyncSession, dates: Sequence[Slot]) -> list[int]:
    found = dict((await session.execute(select(Slot.id, Slot.booked))).all())
    return [found[slot.id] for slot in dates]


async def course(session: AsyncSession, actor: Actor, dates: Sequence[Slot]) -> list[Appointment]:
    new = courses.NewCourse(slot_ids=[slot.id for slot in dates])
    rows = await courses.book(session, actor, key=key(), new=new)
    await session.commit()
    return rows


@pytest.fixture
async def family(session: AsyncSession) -> made.Spouses:
    return await made.couple(session)


@pytest.fixture
async def clinic(session: AsyncSession) -> Clinic:
    return (await made.clinic(session)).clinic


@pytest.fixture
async def worker(session: AsyncSession) -> Actor:
    return await made.worker(session, role=Role.VILLAGE_WORKER)


async def test_a_worker_books_a_course_for_a_resident_who_is_told_once(session, family, clinic, worker):
    dates, once = await slots(session, clinic, 5, capacity=1), key()
    new = wanted(dates, family.wife, note="本人来村委会要求代约")
    for _ in range(2):
        rows = await arrangements.arrange_course(session, worker, key=once, new=new)
    assert [(row.session, row.slot_id) for row in rows] == list(enumerate([one.id for one in dates], start=1))
    assert {(row.course_id, row.origin, row.account_id) for row in rows} == {(once.id, Origin.STAFF, None)}
    assert await places(session, dates) == [1] * 5
    assert await told(family.wife.id) == ["appointment_reminder"]
    events = list(await session.scalars(select(AppointmentEvent).order_by(AppointmentEvent.id)))
    assert [(one.reason, one.actor_id) for one in events] == [("no_phone", worker.id)] * 5
    assert (await session.scalars(select(AppointmentNote))).one().note == "本人来村委会要求代约"


async def test_a_course_beyond_the_capacity_or_the_rule_is_for_the_office(session, family, clinic, worker):
    dates = await slots(session, clinic, 5, capacity=1)
    dates[2].booked = 1
    await session.commit()
    with pytest.raises(bookings.SlotFull):
        async with session.begin_nested():
            await arrangements.arrange_course(session, worker, key=key(), new=wanted(dates, family.wife))
    new = wanted(dates, family.wife, beyond=True)
    with pytest.raises(Forbidden):
        await arrangements.arrange_course(session, worker, key=key(), new=new)
    office = await made.worker(session)
    await arrangements.arrange_course(session, office, key=key(), new=new)
    grown = (await session.scalars(select(SlotEvent))).one()
    assert (grown.slot_id, grown.old, grown.new) == (dates[2].id, "1", "2")
    assert await places(session, dates) == [1, 1, 2, 1, 1]


async def test_nobody_books_or_moves_for_somebody_of_another_region(session, family, clinic):
    dates = await slots(session, clinic, 6)
    stranger = await made.worker(session, "640105000000", Role.COUNTY_ADMINISTRATOR)
    with pytest.raises(NotFound):
        await arrangements.arrange_course(session, stranger, key=key(), new=wanted(dates[:5], family.wife))
    rows = await course(session, family.wife_actor, dates[:5])
    with pytest.raises(NotFound):
        await rescheduling.reschedule_for(
            session, stranger, id=rows[4].id, slot_id=dates[5].id, reason="other", note=None
        )


async def test_a_worker_moves_an_appointment_also_after_the_cut_off(session, family, clinic, worker):
    one, other = await slots(session, clinic, 2, CHECK, capacity=1)
    await session.execute(update(HealthcareService).values(cancel_hours=24 * 5))
    attended = await made.attended(session, status=S.BOOKED, spouses=family)
    row = attended.appointment
    row.slot_id, row.clinic_id, row.starts_at, row.ends_at = one.id, clinic.id, one.starts_at, one.ends_at
    one.booked = 1
    await session.commit()
    with pytest.raises(bookings.TooLateToChange):
        await rescheduling.reschedule(session, family.wife_actor, id=row.id, slot_id=other.id)
    why = {"reason": "medical_need", "note": "来电改约"}
    for _ in range(2):
        row = await rescheduling.reschedule_for(session, worker, id=row.id, slot_id=other.id, **why)
    assert (row.slot_id, row.starts_at, row.status) == (other.id, other.starts_at, S.BOOKED)
    assert await places(session, [one, other]) == [0, 1]
    for person in (family.wife, family.husband):
        assert await told(person.id) == ["appointment_moved"]
    event = (await session.scalars(select(AppointmentEvent).order_by(AppointmentEvent.id.desc()))).first()
    note = await session.get_one(AppointmentNote, event.note_id)
    assert (event.reason, event.slot_id, note.note) == ("medical_need", other.id, "来电改约")
    await session.execute(update(Appointment).values(status=S.ARRIVED))
    with pytest.raises(WrongState):
        await rescheduling.reschedule_for(session, worker, id=row.id, slot_id=one.id, **why)


async def test_a_cancelled_date_of_a_course_is_booked_anew_between_its_neighbours(session, family, clinic):
    *dates, before, after = await slots(session, clinic, 7, capacity=1)
    gap = await made.slot(
        session,
        place=clinic,
        service=await made.service(session, TREATMENT),
        capacity=1,
        starts_at=dates[1].ends_at,
    )
    rows = await course(session, family.wife_actor, [*dates])
    again = key()

    async def anew(slot: Slot, number: int = 2, once: Key | None = None) -> Appointment:
        new = courses.NewDate(session=number, slot_id=slot.id)
        async with session.begin_nested():
            return await courses.book_again(
                session, family.wife_actor, key=once or key(), id=rows[0].course_id, new=new
            )

    with pytest.raises(WrongState):
        await anew(gap)
    await cancel(family.wife_actor, rows[1].id)
    with pytest.raises(rescheduling.OutOfOrder):
        await anew(after)
    with pytest.raises(Invalid):
        await anew(gap, 6)
    elsewhere = (await slots(session, (await made.clinic(session)).clinic, 2))[1]
    with pytest.raises(Invalid):
        await anew(elsewhere)
    row = await anew(gap, once=again)
    assert (await anew(gap, once=again)).id == row.id == again.id
    assert (row.session, row.course_id, row.cycle, row.code != rows[1].code) == (
        2, rows[0].course_id, rows[0].cycle, True,
    )  # fmt: skip
    assert await places(session, [dates[1], gap]) == [0, 1]
    with pytest.raises(WrongState):
        await anew(dates[1])
    assert before.booked == 0


async def test_of_a_course_of_which_nothing_is_left_no_date_is_booked_alone(session, family, clinic):
    dates = await slots(session, clinic, 5)
    rows = await course(session, family.wife_actor, dates)
    await courses.cancel_rest(session, family.wife_actor, id=rows[0].course_id, reason=None)
    new = courses.NewDate(session=2, slot_id=dates[1].id)
    with pytest.raises(courses.CourseOver):
        await courses.book_again(session, family.wife_actor, key=key(), id=rows[0].course_id, new=new)


async def test_a_date_is_booked_anew_by_who_still_qualifies_and_has_agreed(session, family, clinic, worker):
    dates = await slots(session, clinic, 5)
    rows = await course(session, family.wife_actor, dates)
    await cancel(family.wife_actor, rows[1].id)
    new = ArrangedDate(session=2, slot_id=dates[1].id, reason="asked_by_resident")

    async def anew() -> Appointment:
        async with session.begin_nested():
            return await arrangements.arrange_date(session, worker, key=key(), id=rows[0].course_id, new=new)

    born = family.wife.birth_date
    family.wife.birth_date = clock.today() - timedelta(days=365)
    await session.commit()
    with pytest.raises(eligibility.NotEligible):
        await anew()
    family.wife.birth_date = born
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    await session.commit()
    with pytest.raises(ConsentRequired):
        await anew()
    await session.execute(update(Consent).values(withdrawn_at=None))
    await session.commit()
    row = await anew()
    assert (row.status, row.origin, row.account_id) == (S.BOOKED, Origin.STAFF, None)
    assert await told(family.wife.id) == ["appointment_reminder"]


async def an_offer(session: AsyncSession) -> tuple[Any, ...]:
    """One couple has a held place, another comes next, and a slot stands free."""
    where, slot, [has], [row] = await full(session, 1)
    first, second = await settled(session, where, 2)
    await session.commit()
    entries = [await join(one.wife_actor, where) for one in (first, second)]
    await cancel(has.wife_actor, row.id)
    free = await where.slot(session, 5, capacity=1)
    await session.commit()
    [offer] = await held(slot.id)
    return where, slot, free, first, second, entries, offer


async def test_a_held_place_is_taken_at_another_time_and_goes_to_the_next_in_line(session):
    _, slot, free, first, second, entries, offer = await an_offer(session)
    assert offer.person_id == first.wife.id
    async with db.begin() as own:
        row = await rescheduling.reschedule(own, first.husband_actor, id=offer.id, slot_id=free.id)
    assert (row.id, row.status, row.slot_id, row.code) == (offer.id, S.BOOKED, free.id, offer.code)
    assert [(await entry(id)).status for id in entries] == [WaitlistStatus.ACCEPTED, WaitlistStatus.OFFERED]
    assert [one.person_id for one in await held(slot.id)] == [second.wife.id]
    assert await places(session, [slot, free]) == [1, 1]
    assert await told(first.wife.id) == ["place_offered", "appointment_moved"]


async def test_a_held_place_whose_move_fails_stays_held(session, monkeypatch):
    where, slot, free, first, _, entries, offer = await an_offer(session)
    taken = await where.slot(session, 7, capacity=0)
    await session.commit()

    async def move(to: Slot) -> Appointment:
        async with db.begin() as own:
            return await rescheduling.reschedule(own, first.wife_actor, id=offer.id, slot_id=to.id)

    with pytest.raises(bookings.SlotFull):
        await move(taken)
    assert ((await held(slot.id))[0].id, (await entry(entries[0])).status) == (
        offer.id,
        WaitlistStatus.OFFERED,
    )
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    await session.commit()
    with pytest.raises(ConsentRequired):
        await move(free)
    await session.execute(update(Consent).values(withdrawn_at=None))
    await session.commit()
    with monkeypatch.context() as later:
        later.setattr(clock, "now", lambda until=offer.hold_expires_at: until)
        with pytest.raises(offers.OfferOver):
            await move(free)
    assert (await move(slot)).slot_id == slot.id  # the time offered: accepted
    assert (await entry(entries[0])).status is WaitlistStatus.ACCEPTED
    assert await places(session, [slot, free]) == [1, 0]


async def test_a_place_held_for_a_closed_time_is_taken_at_another_by_hand(session, worker):
    where, slot, [family], _ = await full(session, 1)
    nearest, later = await where.slot(session, 4), await where.slot(session, 6)
    await session.commit()
    window = closures.NewClosure(
        clinic_id=where.hospital.clinic.id, from_at=at(0), to_at=at(2), reason="equipment"
    )
    report = await closures.close(session, where.hospital.actor, key=key(), new=window)
    await session.commit()
    [offer] = await held(nearest.id)
    async with db.begin() as own:
        await rescheduling.reschedule_for(
            own, worker, id=offer.id, slot_id=later.id, reason="asked_by_resident", note=None
        )
    assert await places(session, [slot, nearest, later]) == [0, 0, 1]
    report = await closures.report(session, where.hospital.actor, id=report["id"])
    assert (report["accepted"], report["unanswered"]) == (1, 0)
    couple = await session.get_one(Couple, family.couple.id)
    assert (
        await session.scalars(select(Appointment).filter_by(status=S.BOOKED))
    ).one().subject_id == couple.id
