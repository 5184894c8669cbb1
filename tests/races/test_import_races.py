"""An import that is killed, and one that two workers take up at once: each row goes in exactly once."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import db
from app.access import Actor
from app.models.audit import AuditEvent
from app.models.households import Household, Membership, Person
from app.models.imports import ImportBatch, ImportRow, ImportStatus
from app.services import imports
from app.services.imports import committing, reading
from app.settings import ROOT
from tests.factories import appointments as made
from tests.factories import imports as lists

FAMILIES = 120
# Works on the batch, dies by its own hand in the middle of a chunk, with everything undone that is not committed.
DYING = """
import asyncio, os, signal, sys, uuid
from app import crypto, db
from app.services import imports
from app.services.imports import checking, committing, reading
from app.settings import settings
committing.CHUNK = reading.CHUNK = 60
committing.SIDE_BY_SIDE_FROM = int(sys.argv[3])
crypto.use(crypto.SettingsKeys(settings()))
left = int(sys.argv[2])
def dying(function):
    async def counted(*given):
        global left
        left -= 1
        last = left == 0
        done = await function(*given)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return counted
committing._insert, checking.copy = dying(committing._insert), dying(checking.copy)
async def main():
    db.connect(settings(), os.environ["NUANXIN_DATABASE_URL"])
    await imports.work(uuid.UUID(sys.argv[1]))
asyncio.run(main())
"""


async def uploaded() -> tuple[Actor, uuid.UUID]:
    async with db.begin() as session:
        officer = await made.worker(session, made.REGION)
    lines = [line for number in range(FAMILIES) for line in lists.family(str(number))]
    return officer, await lists.upload(officer, lists.csv(lines))


def work_and_die(database: str, id: uuid.UUID, after: int, *, side_by_side: bool = False) -> None:
    most = "0" if side_by_side else "10000"
    killed = subprocess.run(
        [sys.executable, "-c", DYING, str(id), str(after), most], cwd=ROOT, check=False, capture_output=True, text=True,
        env=os.environ | {"NUANXIN_DATABASE_URL": database.replace("+asyncpg", "")}, timeout=60,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr


async def to_commit(officer: Actor, id: uuid.UUID) -> None:
    async with db.begin() as session:
        version = (await session.get_one(ImportBatch, id)).version
        await imports.commit(session, officer, id=id, version=version)


async def each_once(session: AsyncSession, id: uuid.UUID) -> None:
    batch = await session.get_one(ImportBatch, id)
    assert batch.status is ImportStatus.COMMITTED
    assert batch.rows_done == batch.rows_total == 3 * FAMILIES
    for model, number in ((Household, FAMILIES), (Person, 3 * FAMILIES), (Membership, 3 * FAMILIES)):
        assert await session.scalar(select(func.count()).select_from(model)) == number
    traced = Counter(await session.scalars(select(AuditEvent.person_id).where(AuditEvent.action == "import")))
    assert set(traced.values()) == {1}
    assert len(traced) == 3 * FAMILIES


@pytest.mark.parametrize("side_by_side", [False, True])
async def test_a_killed_import_goes_on_without_doubling(committed: str, side_by_side: bool) -> None:
    # Given a worker who dies in the middle of the dry run,
    officer, id = await uploaded()
    await asyncio.to_thread(work_and_die, committed, id, 3)
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(ImportRow)) == 0
    await imports.work(id)
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(ImportRow)) == 3 * FAMILIES
    # and another in the middle of a chunk of the commit,
    await to_commit(officer, id)
    await asyncio.to_thread(work_and_die, committed, id, 3, side_by_side=side_by_side)
    async with db.sessions() as session:
        done = (await session.get_one(ImportBatch, id)).rows_done
        assert 0 < done < 3 * FAMILIES, "it was the middle"
        assert await session.scalar(select(func.count()).select_from(Person)) == done
    # when the next takes it up, then every row is there once.
    await imports.work(id)
    async with db.sessions() as session:
        await each_once(session, id)


@pytest.mark.parametrize("side_by_side_from", [0, 10_000])
async def test_two_workers_of_one_batch(
    committed: str, monkeypatch: pytest.MonkeyPatch, side_by_side_from: int
) -> None:
    monkeypatch.setattr(committing, "SIDE_BY_SIDE_FROM", side_by_side_from)
    monkeypatch.setattr(committing, "CHUNK", 20)
    monkeypatch.setattr(reading, "CHUNK", 50)
    officer, id = await uploaded()
    await asyncio.gather(*(imports.work(id) for _ in range(3)))
    async with db.sessions() as session:
        assert (await session.get_one(ImportBatch, id)).status is ImportStatus.CHECKED
        assert await session.scalar(select(func.count()).select_from(ImportRow)) == 3 * FAMILIES
    await to_commit(officer, id)
    await asyncio.gather(*(imports.work(id) for _ in range(3)))
    async with db.sessions() as session:
        await each_once(session, id)


@pytest.mark.parametrize("side_by_side_from", [0, 10_000])
async def test_two_batches_with_the_same_people(
    committed: str, monkeypatch: pytest.MonkeyPatch, side_by_side_from: int
) -> None:
    """Both were checked before either was committed."""
    monkeypatch.setattr(committing, "SIDE_BY_SIDE_FROM", side_by_side_from)
    monkeypatch.setattr(committing, "CHUNK", 20)
    async with db.begin() as session:
        officer = await made.worker(session, made.REGION)
    lines = [line for number in range(40) for line in lists.family(str(number))]
    ids = [await lists.upload(officer, lists.csv(some)) for some in (lines, list(reversed(lines)))]
    for id in ids:
        await imports.work(id)
        await to_commit(officer, id)
    await asyncio.gather(*(imports.work(id) for id in ids))
    async with db.sessions() as session:
        for id in ids:
            assert (await session.get_one(ImportBatch, id)).status is ImportStatus.COMMITTED
        assert await session.scalar(select(func.count()).select_from(Person)) == 120
        assert await session.scalar(select(func.count()).select_from(Membership)) == 120
        assert await session.scalar(select(func.count()).select_from(Household)) == 40
