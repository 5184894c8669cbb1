"""Two offices record what happened to the same two people at once: on real commits, nobody waits for the other."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import func, select

from app import db, errors
from app.access import Actor
from app.db import new_id
from app.models.households import Couple, Household, Sex
from app.models.life_events import LifeEvent
from app.services import moves
from app.services.idempotency import Key
from tests.factories import appointments as given
from tests.factories.families import EAST, TOWN, annulled, family, happens, single

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS = 6
#: What may be said to the later one: not a deadlock, which is Unavailable of the database's own.
SAID = {"done", "not-a-couple", "unavailable", "already-annulled"}


async def outcomes(*calls: Awaitable[Any]) -> list[str]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [
        "done" if not isinstance(result, BaseException)
        else "deadlock" if "deadlock" in str(result)
        else errors.to_problem(result).slug()  # type: ignore[arg-type]
        for result in results
    ]  # fmt: skip


async def a_separated_couple() -> tuple[Actor, given.Spouses, Household]:
    """She lives with somebody else by now."""
    async with db.begin() as session:
        home, officer = await family(session), await given.worker(session, TOWN)
        other, _ = await single(session, "王老", Sex.MALE)
    async with db.begin() as session:
        row = await session.get_one(Household, home.household.id)
        plan = moves.ProposeMove.model_validate(
            {
                "household_id": row.id, "version": row.version, "to_region_code": EAST,
                "to_household_id": other.id, "moved_on": "2026-08-15",
                "members": [{"person_id": home.wife.id, "relation": "other"}],
            }
        )  # fmt: skip
        await moves.propose(session, officer, key=Key(new_id(), b"apart"), plan=plan)
    return officer, home, other


async def divorce(officer: Actor, household: Household, person: Any) -> LifeEvent:
    async with db.begin() as session:
        return await happens(session, officer, household.id, "divorce", "2026-09-01", person_id=person.id)


async def annul(officer: Actor, event: LifeEvent) -> None:
    async with db.begin() as session:
        await annulled(session, officer, event)


async def test_a_divorce_that_both_homes_record_is_recorded_once() -> None:
    for _ in range(ROUNDS):
        officer, home, other = await a_separated_couple()
        said = await outcomes(
            divorce(officer, home.household, home.husband), divorce(officer, other, home.wife)
        )
        assert set(said) <= SAID, said
        assert said.count("done") == 1


async def test_a_divorce_that_is_annulled_at_once_twice_is_annulled_once() -> None:
    officer, home, other = await a_separated_couple()
    event = await divorce(officer, other, home.wife)
    said = await outcomes(*(annul(officer, event) for _ in range(3)))
    assert set(said) <= SAID, said
    assert said.count("done") == 1
    async with db.begin() as session:
        live = select(func.count()).where(Couple.id == home.couple.id, Couple.valid_to.is_(None))
        assert await session.scalar(live) == 1
