"""The rotation after this one: planned while the last year of this one goes on, and nobody is called by both."""

import uuid
from datetime import UTC, date, datetime

import pytest
import time_machine
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus
from app.models.households import Person
from app.models.rotations import Rotation, RotationStatus, RotationTurn, TurnStatus
from app.services import rotations
from app.services.rotations import turns
from app.services.rotations.turns import Wanted
from tests.factories import appointments as given
from tests.factories import families
from tests.factories import rotations as made
from tests.factories.rotations import COUNTY, EAST

T = TurnStatus
LAST = clock.today().year + 3


async def published(session: AsyncSession, county: Actor, **more: int) -> Rotation:
    rotation = await made.stated(session, county, **more)
    await rotations.publish(session, county, id=rotation.id, version=rotation.version)
    await session.commit()
    return rotation


async def checked(session: AsyncSession, woman: Person, year: int) -> None:
    place, service = await given.clinic(session), await given.service(session, made.CHECK)
    slot = await given.slot(session, place=place.clinic, service=service)
    session.add(
        Appointment(
            id=new_id(), slot_id=slot.id, clinic_id=slot.clinic_id, service_id=service.id, subject_id=woman.id,
            person_id=woman.id, region_code=EAST, cycle=str(year), code=new_id().hex[-10:], starts_at=slot.starts_at,
            ends_at=slot.ends_at, status=AppointmentStatus.FULFILLED, created_at=clock.now(),
        )
    )  # fmt: skip
    await session.commit()


async def by_hand(session: AsyncSession, county: Actor, rotation: Rotation) -> list[uuid.UUID]:
    wanted = Wanted(by_hand=True)
    rows = await turns.listing(session, county, rotation_id=rotation.id, wanted=wanted, after=None, limit=9)
    return [row.person_id for row in rows]


async def test_whoever_may_still_come_by_this_one_is_called_by_the_next_only_when_it_is_over(
    session: AsyncSession,
) -> None:
    await families.villages(session)
    county, women = await made.county_worker(session), await made.women(session, EAST, 2)
    for woman in women:
        await given.account(session, woman)
    this = await published(session, county)
    december = {"month": date(LAST, 12, 1), "status": T.INVITED, "invited_at": clock.now()}
    await session.execute(update(RotationTurn).values(december))
    with time_machine.travel(datetime(LAST, 11, 1, tzinfo=UTC), tick=False):
        with pytest.raises(rotations.AlreadyInRotation):
            await made.stated(session, county, first_year=LAST)
        following = await published(session, county, first_year=LAST + 1)
        january = date(LAST + 1, 1, 1)
        await rotations.invite(session, county, id=following.id, version=following.version, month=january)
        await session.commit()
        assert await rotations.send(following.id) == 0
        assert await by_hand(session, county, following) == []
    assert [turn.month for turn in await made.turns(session, following)] == [january, january]

    await checked(session, women[0], LAST)
    with time_machine.travel(datetime(LAST + 1, 1, 1, 12, tzinfo=UTC), tick=False):
        await rotations.renew(session)
        await session.commit()
        await rotations.work(following.id)
        assert await by_hand(session, county, following) == [women[1].id]
        assert await rotations.send(following.id) == 1
    await session.refresh(this)
    assert this.status is RotationStatus.ENDED
    early, late = sorted(await made.turns(session, following), key=lambda turn: turn.person_id == women[0].id)
    assert (early.status, early.month) == (T.INVITED, january)
    assert (late.status, late.month and late.month.year) == (T.PLANNED, LAST + 3)
    assert this.region_code == following.region_code == COUNTY
