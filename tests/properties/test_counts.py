"""Whoever lives wherever: a region's figures are its own and those of the regions below, and all people are counted."""

from collections import Counter
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.households import Category, FamilyType, Household, HouseholdStatus, Membership, Person, Sex
from app.models.regions import Region
from app.models.search import RegionStatistic
from app.services.search import statistics
from tests.factories.appointments import worker

# Levels are skipped: towns under a prefecture, a village under a county.
TREE = {
    "990000000000": None, "990100000000": "990000000000", "990101000000": "990100000000",
    "990101001000": "990101000000", "990101001201": "990101001000", "990101001202": "990101001000",
    "990101002201": "990101000000", "999000000000": "990000000000", "999001001000": "999000000000",
    "999001001201": "999001001000",
}  # fmt: skip
PLACES = st.sampled_from(list(TREE))
PEOPLE = st.fixed_dictionaries(
    {
        "region_code": st.none() | PLACES,
        "hukou_region_code": st.none() | PLACES,
        "sex": st.sampled_from(Sex),
        "birth_date": st.dates(date(1930, 1, 1), date(2025, 12, 31)),
        "died_on": st.sampled_from([None, None, None, date(2026, 1, 1)]),
    }
)
HOMES = st.fixed_dictionaries(
    {
        "region_code": PLACES,
        "status": st.sampled_from(HouseholdStatus),
        "family_type": st.none() | st.sampled_from(FamilyType),
    }
)
HELD = st.tuples(
    st.sampled_from([("minimum_income", Household), ("surgery_complication", Person)]), st.integers(0, 9)
)


async def arrange(
    session: AsyncSession, people: list[dict[str, Any]], homes: list[dict[str, Any]], held: list[Any]
) -> None:
    for model in (RegionStatistic, Category, Membership, Person, Household):
        await session.execute(delete(model))
    rows = {
        Household: [{"id": new_id(), "marks": [], "version": 1, "created_at": clock.now(), **home} for home in homes],
        Person: [
            {"id": new_id(), "name": "某", "pinyin": "mou", "initials": "m", "document_kind": "passport",
             "document_number_sealed": b"", "document_index": new_id().bytes, "created_at": clock.now(), **one}
            for one in people
        ],
    }  # fmt: skip
    for model, values in rows.items():
        if values:
            await session.execute(insert(model), values)
    actor = await worker(session)
    for (code, model), place in held:
        if rows[model]:
            holder = rows[model][place % len(rows[model])]["id"]
            ids = {"household_id": holder} if model is Household else {"person_id": holder}
            row = {"id": new_id(), "code": code, "evidence_sealed": b"", "verified_by": actor.id, **ids}
            await session.execute(insert(Category), [row | {"valid_from": date(2020, 1, 1)}])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PEOPLE, max_size=12), st.lists(HOMES, max_size=6), st.lists(HELD, max_size=6))
async def test_counts_by_region_sum_to_the_parent(
    session: AsyncSession, people: list[dict[str, Any]], homes: list[dict[str, Any]], held: list[Any]
) -> None:
    common = {"valid_from": date(2026, 1, 1), "valid_to": None, "source": "test"}
    await session.execute(
        insert(Region).on_conflict_do_nothing(),
        [{"code": code, "level": 5, "parent_code": up, "name": code, **common} for code, up in TREE.items()],
    )

    await arrange(session, people, homes, held)
    assert await statistics.recompute(session)
    await check(session, people, homes)


async def check(session: AsyncSession, people: list[dict[str, Any]], homes: list[dict[str, Any]]) -> None:
    rows = list(await session.scalars(select(RegionStatistic).execution_options(populate_existing=True)))
    figures = {row.region_code: Counter(row.figures) for row in rows}
    for row in rows:
        own = figures[row.region_code]
        below = sum(
            (figures.get(code, Counter()) for code, up in TREE.items() if up == row.region_code), Counter()
        )
        here = own - below
        assert own == below + here, row.region_code
        living = [one for one in people if one["region_code"] == row.region_code and not one["died_on"]]
        active = [
            one
            for one in homes
            if one["region_code"] == row.region_code and one["status"] is HouseholdStatus.ACTIVE
        ]
        assert (here["people"], here["households"]) == (len(living), len(active))
        assert own["people"] == own["people.male"] + own["people.female"]
        bands = sum(n for measure, n in own.items() if measure.startswith("people.") and "." in measure[7:])
        assert own["people"] == bands
        types = sum(n for measure, n in own.items() if measure.startswith("households.type."))
        assert own["households"] == types
    top = figures.get("990000000000", Counter())
    alive = [one for one in people if one["region_code"] and not one["died_on"]]
    assert top["people"] == len(alive)
    assert top["households"] == sum(home["status"] is HouseholdStatus.ACTIVE for home in homes)
    away = [
        one
        for one in alive
        if one["hukou_region_code"] and one["hukou_region_code"][:6] != one["region_code"][:6]
    ]
    assert top["migrants_in"] == top["registered_here_living_elsewhere"] == len(away)
