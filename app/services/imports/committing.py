"""From staging into the registry: chunks of whole households, each in one transaction that also says how far it is."""

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.models.imports import ImportBatch, ImportStatus
from app.models.staff import StaffAccount
from app.services.households import family_types
from app.services.imports import statements as sql
from app.services.imports.checking import LANES, alone, analyse, counts, unhurried
from app.services.imports.families import FIRST, LAST
from app.services.search import statistics

log = logging.getLogger("nuanxin.imports")
CHUNK = 4000
TRIES = 5
#: From how many lines on two connections are worth their while.
SIDE_BY_SIDE_FROM = 10_000
MOST_HINDRANCES = 3
#: What PostgreSQL says of values and constraints; all else (a lost connection, a full disk) is no fault of a household.
ITS_OWN_FAULT = ("22", "23", "P0")


class Changed(Exception):
    """The registry is no longer what the dry run saw."""


class Hindered(Exception):
    """A chunk that must wait until it is alone."""


async def commit(batch_id: uuid.UUID) -> None:
    """Go on from where the last worker came to, until nothing is left; who finds another at it leaves it. A chunk in
    which something stands in the way goes in alone, and then again two at a time, unless that happens often."""
    await analyse()
    hindrances = 0
    while await _step(batch_id):
        if hindrances < MOST_HINDRANCES:
            hindrances += not await _side_by_side(batch_id)
    await _settle_types(batch_id)
    async with begin() as db:
        await statistics.request(db)


async def _settle_types(batch_id: uuid.UUID) -> None:
    """Of the households that were joined; what a crash leaves, the nightly job does. In transactions of their own:
    who joins holds a household with others, which cannot be turned into holding it alone."""
    last: uuid.UUID | None = FIRST
    while last is not None:
        async with begin() as db:
            await unhurried(db)
            given = {"batch": batch_id, "after": last, "size": CHUNK}
            ids = list(await db.scalars(sql.JOINED_BY_NOW, given))
            await family_types.settle(db, ids)
            last = ids[-1] if ids else None


async def _step(batch_id: uuid.UUID) -> bool:
    """One chunk alone; False when there is no more to do."""
    async with begin() as db:
        await unhurried(db)
        if not await alone(db, batch_id):
            return False
        batch = await db.get_one(ImportBatch, batch_id, with_for_update=True)
        if batch.status is not ImportStatus.COMMITTING:
            return False
        after = batch.committed_through or FIRST
        if after == LAST:
            batch.status, batch.committed_at = ImportStatus.COMMITTED, clock.now()
            batch.counts, batch.rows_done = await counts(db, batch_id), batch.rows_total or 0
            return False
        given = await _given(db, batch, after)
        await _advance(db, given, await _bring_in(db, given))
        return True


async def _given(db: AsyncSession, batch: ImportBatch, after: uuid.UUID) -> dict[str, Any]:
    """The next chunk: up to which household."""
    worker = await db.get_one(StaffAccount, batch.committed_by)
    upto = await db.scalar(sql.UPTO, {"batch": batch.id, "after": after, "size": CHUNK})
    return {
        "batch": batch.id, "after": after, "upto": upto or LAST, "now": clock.now(), "today": clock.today(),
        "worker": worker.id, "role": worker.role.value, "request": str(batch.id), "first": FIRST,
    }  # fmt: skip


async def _advance(db: AsyncSession, given: dict[str, Any], rows: int) -> None:
    if await _count(db, sql.ADVANCED, given | {"rows": rows}) != 1:
        raise Hindered


@dataclass
class _Queue:
    """Where the next chunk begins, and when the one before it is in."""

    after: uuid.UUID
    before: asyncio.Event
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


