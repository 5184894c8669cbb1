"""The terms of a service as they meet whoever books: places, groups, courses, missed times, other appointments."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db, errors
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, AppointmentNote, AppointmentStatus, Slot
from app.models.catalogue import HealthcareService
from app.models.consents import Consent
from app.models.messages import InboxMessage, NoticeKind
from app.services import eligibility
from app.services.appointments import bookings, courses, rescheduling
from app.services.idempotency import Key
from tests.explain import by_index
from tests.factories import appointments as made

LECTURE, TREATMENT, COUNSELLING = (
    "health_lecture",
    "reproductive_health_treatment",
    "psychological_counselling",
)
S = AppointmentStatus


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def book(actor: Actor, slot: Slot, wanted: int = 1) -> Any:
    return await bookings.book(actor, key=key(), slot_id=slot.id, wanted=wanted)


async def booked(session: AsyncSession, slot: Slot) -> int:
    return await session.scalar(select(Slot.booked).where(Slot.id == slot.id)) or 0


@pytest.fixture
async def family(session: AsyncSession) -> made.Spouses:
    return await made.couple(session)


@pytest.fixture
async def place(session: AsyncSession) -> made.Hospital:
    return await made.clinic(session)


async def slots(
    session: AsyncSession, place: made.Hospital, code: str, count: int = 1, **more: Any
) -> list[Slot]:
    """One after another, from the day after tomorrow on."""
    service, first = await made.service(session, code), clock.now() + timedelta(days=2)
    rows = [
        await made.slot(
            session,
            place=place.clinic,
            service=service,
            starts_at=first + timedelta(hours=2 * number),
            **more,
        )
        for number in range(count)
    ]
    await session.commit()
    return rows


async def test_a_lecture_takes_a_group_without_any_consent_and_each_date_once(session, family, place):
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    one, other = await slots(session, place, LECTURE, 2, capacity=6)
    first = await book(family.wife_actor, one, 4)
    assert (first.places, first.cycle, await booked(session, one)) == (4, str(one.id), 4)
    with pytest.raises(bookings.NotEnoughPlaces):
        await book(family.husband_actor, one, 3)
    with pytest.raises(bookings.TooManyPlaces):
        await book(family.husband_actor, other, 6)
    await book(family.wife_actor, other)
    assert await booked(session, one) == 4
    async with db.begin() as own:
        await bookings.cancel(own, family.wife_actor, id=first.id, reason=None)
    assert await booked(session, one) == 0


async def test_nobody_is_in_two_places_at_one_time(session, family, place):
    [lecture] = await slots(session, place, LECTURE)
    service = await made.service(session)
    at = lecture.starts_at + timedelta(minutes=59)
    joint = await made.slot(session, place=place.clinic, service=service, starts_at=at)
    after = await made.slot(session, place=place.clinic, service=service, starts_at=lecture.ends_at)
    await session.commit()
    await book(family.husband_actor, lecture)
    with pytest.raises(IntegrityError) as refused:  # the door speaks for it
        await book(family.wife_actor, joint)
    assert isinstance(errors.to_problem(refused.value), bookings.OverlappingAppointment)
    assert await booked(session, joint) == 0
    assert (await book(family.wife_actor, after)).status == S.BOOKED


async def test_who_missed_too_often_waits_until_the_times_missed_lie_far_enough_back(session, family, place):
    [slot] = await slots(session, place, COUNSELLING)
    first, second = [await made.attended(
        session, service_code=COUNSELLING, status=S.NO_SHOW, spouses=family, hospital=place
    ) for _ in range(2)]  # fmt: skip
    for days, row in ((80, first), (10, second)):
        past = clock.now() - timedelta(days=days)
        row.appointment.starts_at, row.appointment.ends_at = past, past + timedelta(hours=1)
        row.appointment.cycle = str(new_id())
    await session.commit()
    with pytest.raises(bookings.TooManyNoShows) as refused:
        await book(family.wife_actor, slot)
    again = first.appointment.starts_at + timedelta(days=90)
    assert refused.value.extensions["again_from"] == again.isoformat()
    assert (await book(family.husband_actor, slot)).status == S.BOOKED
    first.appointment.starts_at -= timedelta(days=20)
    await session.commit()
    assert (await book(family.wife_actor, slot)).status == S.BOOKED


async def test_once_in_three_years_counts_the_two_years_before(session, family, place):
    service = await made.service(session, "fertility_assessment")
    had = await made.attended(
        session, service_code=service.code, status=S.FULFILLED, spouses=family, hospital=place
    )
    had.appointment.cycle = str(clock.today().year - 2)
    await session.flush()

    async def eligible() -> bool:
        why = await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
        return why.eligible

    assert await eligible()
    service.cycle_years = 3
    await session.flush()
    assert not await eligible()


async def test_a_course_is_booked_and_called_off_as_a_whole(session, family, place):
    dates = await slots(session, place, TREATMENT, 5, capacity=1)
    with pytest.raises(bookings.BookedAsCourse):
        await book(family.wife_actor, dates[0])
    once, ids = key(), [slot.id for slot in dates]
    rows = await courses.book(session, family.wife_actor, key=once, new=courses.NewCourse(slot_ids=ids))
    assert [(row.session, row.slot_id) for row in rows] == list(enumerate(ids, start=1))
    assert {row.course_id for row in rows} == {once.id}
    again = await courses.book(session, family.wife_actor, key=once, new=courses.NewCourse(slot_ids=ids))
    assert [row.id for row in again] == [row.id for row in rows]
    assert [await booked(session, slot) for slot in dates] == [1] * 5
    soon = clock.now() + timedelta(hours=1)
    rows[0].starts_at, rows[0].ends_at = soon, soon + timedelta(minutes=30)
    await session.flush()
    left = await courses.cancel_rest(session, family.wife_actor, id=once.id, reason="外出务工")
    assert [row.status for row in left] == [S.BOOKED] + [S.CANCELLED] * 4
    assert [await booked(session, slot) for slot in dates] == [1, 0, 0, 0, 0]


async def test_a_course_of_which_one_date_is_full_is_not_booked_at_all(session, family, place):
    dates = await slots(session, place, TREATMENT, 5, capacity=1)
    dates[3].booked = 1
    await session.commit()
    new = courses.NewCourse(slot_ids=[slot.id for slot in dates])
    with pytest.raises(bookings.SlotFull) as refused:
        async with db.begin() as own:
            await courses.book(own, family.wife_actor, key=key(), new=new)
    assert refused.value.extensions["slot_id"] == str(dates[3].id)
    assert await session.scalar(select(func.count()).select_from(Appointment)) == 0
    assert [await booked(session, slot) for slot in dates] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "wrong",
    [lambda ids: ids[:4], lambda ids: ids[::-1], lambda ids: [*ids[:4], ids[0]]],
    ids=["few", "order", "twice"],
)
async def test_the_dates_of_a_course_must_fit(session, family, place, wrong):
    dates = await slots(session, place, TREATMENT, 5)
    new = courses.NewCourse(slot_ids=wrong([slot.id for slot in dates]))
    with pytest.raises(errors.Invalid):
        await courses.book(session, family.wife_actor, key=key(), new=new)


async def test_another_time_keeps_the_appointment_and_its_code(session, family, place):
    one, other = await slots(session, place, "pre_pregnancy_check", 2, capacity=1)
    row = await book(family.wife_actor, one)
    moved = await rescheduling.reschedule(session, family.husband_actor, id=row.id, slot_id=other.id)
    assert (moved.id, moved.code, moved.slot_id, moved.starts_at) == (
        row.id,
        row.code,
        other.id,
        other.starts_at,
    )
    assert [await booked(session, slot) for slot in (one, other)] == [0, 1]
    await rescheduling.reschedule(session, family.wife_actor, id=row.id, slot_id=other.id)
    event = await session.scalar(select(AppointmentEvent).order_by(AppointmentEvent.id.desc()).limit(1))
    assert (event.status, event.slot_id) == (S.BOOKED, other.id)
    told = await session.scalars(
        select(InboxMessage).where(InboxMessage.kind == NoticeKind.APPOINTMENT_MOVED)
    )
    assert {message.person_id for message in told} == {family.wife.id, family.husband.id}


async def test_each_move_is_told_also_one_back_to_a_time_told_before(session, family, place):
    one, other = await slots(session, place, "pre_pregnancy_check", 2)
    row = await book(family.wife_actor, one)
    for slot in (other, one, other):
        await rescheduling.reschedule(session, family.wife_actor, id=row.id, slot_id=slot.id)
    told = select(func.count()).where(InboxMessage.kind == NoticeKind.APPOINTMENT_MOVED)
    assert await session.scalar(told.where(InboxMessage.person_id == family.husband.id)) == 3


async def test_a_move_that_fails_leaves_all_as_it_was(session, family, place):
    one, full, closed = await slots(session, place, "pre_pregnancy_check", 3, capacity=1)
    [elsewhere] = await slots(session, place, LECTURE)
    full.booked, closed.opens_at = 1, clock.now() + timedelta(hours=1)
    await session.commit()
    row = await book(family.wife_actor, one)
    for slot, problem in (
        (full, bookings.SlotFull), (closed, bookings.SlotNotOpenYet), (elsewhere, errors.Invalid),
    ):  # fmt: skip
        with pytest.raises(problem):
            async with db.begin() as own:
                await rescheduling.reschedule(own, family.wife_actor, id=row.id, slot_id=slot.id)
    now = await session.get_one(Appointment, row.id, populate_existing=True)
    assert (now.slot_id, now.starts_at) == (one.id, one.starts_at)
    assert [await booked(session, slot) for slot in (one, full, closed)] == [1, 1, 0]


async def test_the_sessions_of_a_course_stay_in_order(session, family, place):
    *dates, later, last = await slots(session, place, TREATMENT, 7)
    new = courses.NewCourse(slot_ids=[slot.id for slot in dates])
    rows = await courses.book(session, family.wife_actor, key=key(), new=new)
    with pytest.raises(rescheduling.OutOfOrder):
        await rescheduling.reschedule(session, family.wife_actor, id=rows[1].id, slot_id=last.id)
    moved = await rescheduling.reschedule(session, family.wife_actor, id=rows[4].id, slot_id=later.id)
    assert (moved.session, moved.cycle) == (5, rows[0].cycle)


async def test_after_the_cut_off_a_resident_calls_the_clinic(session, family, place):
    service = await made.service(session)
    near = await made.slot(
        session, place=place.clinic, service=service, starts_at=clock.now() + timedelta(hours=20)
    )
    [later] = await slots(session, place, service.code)
    row = await book(family.wife_actor, near)
    await session.execute(update(HealthcareService).values(cancel_hours=24))
    await session.commit()

    async def cancelled() -> None:
        await bookings.cancel(session, family.wife_actor, id=row.id, reason=None)

    async def moved() -> None:
        await rescheduling.reschedule(session, family.wife_actor, id=row.id, slot_id=later.id)

    for change in (cancelled, moved):
        with pytest.raises(bookings.TooLateToChange) as refused:
            await change()
        until = near.starts_at - timedelta(hours=24)
        assert refused.value.extensions == {"until": until.isoformat(), "call": place.clinic.phone}
    await session.execute(update(Appointment).values(starts_at=clock.now() - timedelta(minutes=1)))
    with pytest.raises(bookings.TooLateToChange):  # not "choose another slot"
        await cancelled()


async def test_what_a_resident_writes_is_sealed(session, family, place):
    [slot] = await slots(session, place, LECTURE)
    row = await book(family.wife_actor, slot)
    await bookings.cancel(session, family.wife_actor, id=row.id, reason="孩子发烧")
    event = await session.scalar(select(AppointmentEvent).order_by(AppointmentEvent.id.desc()).limit(1))
    note = await session.get_one(AppointmentNote, event.note_id)
    assert (event.reason, note.note) == (None, "孩子发烧")
    assert "孩子".encode() not in note.note_sealed


async def test_the_dates_of_a_course_are_found_by_index(session: AsyncSession) -> None:
    worker = await made.worker(session)

    async def look() -> None:
        with pytest.raises(errors.NotFound):
            await courses.sessions(session, worker, id=new_id())

    assert "ix_appointment_course_id" in await by_index(session, look(), "appointment")
