"""Who walks in, what workers arrange, and what should never have been entered."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app import clock, db
from app.db import new_id
from app.errors import Forbidden, NotFound
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentNote,
    AppointmentStatus,
    Origin,
    Slot,
    SlotEvent,
)
from app.models.consents import Consent
from app.models.households import DocumentKind
from app.models.identity import Role
from app.models.messages import InboxMessage, NoticeKind
from app.services import consents, eligibility
from app.services.appointments import arrangements, attendance, bookings, walk_ins
from app.services.appointments.arrangements import Ground, NewArrangement
from app.services.idempotency import Key
from app.services.rights.emptying import empty
from tests.factories import appointments as made

LECTURE, CHECK = "health_lecture", "pre_pregnancy_check"
S = AppointmentStatus
NOON = clock.datetime(2026, 6, 3, 12, tzinfo=clock.SHANGHAI)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that today has time left."""
    monkeypatch.setattr(clock, "now", lambda: NOON)


@pytest.fixture
async def family(session):
    return await made.couple(session)


@pytest.fixture
async def hospital(session):
    return await made.clinic(session)


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def slot(session, hospital, code: str = CHECK, **more: Any) -> Slot:
    starts = {"starts_at": clock.now() - timedelta(minutes=10), **more}
    return await made.slot(
        session, place=hospital.clinic, service=await made.service(session, code), **starts
    )


def presented(*people: Any) -> list[walk_ins.Presented]:
    return [
        walk_ins.Presented(
            name=one.name, document_kind=DocumentKind.PASSPORT, document_number=one.document_number
        )
        for one in people
    ]


async def walk_in(session, hospital, slot: Slot, *people: Any) -> Appointment:
    new = walk_ins.NewWalkIn(slot_id=slot.id, people=presented(*people))
    row, _ = await walk_ins.at_desk(session, hospital.actor, key=key(), new=new)
    return row


async def test_a_couple_at_the_desk_takes_a_free_place_of_today(session, family, hospital):
    now = await slot(session, hospital, capacity=1)
    once = key()
    new = walk_ins.NewWalkIn(slot_id=now.id, people=presented(family.husband, family.wife))
    row, people = await walk_ins.at_desk(session, hospital.actor, key=once, new=new)
    assert (row.status, row.origin, row.account_id) == (S.ARRIVED, Origin.WALK_IN, None)
    assert {person.id for person in people} == {family.wife.id, family.husband.id}
    again, _ = await walk_ins.at_desk(session, hospital.actor, key=once, new=new)
    assert again.id == row.id
    other = await made.couple(session)
    with pytest.raises(bookings.SlotFull):
        await walk_in(session, hospital, now, other.wife, other.husband)
    assert await session.scalar(select(Slot.booked).where(Slot.id == now.id)) == 1


async def test_the_desk_learns_nothing_about_who_is_not_there(session, family, hospital):
    now = await slot(session, hospital)
    stranger = made.person("李秀英", family.wife.sex)
    other = await made.couple(session)
    for people, problem in (
        ((family.wife, stranger), walk_ins.NotRegistered),
        ((family.wife, other.husband), walk_ins.NotOneCouple),
    ):
        with pytest.raises(problem):
            await walk_in(session, hospital, now, *people)
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    with pytest.raises(consents.ConsentRequired) as refused:
        await walk_in(session, hospital, now, family.wife, family.husband)
    assert "whose" not in str(refused.value.extensions)


async def test_the_desk_hears_no_reason_why_somebody_is_not_entitled(session, family, hospital):
    now = await slot(session, hospital)
    family.couple.plans_pregnancy = False
    await session.flush()
    with pytest.raises(walk_ins.NotEntitled) as refused:
        await walk_in(session, hospital, now, family.wife, family.husband)
    assert refused.value.extensions == {}


async def test_a_course_is_not_begun_at_the_desk(session, family, hospital):
    now = await slot(session, hospital, "reproductive_health_treatment")
    with pytest.raises(bookings.BookedAsCourse):
        await walk_in(session, hospital, now, family.wife)


async def test_only_a_slot_of_today_at_the_own_clinic_takes_who_walks_in(session, family, hospital):
    tomorrow = await slot(session, hospital, starts_at=clock.now() + timedelta(days=1))
    over = await slot(session, hospital, starts_at=clock.now() - timedelta(hours=2))
    elsewhere = await slot(session, await made.clinic(session))
    for place, problem in (
        (tomorrow, walk_ins.SlotNotToday), (over, walk_ins.SlotNotToday), (elsewhere, NotFound),
    ):  # fmt: skip
        with pytest.raises(problem):
            await walk_in(session, hospital, place, family.wife, family.husband)


async def test_at_a_lecture_names_are_shown_of_who_agrees_only(session, family, hospital):
    now = await slot(session, hospital, LECTURE)
    agreed = await walk_in(session, hospital, now, family.wife)
    assert [one.id for one in await attendance.shown(session, hospital.actor, agreed)] == [family.wife.id]
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    silent = await walk_in(session, hospital, now, family.husband)
    assert silent.status is S.ARRIVED
    assert await attendance.shown(session, hospital.actor, silent) == []


