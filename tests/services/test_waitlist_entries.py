"""Joining a waiting list: who may, and leaving it."""

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid, NotFound, WrongState
from app.models.catalogue import HealthcareService
from app.models.consents import Consent
from app.models.waitlist import WaitlistEntry
from app.services import eligibility
from app.services.appointments import bookings, entries
from app.services.appointments.entries import MOST_LIVE
from app.services.consents import ConsentRequired
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.waiting import (
    book,
    entry,
    full,
    join,
    place,
    settled,
)


async def test_who_may_join(session: AsyncSession) -> None:
    where = await place(session)
    family, other = await settled(session, where, 2)
    slot = await where.slot(session)
    await session.commit()
    with pytest.raises(entries.PlaceIsFree) as free:
        await join(family.wife_actor, where)
    assert free.value.extensions["slot_id"] == str(slot.id)
    await book(other.wife_actor, slot.id)
    with pytest.raises(bookings.AlreadyBooked):
        await join(other.husband_actor, where)
    for wrong in ({"since": -1}, {"days": 181}, {"places": 2}, {"days": -1}):
        with pytest.raises(Invalid):
            await join(family.wife_actor, where, **wrong)
    unknown = await place(session)
    await session.commit()
    with pytest.raises(Invalid):  # a clinic without this service
        await join(family.wife_actor, unknown)
    key = Key((await entry(await join(family.wife_actor, where))).id, b"fingerprint")
    assert await join(family.wife_actor, where, key) == key.id
    assert await session.scalar(select(func.count()).select_from(WaitlistEntry)) == 1
    with pytest.raises(Exception, match="uq_waitlist_entry"):
        await join(family.husband_actor, where)


async def test_who_does_not_qualify_or_has_not_agreed_does_not_join(session: AsyncSession) -> None:
    where, _slot, [_], _ = await full(session, 1)
    family, silent = await settled(session, where, 2)
    family.couple.plans_pregnancy = False
    await session.execute(
        update(Consent).where(Consent.person_id == silent.husband.id).values(withdrawn_at=clock.now())
    )
    await session.commit()
    with pytest.raises(eligibility.NotEligible):
        await join(family.wife_actor, where)
    with pytest.raises(ConsentRequired):
        await join(silent.wife_actor, where)
    service = await session.get_one(HealthcareService, where.service.id)
    service.sensitive = False
    await session.commit()
    await join(silent.wife_actor, where)
    service.sessions = 3
    await session.commit()
    with pytest.raises(entries.NoWaitingForCourses):
        await join(silent.husband_actor, where)


async def test_nobody_waits_for_too_much_at_once(session: AsyncSession) -> None:
    places = [(await full(session, 1))[0] for _ in range(MOST_LIVE + 1)]
    [family] = await settled(session, places[0], 1)
    await session.commit()
    joined = [await join(family.wife_actor, where) for where in places[:MOST_LIVE]]
    for actor in (family.wife_actor, family.husband_actor):
        with pytest.raises(entries.TooManyWaiting):
            await join(actor, places[-1])
    await entries.withdraw(session, family.husband_actor, id=joined[0])
    await session.commit()
    await join(family.wife_actor, places[-1])
    with pytest.raises(WrongState):
        await entries.withdraw(session, family.wife_actor, id=joined[0])
    with pytest.raises(NotFound):
        await entries.withdraw(session, (await appointments.couple(session)).wife_actor, id=joined[1])
