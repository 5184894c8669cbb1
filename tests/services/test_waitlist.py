"""Waiting lists: the order, whom a place suits, and what becomes of offers."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import NotFound, WrongState
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentStatus,
    Origin,
    Qualification,
    Slot,
)
from app.models.consents import Consent
from app.models.households import Couple
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import eligibility
from app.services.appointments import bookings, entries, families, offers, waitlist
from tests.factories import appointments
from tests.factories.appointments import Spouses
from tests.factories.waiting import (
    Place,
    book,
    cancel,
    entry,
    full,
    held,
    join,
    settled,
    told,
)

S, W = AppointmentStatus, WaitlistStatus


async def booked(session: AsyncSession, slot: Slot) -> int:
    await session.refresh(slot)
    taken = await session.scalar(
        select(func.sum(Appointment.places)).where(
            Appointment.slot_id == slot.id, Appointment.status.in_([S.HELD, S.BOOKED, S.ARRIVED])
        )
    )
    assert slot.booked == (taken or 0)
    return slot.booked


async def shown(session: AsyncSession, who: Spouses) -> dict[str, object]:
    [row] = await entries.mine(session, who.wife_actor, before=None, limit=5)
    return row


async def waiters(session: AsyncSession, where: Place, count: int) -> list[Spouses]:
    """In line, in this order."""
    there = await settled(session, where, count)
    await session.commit()
    for one in there:
        await join(one.wife_actor, where)
    return there


async def test_a_cancelled_place_is_held_for_the_first_in_line(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    first, second = await waiters(session, where, 2)
    assert [(await shown(session, one))["ahead"] for one in (first, second)] == [0, 1]
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    assert (offer.subject_id, offer.origin, offer.account_id) == (
        first.couple.id, Origin.WAITLIST, first.wife_actor.id,
    )  # fmt: skip
    assert offer.hold_expires_at is not None
    assert offer.hold_expires_at - clock.now() > timedelta(hours=where.service.offer_hours - 1)
    assert await told(first.wife.id) == await told(first.husband.id) == ["place_offered"]
    assert await told(second.wife.id) == []
    assert await booked(session, slot) == 1
    there = await shown(session, first)
    assert (there["status"], there["ahead"], there["appointment_id"]) == (W.OFFERED, None, offer.id)
    assert there["offer_expires_at"] == offer.hold_expires_at
    assert (await shown(session, second))["ahead"] == 0
    with pytest.raises(bookings.SlotFull):  # no newcomer takes it
        await book(family.wife_actor, slot.id)


async def test_an_offer_is_accepted_by_either_spouse_and_again(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    [first] = await waiters(session, where, 1)
    await cancel(family.wife_actor, row.id)
    [seen] = await offers.mine(session, first.husband_actor)
    for actor in (first.husband_actor, first.wife_actor):
        taken = await offers.accept(session, actor, id=seen["id"])
        assert taken.status is S.BOOKED
    await session.commit()
    assert (await shown(session, first))["status"] == W.ACCEPTED
    assert await booked(session, slot) == 1
    with pytest.raises(WrongState):
        await offers.decline(session, first.wife_actor, id=seen["id"])
    with pytest.raises(NotFound):
        await offers.accept(session, family.wife_actor, id=seen["id"])


async def test_what_is_declined_goes_to_the_next_and_one_may_join_again(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    first, second = await waiters(session, where, 2)
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    await offers.decline(session, first.wife_actor, id=offer.id)
    await session.commit()
    assert (await shown(session, first))["status"] == W.DECLINED
    [next_offer] = await held(slot.id)
    assert next_offer.subject_id == second.couple.id
    again = await entry(await join(first.wife_actor, where))
    assert (
        again.number
        > (await session.scalars(select(WaitlistEntry.number).filter_by(person_id=second.wife.id))).one()
    )


async def test_cancelling_an_offer_as_an_appointment_declines_it(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    [first] = await waiters(session, where, 1)
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    await cancel(first.wife_actor, offer.id)
    assert (await shown(session, first))["status"] == W.DECLINED
    assert await booked(session, slot) == 0


async def test_an_offer_that_nobody_answers_goes_on_once(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    first, second = await waiters(session, where, 2)
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    assert await offers.expire_due() == 0
    ago = clock.now() - timedelta(seconds=1)
    await session.execute(update(Appointment).where(Appointment.id == offer.id).values(hold_expires_at=ago))
    await session.commit()
    for answer in (offers.accept, offers.decline):
        with pytest.raises(offers.OfferOver):
            await answer(session, first.wife_actor, id=offer.id)
    assert await offers.mine(session, first.wife_actor) == []
    assert [await offers.expire_due() for _ in range(2)] == [1, 0]
    assert (await shown(session, first))["status"] == W.EXPIRED
    assert await told(first.wife.id) == ["place_offered", "offer_expired"]
    [next_offer] = await held(slot.id)
    assert next_offer.subject_id == second.couple.id
    assert await booked(session, slot) == 1
    events = select(AppointmentEvent.status).filter_by(appointment_id=offer.id).order_by(AppointmentEvent.id)
    assert list(await session.scalars(events)) == [S.HELD, S.EXPIRED]


async def test_whom_a_place_does_not_suit_is_passed_over_and_stays(session: AsyncSession) -> None:
    """Other days; more places than there are; no consent; somewhere else at that time; had it already."""
    where, slot, [family], [row] = await full(session, 1)
    later, many, silent, busy, had, suited = await settled(session, where, 6)
    where.service.places_limit = 5
    await session.commit()
    for one, wanted in (
        (later, {"since": 10}),
        (many, {"places": 2}),
        (silent, {}),
        (busy, {}),
        (had, {}),
        (suited, {}),
    ):
        await join(one.wife_actor, where, **wanted)
    notices = update(Consent).where(Consent.person_id == silent.husband.id)
    await session.execute(notices.values(withdrawn_at=clock.now()))
    elsewhere = await appointments.attended(
        session, service_code=appointments.FERTILITY, spouses=busy, status=S.BOOKED
    )
    times = {"starts_at": slot.starts_at, "ends_at": slot.ends_at}
    await session.execute(update(Appointment).where(Appointment.id == elsewhere.appointment.id).values(times))
    await appointments.attended(session, spouses=had, status=S.FULFILLED)
    await session.commit()
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    assert offer.subject_id == suited.couple.id
    for one in (later, many, silent, busy, had):
        assert (await shown(session, one))["status"] == W.WAITING


async def test_who_waited_longer_than_a_decision_lasts_is_decided_about_anew(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    gone, lapsed = await waiters(session, where, 2)
    await eligibility.lapse(session, [gone.wife.id, lapsed.wife.id])
    await session.execute(update(Couple).where(Couple.id == gone.couple.id).values(plans_pregnancy=False))
    await session.commit()
    await cancel(family.wife_actor, row.id)
    [offer] = await held(slot.id)
    assert offer.subject_id == lapsed.couple.id
    assert (await shown(session, gone))["status"] == W.WITHDRAWN
    assert await told(gone.husband.id) == ["waiting_ended"]
    query = select(Qualification.valid_until).filter_by(person_id=lapsed.wife.id)
    assert (await session.scalars(query)).one() > clock.now()


async def test_group_places_go_in_order_to_whom_they_fit(session: AsyncSession) -> None:
    where, slot, [_family], [_row] = await full(session, 1)
    where.service.places_limit = 5
    three, two, one = await settled(session, where, 3)
    await session.commit()
    for who, wanted in ((three, 3), (two, 2), (one, 1)):
        await join(who.wife_actor, where, places=wanted)
    await session.execute(update(Slot).where(Slot.id == slot.id).values(capacity=5))
    assert await waitlist.offer_free(session, Actor.system("test"), slot.id) == 2
    await session.commit()
    assert [(row.subject_id, row.places) for row in await held(slot.id)] == [
        (three.couple.id, 3),
        (one.couple.id, 1),
    ]
    assert await booked(session, slot) == 5


async def test_what_begins_soon_is_not_offered_but_free(session: AsyncSession) -> None:
    where, slot, [_family], [_row] = await full(session, 1)
    [_first] = await waiters(session, where, 1)
    for starts_in, expected in ((timedelta(hours=2, minutes=50), 0), (timedelta(hours=3, minutes=10), 1)):
        starts = clock.now() + starts_in
        moved = {"starts_at": starts, "ends_at": starts + timedelta(hours=1)}
        await session.execute(update(Slot).where(Slot.id == slot.id).values(**moved, booked=0))
        await session.execute(update(WaitlistEntry).values(from_on=clock.today()))
        assert await waitlist.offer_free(session, Actor.system("test"), slot.id) == expected
    [offer] = await held(slot.id)
    assert offer.hold_expires_at == starts - timedelta(hours=2)


@pytest.mark.parametrize("status", ["draft", "closed", "cancelled"])
async def test_only_open_and_released_slots_are_offered(session: AsyncSession, status: str) -> None:
    where, slot, [_family], [_row] = await full(session, 1)
    await waiters(session, where, 1)
    for change in ({"status": status}, {"status": "open", "opens_at": clock.now() + timedelta(hours=1)}):
        await session.execute(update(Slot).where(Slot.id == slot.id).values(booked=0, **change))
        assert await waitlist.offer_free(session, Actor.system("test"), slot.id) == 0
    await session.execute(update(Slot).where(Slot.id == slot.id).values(opens_at=clock.now()))
    assert await waitlist.offer_free(session, Actor.system("test"), slot.id) == 1


async def test_the_job_offers_what_was_left(session: AsyncSession) -> None:
    where, slot, [_family], [row] = await full(session, 1)
    [first] = await waiters(session, where, 1)
    assert await offers.offer_left() == 0
    await session.execute(update(Appointment).where(Appointment.id == row.id).values(status=S.CANCELLED))
    await session.execute(update(Slot).where(Slot.id == slot.id).values(booked=0))
    await session.commit()
    assert await offers.offer_left() == 1
    assert await offers.offer_left() == 0
    assert [one.subject_id for one in await held(slot.id)] == [first.couple.id]


async def test_a_divorce_or_a_death_ends_waiting_and_gives_offers_on(session: AsyncSession) -> None:
    where, slot, [family], [row] = await full(session, 1)
    first, second, third = await waiters(session, where, 3)
    system = Actor.system("test")
    await families.call_off_of_couple(session, system, third.couple.id, reason="divorce")
    await session.commit()
    assert (await shown(session, third))["status"] == W.WITHDRAWN
    assert await told(third.wife.id) == ["waiting_ended"]
    await cancel(family.wife_actor, row.id)
    await families.call_off_of_person(session, system, first.husband.id, reason="death")
    await session.commit()
    [offer] = await held(slot.id)
    assert offer.subject_id == second.couple.id
    assert (await shown(session, first))["status"] == W.DECLINED
    assert await booked(session, slot) == 1


async def test_waiting_ends_with_its_last_day(session: AsyncSession) -> None:
    where, _, _, _ = await full(session, 1)
    past, present = await waiters(session, where, 2)
    yesterday = clock.today() - timedelta(days=1)
    over = {"from_on": yesterday, "to_on": yesterday}
    await session.execute(update(WaitlistEntry).where(WaitlistEntry.person_id == past.wife.id).values(over))
    assert [await waitlist.end_past(session) for _ in range(2)] == [1, 0]
    await session.commit()
    assert (await shown(session, past))["status"] == W.WITHDRAWN
    assert await told(past.wife.id) == ["waiting_ended"]
    assert (await shown(session, present))["status"] == W.WAITING
