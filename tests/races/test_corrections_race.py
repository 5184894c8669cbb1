"""Corrections, edits and erasures at once, on real commits: one wins, the other is told why."""

import asyncio
import uuid
from collections import Counter
from datetime import date

import pytest
from sqlalchemy import func, select

from app import db, errors
from app.db import new_id
from app.journey import resident_number
from app.models.corrections import Correction
from app.models.handbook import HouseholdEvent
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.models.identity import Role
from app.models.rights import Erasure
from app.services import corrections, households, rights
from app.services.corrections.changes import CHANGE
from app.services.households import belonging
from app.services.idempotency import Key
from tests.factories import appointments as made

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS = 5


async def outcomes(*calls):
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(
        errors.to_problem(answer).slug() if isinstance(answer, Exception) else "done" for answer in answers
    )


async def alone(call, *args, **named):
    async with db.begin() as session:
        return await call(session, *args, **named)


async def people():
    async with db.begin() as session:
        families = [await made.couple(session) for _ in range(2)]
        workers = [
            await made.worker(session, made.REGION, Role.VILLAGE_WORKER),
            await made.worker(session, made.REGION, Role.TOWNSHIP_OFFICER),
            await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR),
        ]
    return families, workers


async def ask(actor, person, field, value):
    return await alone(
        corrections.request, actor, key=Key(new_id(), b"one"), subject_id=person.id,
        change=CHANGE.validate_python({"field": field, "value": value}), evidence="户口本",
    )  # fmt: skip


async def approve(actor, asked):
    return await alone(corrections.approve, actor, id=asked.id, version=asked.version)


async def test_of_two_who_ask_for_one_field_one_is_heard() -> None:
    (family, _), (worker, officer, _) = await people()
    for field, value in (("name", "李秀瑛"), ("hukou_type", "urban")):
        heard = await outcomes(*(ask(who, family.wife, field, value) for who in (worker, officer)))
        assert heard == {"done": 1, "correction-pending": 1}


async def test_of_approval_rejection_and_withdrawal_one_counts() -> None:
    for _ in range(ROUNDS):
        (family, _), (worker, officer, county) = await people()
        asked = await ask(worker, family.wife, "name", "李秀瑛")
        named = {"id": asked.id, "version": asked.version}
        ended = await outcomes(
            approve(officer, asked),
            approve(county, asked),
            alone(corrections.reject, officer, reason="不清楚", **named),
            alone(corrections.withdraw, worker, **named),
        )
        assert ended == {"done": 1, "stale-version": 3}
        async with db.begin() as session:
            row = await session.get_one(Correction, asked.id)
            person = await session.get_one(Person, family.wife.id)
            steps = await session.scalar(
                select(func.count()).where(
                    HouseholdEvent.person_id == person.id, HouseholdEvent.kind == "correction_approved"
                )
            )
        assert (person.name == "李秀瑛", steps) == ((True, 1) if row.status == "approved" else (False, 0))


async def test_two_people_never_get_one_document() -> None:
    for _ in range(ROUNDS):
        families, (_, officer, county) = await people()
        number = resident_number(date(1996, 7, 8), female=True)
        asked = [
            await ask(family.wife_actor, family.wife, "document", {"kind": "resident_id", "number": number})
            for family in families
        ]
        given = await outcomes(approve(officer, asked[0]), approve(county, asked[1]))
        assert given == {"done": 1, "document-registered": 1}


async def test_of_two_who_edit_a_household_the_second_sees_both_versions() -> None:
    for _ in range(ROUNDS):
        (family, _), (worker, officer, _) = await people()

        def edit(who, address, household_id: uuid.UUID = family.household.id):
            return alone(
                households.edit, who, id=household_id, version=1, address=address, purpose="registry_upkeep"
            )

        answers = await asyncio.gather(
            edit(worker, "凤凰北街 8 号 301"), edit(officer, "解放西街 9 号 402"), return_exceptions=True
        )
        [refused] = [answer for answer in answers if isinstance(answer, Exception)]
        mine = ["凤凰北街 8 号 301", "解放西街 9 号 402"][answers.index(refused)]
        assert isinstance(refused, errors.StaleVersion)
        assert refused.extensions["yours"] == {"address": mine}
        assert refused.extensions["current"]["address"][:4] != mine[:4]
        assert refused.extensions["current_version"] == 2


async def test_of_two_decisions_on_an_erasure_one_counts() -> None:
    for _ in range(ROUNDS):
        (family, _), (_, _, county) = await people()
        async with db.begin() as session:
            home = await session.get_one(Household, family.household.id)
            home.status = HouseholdStatus.CLOSED
            for one in await session.scalars(select(Membership).where(Membership.household_id == home.id)):
                one.valid_to = one.valid_from
            for person in (family.wife, family.husband):
                (await session.get_one(Person, person.id)).region_code = None
        asked = await alone(
            rights.request_own, family.wife_actor, key=Key(new_id(), b"one"), person_id=None, why=None
        )
        named = {"id": asked.id, "version": asked.version}
        ended = await outcomes(
            alone(rights.decide, county, grant=True, reason="已核实", **named),
            alone(rights.decide, county, grant=False, reason="不同意", **named),
            alone(rights.withdraw, family.wife_actor, **named),
        )
        assert ended["done"] == 1
        assert set(ended) <= {
            "done",
            "stale-version",
            "not-found",
        }  # the account is unbound: nothing is its own
        async with db.begin() as session:
            row = await session.get_one(Erasure, asked.id)
            person = await session.get_one(Person, family.wife.id)
        assert (row.status == "done") == (person.name == "已注销")


async def test_an_approval_and_a_life_event_do_not_block_each_other() -> None:
    """Both lock the household first and then its people."""
    for _ in range(ROUNDS):
        (family, _), (worker, officer, county) = await people()
        asked = await ask(worker, family.wife, "name", "李秀瑛")

        async def event(home: uuid.UUID = family.household.id) -> None:
            async with db.begin() as session:
                rows = await belonging.lock(session, [home])
                await asyncio.sleep(0.05)
                await belonging.members(session, rows[home])

        answers = await outcomes(event(), approve(officer, asked), ask(county, family.wife, "sex", "female"))
        assert answers == {"done": 2, "invalid": 1}


async def test_of_the_last_two_who_are_erased_the_later_empties_the_household() -> None:
    for _ in range(ROUNDS):
        (family, _), (_, _, county) = await people()
        async with db.begin() as session:
            home = await session.get_one(Household, family.household.id)
            home.status, home.address = HouseholdStatus.CLOSED, "凤凰北街 8 号"
            for one in await session.scalars(select(Membership).where(Membership.household_id == home.id)):
                one.valid_to = one.valid_from
            for person in (family.wife, family.husband):
                (await session.get_one(Person, person.id)).region_code = None
        asked = [
            await alone(rights.request_own, actor, key=Key(new_id(), b"one"), person_id=None, why=None)
            for actor in (family.wife_actor, family.husband_actor)
        ]

        async def slowly(one, county=county) -> None:
            async with db.begin() as session:
                await rights.decide(session, county, id=one.id, version=one.version, grant=True, reason="x")
                await asyncio.sleep(0.05)

        assert await outcomes(*map(slowly, asked)) == {"done": 2}
        async with db.begin() as session:
            assert (await session.get_one(Household, family.household.id)).address is None