async def test_a_worker_brings_somebody_of_the_own_region(session, family, hospital):
    now = await slot(session, hospital)
    worker = await made.worker(session)
    row = await walk_ins.visit(
        session, worker, key=key(), new=walk_ins.NewVisit(slot_id=now.id, person_id=family.wife.id)
    )
    assert (row.status, row.spouse_id) == (S.ARRIVED, family.husband.id)
    far = await made.worker(session, "640105001000")
    with pytest.raises(NotFound):
        await walk_ins.visit(
            session, far, key=key(), new=walk_ins.NewVisit(slot_id=now.id, person_id=family.wife.id)
        )


def arrangement(slot: Slot, family: made.Spouses, **more: Any) -> NewArrangement:
    return NewArrangement(slot_id=slot.id, person_id=family.wife.id, reason=Ground.HARDSHIP, **more)


async def test_the_office_goes_beyond_the_capacity_and_says_why(session, family, hospital):
    full = await slot(session, hospital, starts_at=clock.now() + timedelta(days=1), capacity=1)
    full.booked = 1
    await session.flush()
    officer = await made.worker(session, made.REGION)
    with pytest.raises(bookings.SlotFull):
        async with session.begin_nested():
            await arrangements.arrange(session, officer, key=key(), new=arrangement(full, family))
    row = await arrangements.arrange(
        session, officer, key=key(), new=arrangement(full, family, beyond=True, note="行动不便")
    )
    now = await session.get_one(Slot, full.id, populate_existing=True)
    assert (row.origin, now.booked, now.capacity, now.version) == (Origin.STAFF, 2, 2, 2)
    event = await session.scalar(select(AppointmentEvent).where(AppointmentEvent.appointment_id == row.id))
    note = await session.get_one(AppointmentNote, event.note_id)
    assert (event.reason, note.note) == ("hardship", "行动不便")
    grown = await session.scalar(select(SlotEvent).where(SlotEvent.slot_id == full.id))
    assert (grown.field, grown.old, grown.new) == ("capacity", "1", "2")
    told = await session.scalars(select(InboxMessage.person_id).where(InboxMessage.entity_id == row.id))
    assert set(told) == {family.wife.id, family.husband.id}
    await empty(session, family.wife)
    await session.refresh(note)
    assert note.note is None


async def test_the_office_waives_the_rule_and_nobody_the_consents(session, family, hospital):
    ahead = await slot(session, hospital, starts_at=clock.now() + timedelta(days=1))
    family.couple.plans_pregnancy = False
    await session.flush()
    village, officer = await made.worker(session, role=Role.VILLAGE_WORKER), await made.worker(session)
    with pytest.raises(eligibility.NotEligible):
        await arrangements.arrange(session, officer, key=key(), new=arrangement(ahead, family))
    waived = arrangement(ahead, family, waived=True)
    with pytest.raises(Forbidden):
        await arrangements.arrange(session, village, key=key(), new=waived)
    assert (await arrangements.arrange(session, officer, key=key(), new=waived)).status is S.BOOKED
    other = await made.couple(session)
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))
    with pytest.raises(consents.ConsentRequired):
        await arrangements.arrange(session, officer, key=key(), new=arrangement(ahead, other, waived=True))


async def test_a_worker_cancels_after_the_cut_off_and_the_family_is_told(session, family, hospital):
    soon = await slot(session, hospital, starts_at=clock.now() + timedelta(minutes=5))
    officer = await made.worker(session)
    row = await arrangements.arrange(session, officer, key=key(), new=arrangement(soon, family))
    row = await bookings.call_off(session, officer, id=row.id, reason=Ground.ASKED_BY_RESIDENT, note=None)
    assert row.status is S.CANCELLED
    kinds = set(await session.scalars(select(InboxMessage.kind).where(InboxMessage.entity_id == row.id)))
    assert NoticeKind.APPOINTMENT_CANCELLED in kinds
    assert await session.scalar(select(Slot.booked).where(Slot.id == soon.id)) == 0


@pytest.mark.parametrize("status", [S.BOOKED, S.FULFILLED, S.NO_SHOW, S.CANCELLED])
async def test_what_was_entered_in_error_gives_its_place_back_once(session, hospital, status):
    had = await made.attended(session, status=status, hospital=hospital)
    officer = await made.worker(session, role=Role.COUNTY_ADMINISTRATOR)
    row = await attendance.annul(session, officer, id=had.appointment.id, reason="mistake", note=None)
    assert row.status is S.ENTERED_IN_ERROR
    assert await session.scalar(select(Slot.booked).where(Slot.id == had.slot.id)) == 0


async def test_who_would_have_come_hears_that_it_was_entered_in_error(session, family, hospital):
    ahead = await slot(session, hospital, starts_at=clock.now() + timedelta(days=1))
    officer = await made.worker(session, role=Role.COUNTY_ADMINISTRATOR)
    row = await arrangements.arrange(session, officer, key=key(), new=arrangement(ahead, family))
    await attendance.annul(session, officer, id=row.id, reason="mistake", note=None)
    told = select(InboxMessage.person_id).where(
        InboxMessage.entity_id == row.id, InboxMessage.kind == NoticeKind.APPOINTMENT_CANCELLED
    )
    assert set(await session.scalars(told)) == {family.wife.id, family.husband.id}


async def test_a_refusal_for_want_of_a_place_leaves_no_appointment(session, family, hospital):
    now = await slot(session, hospital, capacity=1)
    now.booked = 1
    await session.commit()
    with pytest.raises(bookings.SlotFull):
        async with db.begin() as own:
            await walk_in(own, hospital, now, family.wife, family.husband)
    assert await session.scalar(select(Appointment.id)) is None
