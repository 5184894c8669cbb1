"""A guardian consents for a child under 14; from then on the child is asked (PIPL art. 31)."""

from datetime import date, timedelta

import pytest
import time_machine
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import NotFound
from app.models.consents import Consent, ConsentNotice
from app.models.households import Membership, Person, Relation, Sex
from app.services import consents
from app.services.idempotency import Key
from tests.factories import appointments as made
from tests.factories.appointments import Spouses
from tests.guards.cast import CITIZEN, caller

THE_DAY_BEFORE = "2026-11-21T04:00:00Z"
BORN = date(2012, 11, 22)


@pytest.fixture
async def family(session: AsyncSession) -> Spouses:
    return await made.couple(session)


async def child_of(session: AsyncSession, family: Spouses) -> tuple[Person, Actor]:
    """14 tomorrow, with a phone already."""
    child = made.person("王晓红", Sex.FEMALE, birth_date=BORN)
    session.add(child)
    await session.flush()
    session.add(
        Membership(
            id=new_id(),
            household_id=family.household.id,
            person_id=child.id,
            relation=Relation.CHILD,
            valid_from=date(2023, 1, 1),
        )
    )
    return child, await made.account(session, child)


async def give(session: AsyncSession, actor: Actor, notice: ConsentNotice, person: Person) -> Consent:
    return await consents.give(
        session, actor, key=Key(new_id(), b"consent"), notice_id=notice.id, person_id=person.id
    )


async def test_at_fourteen_the_guardians_consent_ends_and_the_own_one_takes_its_place(
    session: AsyncSession, family: Spouses
) -> None:
    with time_machine.travel(THE_DAY_BEFORE, tick=False) as traveller:
        child, own = await child_of(session, family)
        notices = await consents.notices(session)
        given = [await give(session, family.wife_actor, notice, child) for notice in notices]
        assert await consents.missing(session, [child.id]) == []
        assert {one.id for one in given} <= {
            row.id for row in await consents.history(session, family.wife_actor)
        }

        traveller.shift(timedelta(days=1))
        assert len(await consents.missing(session, [child.id])) == len(notices)
        with pytest.raises(consents.GuardianNeeded):
            await give(session, family.wife_actor, notices[0], child)
        seen = {row.id for row in await consents.history(session, family.wife_actor)}
        assert not {one.id for one in given} & seen
        with pytest.raises(NotFound):
            await consents.withdraw(session, family.wife_actor, consent_id=given[0].id)

        mine = [await give(session, own, notice, child) for notice in notices]
        assert [one.guardian_id for one in mine] == [None] * len(notices)
        assert await consents.missing(session, [child.id]) == []


async def test_booking_does_not_count_a_guardians_consent_for_who_is_grown(
    session: AsyncSession, family: Spouses
) -> None:
    place, service = await made.clinic(session), await made.service(session)
    slot = await made.slot(session, place=place.clinic, service=service)
    theirs = update(Consent).where(Consent.person_id == family.wife.id)
    await session.execute(theirs.values(guardian_id=family.husband.id))
    await session.commit()
    resident = await caller(session, CITIZEN, family.wife_actor)
    assert (await resident.post(f"{CITIZEN}/services/{service.code}/qualification")).json()["eligible"]
    answer = await resident.post(f"{CITIZEN}/appointments", json={"slot_id": str(slot.id)})
    assert answer.json()["type"] == "urn:nuanxin:problem:consent-required"
    await session.execute(theirs.values(guardian_id=None))
    await session.commit()
    assert (await resident.post(f"{CITIZEN}/appointments", json={"slot_id": str(slot.id)})).status_code == 201


@pytest.mark.parametrize(
    ("today", "turned"),
    [("2026-02-28", "2012-02-28"), ("2026-03-01", "2012-03-01"), ("2024-02-29", "2010-02-28")],
)
async def test_born_on_29_february_one_turns_on_1_march(
    session: AsyncSession, today: str, turned: str
) -> None:
    with time_machine.travel(f"{today}T04:00:00Z", tick=False):
        assert clock.years_ago(14) == date.fromisoformat(turned)
    in_sql = text(f"SELECT (DATE '{today}' - interval '14 years')::date")
    assert await session.scalar(in_sql) == date.fromisoformat(turned), "the same in book_appointment.sql"
