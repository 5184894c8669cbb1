"""Answers and life events at the same moment, with real commits."""

import asyncio
from datetime import date

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from app import clock, db
from app.db import new_id
from app.errors import Invalid
from app.models.households import FamilyType, Household, Membership, Relation, Sex
from app.models.identity import Role
from app.models.surveys import SurveyTemplate
from app.services import surveys
from app.services.households import family_types
from app.services.idempotency import Key
from app.services.surveys import Answer, NewTemplate
from tests.factories import appointments as given
from tests.services.test_surveys import COUNTY, TOWN, answers, question, questionnaire, recounted, tallied

ONCE: list[list[Answer]] = [
    answers(works=["none"], contact=["phone"]),
    answers(works=["health"], health_needs=["counselling", "free_clinic"], contact=["visit"], other="好"),
    answers(situation=["elders_alone"], works=["none"], elders_alone=2, contact=["wechat"]),
]


async def answer(actor: given.Actor, household_id, template_id, what: list[Answer]) -> bool:
    async with db.sessions() as session:
        try:
            async with session.begin():
                await surveys.answer(
                    session, actor, key=Key(new_id(), b""), household_id=household_id, template_id=template_id,
                    answers=what,
                )  # fmt: skip
        except IntegrityError:
            return False
    return True


async def test_a_village_that_answers_at_once_is_counted_exactly(committed: str) -> None:
    async with db.begin() as session:
        template_id = await session.scalar(select(SurveyTemplate.id))
        homes = [await given.couple(session) for _ in range(12)]
        worker = await given.worker(session)
    # Each family and its worker both answer at the same moment.
    took = await asyncio.gather(*(
        answer(actor, home.household.id, template_id, ONCE[number % 3])
        for number, home in enumerate(homes)
        for actor in (home.wife_actor, worker)
    ))  # fmt: skip
    assert sum(took) == len(homes)
    async with db.begin() as session:
        counted = await tallied(session)
        assert counted == await recounted(session)
        year = clock.today().year
        assert counted[("family_needs", year, given.REGION, "", "")] == (len(homes), 0)


async def published(actor: given.Actor, asked: dict[str, object]) -> bool:
    async with db.sessions() as session:
        try:
            async with session.begin():
                new = NewTemplate.model_validate(questionnaire(asked, code="at_once"))
                await surveys.publish(session, actor, key=Key(new_id(), b""), new=new)
                await asyncio.sleep(0.1)  # so that the other comes before this is committed
        except Invalid:
            return False
    return True


async def test_a_county_and_its_town_cannot_give_one_question_two_types_at_once(committed: str) -> None:
    async with db.begin() as session:
        county = await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
        town = await given.worker(session, TOWN, Role.COUNTY_ADMINISTRATOR)
    number: dict[str, object] = {"id": "beds", "zh": "几张？", "en": "How many?", "type": "number"}
    took = await asyncio.gather(published(county, number), published(town, question("beds")))
    assert sorted(took) == [False, True]


async def somebody_waits() -> None:
    """For a row."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    for _ in range(500):
        async with db.begin() as session:
            if await session.scalar(query):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_a_birth_that_commits_meanwhile_is_seen_by_the_night_s_round(committed: str) -> None:
    # Given a couple too old for another child, and a grandchild that just comes to live with them.
    async with db.begin() as session:
        spouses = await given.couple(session)
        child = given.person("王小宝", Sex.FEMALE, birth_date=clock.today())
        for spouse in (spouses.wife, spouses.husband):
            spouse.birth_date = date(1975, 1, 1)
        session.add(child)
    home = spouses.household.id
    async with db.sessions() as session:
        await session.begin()
        await session.execute(
            update(Household).where(Household.id == home).values(version=Household.version + 1)
        )
        session.add(
            Membership(
                id=new_id(), household_id=home, person_id=child.id, relation=Relation.OTHER,
                valid_from=clock.today(),
            )
        )  # fmt: skip
        await session.flush()
        # When the night's round has looked before this commits, and waits for the household,
        night = asyncio.create_task(family_types.settle_all())
        await somebody_waits()
        await family_types.settle(session, [home])
        await session.commit()
        await night
    # then what it decides rests on what there is now.
    async with db.begin() as session:
        row = await session.get_one(Household, home)
        assert row.family_type is FamilyType.DEVELOPING
