"""The dry run: every line gets its verdict, nothing enters the registry."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from itertools import islice

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
from app.services.imports import registered, sheets
from app.services.imports.categories import category_names
from app.services.imports.columns import find
from app.services.imports.families import settle
from app.services.imports.places import Regions
from app.services.imports.row import Row
from app.services.imports.rows import Known, read_rows
from app.services.imports.staging import Staged, copy, stage
from app.services.regions import TOWN

CHUNK = 5000


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
    except sheets.FileRefused as refused:
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


async def unhurried(db: AsyncSession) -> None:
    """The limits of a request do not fit a million rows."""
    await db.execute(text("SET LOCAL statement_timeout = '60min'"))
    await db.execute(text("SET LOCAL lock_timeout = '1min'"))
    await db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))


async def alone(db: AsyncSession, batch_id: uuid.UUID) -> bool:
    """Until this transaction ends nobody else works on the batch; False: somebody does."""
    key = batch_id.int & ((1 << 63) - 1)
    return bool(await db.scalar(select(func.pg_try_advisory_xact_lock(key))))


async def _stage(db: AsyncSession, batch_id: uuid.UUID) -> None:
    batch = await db.get_one(ImportBatch, batch_id)
    if batch.status is not ImportStatus.CHECKING or batch.rows_total is not None:
        return
    stored = await db.get_one(StoredFile, batch.file_id)
    known = await surroundings(db, batch.region_code)
    total = 0
    with await files.open(db, batch.file_id) as file:
        lines = sheets.read(file, stored.name)
        layout = await asyncio.to_thread(find, lines)
        async for rows in _staged(batch_id, read_rows(lines, layout, known)):
            await registered.judge(db, batch_id, rows, batch.region_code)
            await copy(db, rows)
            total += len(rows)
            await _progress(batch_id, total)
    if not total:
        raise sheets.FileRefused.because("表中没有数据行", "there are no rows below the headings")
    left_out = [{"zh": zh, "en": en} for zh, en in layout.warnings]
    staged = update(ImportBatch).where(ImportBatch.id == batch_id)
    await db.execute(staged.values(rows_total=total, problem=left_out, attempts=0))


async def _settle(db: AsyncSession, batch_id: uuid.UUID) -> None:
    batch = await db.get_one(ImportBatch, batch_id)
    if batch.status is not ImportStatus.CHECKING or batch.rows_total is None:
        return
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


async def _staged(batch_id: uuid.UUID, lines: Iterator[Row]) -> AsyncIterator[list[Staged]]:
    """Chunk by chunk. While the database works on one, a thread reads and seals the next."""

    def following() -> list[Staged]:
        return list(_sparing(batch_id, islice(lines, CHUNK)))

    coming = asyncio.ensure_future(asyncio.to_thread(following))
    try:
        while rows := await coming:
            coming = asyncio.ensure_future(asyncio.to_thread(following))
            yield rows
    finally:
        await asyncio.gather(
            coming, return_exceptions=True
        )  # the thread reads the file, which is closed next


def _sparing(batch_id: uuid.UUID, lines: Iterator[Row]) -> Iterator[Staged]:
    """The address is sealed once for the lines of a household that follow each other."""
    last = None
    for row in lines:
        if row.household == last:
            row.address = None
        elif row.address:
            last = row.household
        yield stage(batch_id, row)


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
