"""Everybody is counted once, where they live, and once in each region above."""

from collections import Counter
from datetime import date, timedelta

import asyncpg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.models.households import FamilyType, HouseholdStatus, Sex
from app.models.regions import Region
from app.models.search import RegionStatistic
from app.services.regions import RegionOutsideOwn
from app.services.search import statistics
from tests.factories import registry as made
from tests.factories.appointments import worker
from tests.factories.registry import COUNTY, NEXT_COUNTY, NEXT_VILLAGE, TOWN, VILLAGE, person

PREFECTURE, COUNTRY = "640100000000", "000000000000"


@pytest.fixture
async def actor(session: AsyncSession) -> Actor:
    await made.villages(session)
    return await worker(session, COUNTY)


async def figures(session: AsyncSession, region_code: str) -> Counter[str]:
    row = await session.get(RegionStatistic, region_code, populate_existing=True)
    return Counter(row.figures if row else {})


async def test_each_measure_counts_what_it_says(session: AsyncSession, actor: Actor) -> None:
    years = clock.years_ago
    old, boy = person("老人", born=years(80)), person("孩子", Sex.MALE, born=years(7) + timedelta(days=1))
    grown = person("壮年", Sex.MALE, born=years(49), hukou_region_code=NEXT_COUNTY)
    home = await made.household(session, old, boy, grown, family_type=FamilyType.ELDERLY)
    await made.category(session, actor, "minimum_income", home)
    await made.category(session, actor, "minimum_income", home, valid_from=date(2021, 1, 1))
    await made.category(session, actor, "surgery_complication", old)
    await made.category(session, actor, "five_guarantees", old, valid_to=date(2025, 1, 1))
    await made.household(session, person("逝者", died_on=date(2026, 1, 1)), region_code=NEXT_VILLAGE)
    await made.household(session, status=HouseholdStatus.SUBMITTED, region_code=TOWN)
    await made.household(session, status=HouseholdStatus.DRAFT)
    assert await statistics.recompute(session)
    assert await figures(session, VILLAGE) == {
        "people": 3, "people.female": 1, "people.male": 2, "people.female.80+": 1, "people.male.0-6": 1,
        "people.male.15-49": 1, "households": 1, "households.type.elderly": 1, "households.status.active": 1,
        "category.minimum_income": 1, "category.surgery_complication": 1, "migrants_in": 1,
    }  # fmt: skip
    town = await figures(session, TOWN)
    assert (town["people"], town["households"], town["households.status.submitted"]) == (3, 2, 1)
    # Registered in the next county, counted in this one only.
    assert await figures(session, NEXT_COUNTY) == {"registered_here_living_elsewhere": 1}
    assert (await figures(session, PREFECTURE))["people"] == 3
    assert (await figures(session, COUNTRY))["people"] == 3


async def test_figures_are_those_of_their_moment(session: AsyncSession, actor: Actor) -> None:
    gone = person("王芳")
    await made.household(session, gone)
    await statistics.recompute(session)
    gone.region_code = None
    await session.flush()
    assert (await figures(session, VILLAGE))["people"] == 1
    await statistics.recompute(session)
    assert (await figures(session, VILLAGE))["people"] == 0
    moments = set(await session.scalars(select(RegionStatistic.as_of)))
    assert len(moments) == 1


async def test_a_worker_sees_the_own_region_and_those_below(session: AsyncSession, actor: Actor) -> None:
    await made.household(session, person("王芳"))
    await made.household(session, person("李芳"), region_code=TOWN)
    await statistics.recompute(session)
    county = await statistics.of_region(session, actor, COUNTY)
    assert county[0]["region_code"] == COUNTY
    assert {row["level"] for row in county[1:]} == {4}
    town = await statistics.of_region(session, actor, TOWN)
    assert [row["region_code"] for row in town] == [TOWN, VILLAGE, NEXT_VILLAGE]
    assert [row["figures"].get("people", 0) for row in town] == [2, 1, 0]
    for elsewhere in (NEXT_COUNTY, PREFECTURE):
        with pytest.raises(RegionOutsideOwn):
            await statistics.of_region(session, actor, elsewhere)


async def test_parents_in_a_circle_end(session: AsyncSession, actor: Actor) -> None:
    await made.household(session, person("王芳"))
    await session.execute(update(Region).where(Region.code == TOWN).values(parent_code=VILLAGE))
    assert await statistics.recompute(session)
    assert (await figures(session, TOWN))["people"] == 1


async def test_only_one_counts_at_a_time(committed: str) -> None:
    other = await asyncpg.connect(committed)
    await other.execute("SELECT pg_advisory_lock($1)", statistics.ONLY_ONE)
    async with db.begin() as session:
        assert not await statistics.recompute(session)
    await other.close()
    async with db.begin() as session:
        assert await statistics.recompute(session)


async def test_a_request_is_one_job(session: AsyncSession) -> None:
    await statistics.request(session)
    await statistics.request(session)
    jobs = text("SELECT count(*) FROM pgqueuer WHERE entrypoint = :job")
    assert await session.scalar(jobs, {"job": statistics.JOB}) == 1