async def _side_by_side(batch_id: uuid.UUID) -> bool:
    """Chunk after chunk on two connections: while one is written the next one is too, but none is committed before the
    one ahead of it, so that a crash leaves no gap. False: one did not go in smoothly; nothing of it, nor of what was
    behind it, remains."""
    async with begin() as db:
        batch = await db.get_one(ImportBatch, batch_id)
    if batch.status is not ImportStatus.COMMITTING or (batch.rows_total or 0) < SIDE_BY_SIDE_FROM:
        return True
    queue = _Queue(batch.committed_through or FIRST, asyncio.Event())
    queue.before.set()
    smooth = True
    try:
        async with asyncio.TaskGroup() as lanes:
            for lane in range(LANES):
                lanes.create_task(_lane(batch_id, lane, queue))
    except* (Changed, Hindered, DBAPIError) as hindrance:
        smooth = False
        why = {"batch": str(batch_id), "why": [type(error).__name__ for error in hindrance.exceptions]}
        log.info("an import goes on alone", extra={"fields": why})
    return smooth


async def _lane(batch_id: uuid.UUID, lane: int, queue: _Queue) -> None:
    while queue.after != LAST:
        async with begin() as db:
            await unhurried(db, lock_timeout="5s")  # the other lane may wait for whom we wait for
            if not await alone(db, batch_id, lane):
                raise Hindered
            batch = await db.get_one(ImportBatch, batch_id)
            async with queue.turn:
                if queue.after == LAST:
                    return
                given = await _given(db, batch, queue.after)
                before, mine = queue.before, asyncio.Event()
                queue.after, queue.before = given["upto"], mine
            rows = await _insert(db, given)
            await before.wait()
            await _advance(db, given, rows)
        mine.set()


async def _bring_in(db: AsyncSession, given: dict[str, Any]) -> int:
    """How many rows went in. What the registry has become since the dry run is told to the lines. A household that
    the database refuses is found by halving, and refused; the others go in."""
    for _ in range(TRIES):
        try:
            async with db.begin_nested():
                return await _insert(db, given)
        except Changed:
            for statement in sql.RECHECK:
                await db.execute(statement, given)
        except DBAPIError as error:
            if not str(getattr(error.orig, "sqlstate", "")).startswith(ITS_OWN_FAULT):
                raise
            break
    return await _halve(db, given)


async def _halve(db: AsyncSession, given: dict[str, Any]) -> int:
    ids = list(await db.scalars(sql.AMONG, given))
    if len(ids) > 1:
        middle = ids[len(ids) // 2 - 1]
        first = await _bring_in(db, given | {"upto": middle})
        return first + await _bring_in(db, given | {"after": middle})
    log.error("a household of an import was refused", extra={"fields": {"batch": str(given["batch"])}})
    await db.execute(sql.SPOILT, given)
    return 0


async def _insert(db: AsyncSession, given: dict[str, Any]) -> int:
    """How many rows went in; Changed when something stood in the way of one."""
    wanted = (await db.execute(sql.EXPECTED, given)).one()
    if wanted.joined and len((await db.execute(sql.JOINED, given)).all()) != wanted.joined:
        raise Changed
    if wanted.linked:
        await db.execute(sql.KNOWN, given)
    if await _count(db, sql.households(given)) != wanted.households:
        raise Changed
    if await _count(db, sql.PEOPLE, given) != wanted.people:
        raise Changed
    if wanted.linked and await _count(db, sql.LINKED, given) != wanted.linked:
        raise Changed
    await db.execute(sql.MEMBERSHIPS, given)
    unmarried = wanted.couples and await _count(db, sql.COUPLES, given) != wanted.couples
    if unmarried:
        await db.execute(sql.UNMARRIED, given)
    if wanted.categories:
        await db.execute(sql.CATEGORY_THERE, given)
        await db.execute(sql.CATEGORIES, given)
    if wanted.linked or unmarried:
        await family_types.settle(db, list(await db.scalars(sql.UNSETTLED, given)))
    await db.execute(sql.TRACES, given)
    return int(wanted.people + wanted.linked)


async def _count(db: AsyncSession, statement: Executable, given: dict[str, Any] | None = None) -> int:
    result = await db.execute(statement, given)
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
