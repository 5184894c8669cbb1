"""Chunks of one import on two connections: none is committed before the one ahead of it."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app import db
from app.models.households import FamilyType, Household, Membership, Person
from app.models.imports import ImportBatch, ImportRow, ImportStatus, Verdict
from app.services import imports
from app.services.households import family_types
from app.services.imports import committing
from tests.factories import appointments as made
from tests.factories import imports as lists

FAMILIES = 40


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "CHUNK", 10)
    monkeypatch.setattr(committing, "SIDE_BY_SIDE_FROM", 0)


async def to_commit() -> uuid.UUID:
    async with db.begin() as session:
        officer = await made.worker(session, made.REGION)
    lines = [line for number in range(FAMILIES) for line in lists.family(str(number))]
    id = await lists.upload(officer, lists.csv(lines))
    await imports.work(id)
    async with db.begin() as session:
        version = (await session.get_one(ImportBatch, id)).version
        await imports.commit(session, officer, id=id, version=version)
    return id


async def number_of(model: Any) -> int:
    async with db.begin() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_none_is_committed_before_the_one_ahead_of_it(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await to_commit()
    insert, at_once, most, order = committing._insert, 0, 0, []

    async def slow(session: Any, given: dict[str, Any]) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        rows = await insert(session, given)
        order.append(given["after"])
        await asyncio.sleep(0.03 * (len(order) % 2))  # every other one would be overtaken
        at_once -= 1
        return rows

    monkeypatch.setattr(committing, "_insert", slow)
    await imports.work(id)
    assert most == 2
    async with db.begin() as session:
        batch = await session.get_one(ImportBatch, id)
        assert (batch.status, batch.rows_done) == (ImportStatus.COMMITTED, 3 * FAMILIES)
    assert await number_of(Membership) == 3 * FAMILIES
    assert await number_of(Household) == FAMILIES


async def test_one_household_that_the_database_refuses_stays_out(committed: str) -> None:
    id = await to_commit()
    async with db.begin() as session:  # what no dry run can foresee
        spoilt = await session.scalar(select(ImportRow.household_id).where(ImportRow.line == 50))
        await session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN IF NEW.id = '{spoilt}' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$"
            )
        )
        await session.execute(
            text("CREATE TRIGGER refuse BEFORE INSERT ON household FOR EACH ROW EXECUTE FUNCTION refuse()")
        )
    await imports.work(id)
    assert await number_of(Household) == FAMILIES - 1
    assert await number_of(Person) == 3 * (FAMILIES - 1)
    async with db.begin() as session:
        batch = await session.get_one(ImportBatch, id)
        assert (batch.status, batch.attempts) == (ImportStatus.COMMITTED, 0)
        assert batch.counts["refused"] == 3
        told = select(ImportRow.household_id, ImportRow.wrong).where(ImportRow.verdict == Verdict.REFUSED)
        for household_id, wrong in await session.execute(told):
            assert household_id == spoilt
            assert wrong[-1]["code"] == "not_taken_in"


async def test_types_are_those_of_the_rule(committed: str) -> None:
    """Decided while the rows go in, from the list alone."""
    await imports.work(await to_commit())
    async with db.begin() as session:
        types = list(await session.scalars(select(Household.family_type)))
        assert set(types) <= set(FamilyType)
    assert await family_types.settle_all() == 0, "the registry says the same"


async def test_a_lost_connection_is_no_fault_of_a_household(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await to_commit()
    insert, times = committing._insert, 0

    async def cut(session: Any, given: dict[str, Any]) -> int:
        nonlocal times
        times += 1
        if times in (3, 4):
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return await insert(session, given)

    monkeypatch.setattr(committing, "_insert", cut)
    for _ in range(3):
        try:
            await imports.work(id)
        except Exception:  # the job worker tries again
            continue
    async with db.begin() as session:
        assert (await session.get_one(ImportBatch, id)).status is ImportStatus.COMMITTED
    assert await number_of(Person) == 3 * FAMILIES
