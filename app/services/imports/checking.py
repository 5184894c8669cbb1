"""The dry run: every line gets its verdict, nothing enters the registry."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import region_bounds, within
from app.db import begin
from app.models.files import StoredFile
from app.models.households import CategoryDefinition
from app.models.imports import ImportBatch, ImportRow, ImportStatus
from app.models.regions import Region
from app.services import files
from app.services.imports import reading, registered
from app.services.imports.categories import category_names
from app.services.imports.families import settle
from app.services.imports.lines import FileRefused
from app.services.imports.places import Regions
from app.services.imports.rows import Known
from app.services.imports.staging import copy
from app.services.regions import TOWN

#: How many connections may write one batch.
LANES = 2


async def check(batch_id: uuid.UUID) -> None:
    """Two steps, each one transaction: whoever dies in one leaves nothing of it, and the next begins it again. Only one
    worker at a time."""
    try:
        for step in (_stage, _settle):
            async with begin() as db:
                await unhurried(db)
                if not await alone(db, batch_id):
                    return
                await step(db, batch_id)
            if step is _stage:
                await analyse()
    except FileRefused as refused:
        async with begin() as db:
            batch = await db.get_one(ImportBatch, batch_id, with_for_update=True)
            if batch.status is ImportStatus.CHECKING:
                batch.status, batch.ended_at = ImportStatus.FAILED, clock.now()
                batch.problem = [{"zh": w["zh"], "en": w["en"]} for w in refused.errors or []]


async def analyse() -> None:
    """The planner must know how many rows there are now: without, it would look through all of them for each."""
    async with begin() as db:
        columns = "batch_id, line, household_id, verdict, relation, joins, local_number, head_line, before"
        await db.execute(text(f"ANALYZE import_row ({columns})"))


async def unhurried(db: AsyncSession, *, lock_timeout: str = "1min") -> None:
    """The limits of a request do not fit a million rows."""
    await db.execute(
        text(f"""
SELECT set_config('statement_timeout', '60min', true), set_config('lock_timeout', '{lock_timeout}', true),
       set_config('idle_in_transaction_session_timeout', '10min', true)""")
    )


async def alone(db: AsyncSession, batch_id: uuid.UUID, lane: int | None = None) -> bool:
    """Until this transaction ends nobody else works on the batch, or in this lane of it; False: somebody does."""
    key = batch_id.int & ((1 << 63) - 1)
    lanes = range(LANES) if lane is None else (lane,)
    held = [func.pg_try_advisory_xact_lock(key ^ lane) for lane in lanes]
    return all((await db.execute(select(*held))).one())


async def _stage(db: AsyncSession, batch_id: uuid.UUID) -> None:
    batch = await db.get_one(ImportBatch, batch_id)
    if batch.status is not ImportStatus.CHECKING or batch.rows_total is not None:
        return
    stored = await db.get_one(StoredFile, batch.file_id)
    known = await surroundings(db, batch.region_code)
    total = 0
    with await files.open(db, batch.file_id) as file:
        async with aclosing(_ahead(reading.read(file, stored.name, known, batch_id))) as parts:
            warnings = await anext(parts)
            async for rows in parts:
                await registered.judge(db, rows, batch.region_code)
                await copy(db, rows)
                total += len(rows)
                await _progress(batch_id, total)
    if not total:
        raise FileRefused.because("表中没有数据行", "there are no rows below the headings")
    left_out = [{"zh": zh, "en": en} for zh, en in warnings]
    staged = update(ImportBatch).where(ImportBatch.id == batch_id)
    await db.execute(staged.values(rows_total=total, problem=left_out, attempts=0))


async def _ahead(parts: Generator[Any, None, None]) -> AsyncGenerator[Any]:
    """While the database works on one, a thread sees to the next."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as reader:
        coming = loop.run_in_executor(reader, next, parts, None)
        try:
            while (part := await coming) is not None:
                coming = loop.run_in_executor(reader, next, parts, None)
                yield part
        finally:
            coming.cancel()
            reader.submit(parts.close)


async def _settle(db: AsyncSession, batch_id: uuid.UUID) -> None:
    batch = await db.get_one(ImportBatch, batch_id)
    if batch.status is not ImportStatus.CHECKING or batch.rows_total is None:
        return
    await db.execute(text("SET LOCAL work_mem = '64MB'"))
    await settle(db, batch_id)
    batch.status, batch.checked_at, batch.attempts = ImportStatus.CHECKED, clock.now(), 0
    batch.rows_done, batch.counts = batch.rows_total, await counts(db, batch_id)


async def surroundings(db: AsyncSession, region_code: str) -> Known:
    """The divisions and categories of today, and the bounds of the worker's own region."""
    query = select(Region.code, Region.parent_code, Region.level, Region.name).where(
        Region.valid_to.is_(None), or_(Region.level <= TOWN, within(Region.code, region_code))
    )
    divisions = [(code, parent, level, name) for code, parent, level, name in await db.execute(query)]
    definitions = await db.scalars(select(CategoryDefinition))
    categories = category_names((row.code, row.zh, row.holder) for row in definitions)
    regions = await asyncio.to_thread(Regions, divisions)
    return Known(regions, region_bounds(region_code), categories)


async def _progress(batch_id: uuid.UUID, done: int) -> None:
    async with begin() as db:
        moved = update(ImportBatch).where(ImportBatch.id == batch_id).values(rows_done=done)
        await db.execute(moved)


async def counts(db: AsyncSession, batch_id: uuid.UUID) -> dict[str, int]:
    query = (
        select(ImportRow.verdict, func.count())
        .where(ImportRow.batch_id == batch_id)
        .group_by(ImportRow.verdict)
    )
    return {verdict.value: number for verdict, number in await db.execute(query)}
