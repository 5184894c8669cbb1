"""Batches: a list uploaded, looked at, taken in, undone or given up. People decide here, jobs do the work."""

import hashlib
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import and_, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.crypto import mask_name
from app.db import begin, new_id
from app.errors import Conflict, WrongState
from app.models.files import StoredFile
from app.models.imports import AT_WORK, KEPT, ImportBatch, ImportRow, ImportStatus, Verdict
from app.services import audit, files, idempotency, queue
from app.services.idempotency import Key
from app.services.imports import checking, committing, undo
from app.services.pages import newest_first
from app.settings import settings

log = logging.getLogger("nuanxin.imports")
JOB = "work_on_import"
ATTEMPTS = 5
JANITOR = Actor.system("imports")
#: In a list of so many lines what hinders an undo is looked for in the request; in a longer one the job does it.
LOOKED_AT_ONCE = 100_000


class ImportTooOld(Conflict):
    zh, en = (
        "该批导入已超过保留期限（90 天）",
        "This import is older than 90 days: its lines are no longer kept",
    )
    do_zh, do_en = "请重新上传名单，或逐户更正", "Upload the list again, or correct household by household"


async def upload(
    actor: Actor, body: AsyncIterator[bytes], *, id: uuid.UUID | None, seen: bytes, name: str
) -> dict[str, Any]:
    """Keep the file and have it checked. Read to its end before anything is written: half an upload leaves nothing.
    `seen` is what else makes the request: the same key with another file is refused."""
    fingerprint = hashlib.sha256(seen)

    async def counted() -> AsyncIterator[bytes]:
        async for part in body:
            fingerprint.update(part)
            yield part

    with await files.spool(counted(), longest=settings().upload_limit) as file:
        async with begin() as db:
            key = Key(id or new_id(), fingerprint.digest())
            return await _receive(db, actor, file, key=key, name=name)


async def _receive(db: AsyncSession, actor: Actor, file: BinaryIO, *, key: Key, name: str) -> dict[str, Any]:
    if await idempotency.claim(db, actor, key):
        stored = await files.store(db, actor, file, id=new_id(), name=name)
        batch = ImportBatch(
            id=key.id, region_code=actor.region_code, file_id=stored.id, status=ImportStatus.CHECKING,
            created_by=actor.account_id, created_at=clock.now(),
        )  # fmt: skip
        db.add(batch)
        await audit.record(db, actor, "upload", "import_batch", batch.id)
        await _enqueue(db, batch.id)
        await db.flush()  # the answer is read from the row
    return await detail(db, actor, id=key.id)


async def listing(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Imports of the worker's region, newest first."""
    query = select(ImportBatch, StoredFile).join(StoredFile, StoredFile.id == ImportBatch.file_id)
    query = query.where(visible(actor, ImportBatch))
    query = newest_first(query, ImportBatch.created_at, ImportBatch.id, before, limit)
    return [_view(batch, stored) for batch, stored in await db.execute(query)]


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> dict[str, Any]:
    """How far it is, how many lines of each verdict, what hinders."""
    batch = await fetch(db, actor, ImportBatch, id)
    return await shown(db, batch)


async def shown(db: AsyncSession, batch: ImportBatch) -> dict[str, Any]:
    await db.refresh(batch)
    return _view(batch, await db.get_one(StoredFile, batch.file_id))


def _view(batch: ImportBatch, stored: StoredFile) -> dict[str, Any]:
    return {
        "id": batch.id, "region_code": batch.region_code, "file_name": stored.name, "status": batch.status,
        "rows_total": batch.rows_total, "rows_done": batch.rows_done,
        "counts": {verdict.value: batch.counts.get(verdict.value, 0) for verdict in Verdict},
        "problem": batch.problem, "created_at": batch.created_at, "checked_at": batch.checked_at,
        "committed_at": batch.committed_at, "ended_at": batch.ended_at, "version": batch.version,
    }  # fmt: skip


async def rows(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, verdict: Verdict | None, after: int | None, limit: int
) -> list[dict[str, Any]]:
    """The verdicts line by line; names masked."""
    batch = await fetch(db, actor, ImportBatch, id)
    query = select(ImportRow.line, ImportRow.verdict, ImportRow.name, ImportRow.wrong)
    query = query.where(ImportRow.batch_id == batch.id).order_by(ImportRow.line).limit(limit)
    if verdict is not None:
        query = query.where(ImportRow.verdict == verdict)
    if after is not None:
        query = query.where(ImportRow.line > after)
    return [
        {"line": line, "verdict": given, "name": name and mask_name(name), "reasons": wrong}
        for line, given, name, wrong in await db.execute(query)
    ]


async def _locked(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, *states: ImportStatus
) -> ImportBatch:
    batch = await fetch_version(db, actor, ImportBatch, id, version)
    if batch.status not in states:
        raise WrongState(status_now=batch.status)
    return batch


async def commit(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> dict[str, Any]:
    """Take in every line that is ready or only warned about. Who commits has verified them."""
    batch = await _locked(db, actor, id, version, ImportStatus.CHECKED)
    if batch.committed_through is None:
        _require_in_time(batch.created_at)
    batch.committed_by, batch.commit_began_at = actor.account_id, batch.commit_began_at or clock.now()
    return await _set_to_work(db, actor, batch, "commit", ImportStatus.COMMITTING)


async def undo_all(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> dict[str, Any]:
    """Take the whole import back, or what half a commit has brought, unless something depends on it by now;
    ImportInUse says what. Of a long list the import itself says so, once the job has looked."""
    batch = await _locked(db, actor, id, version, ImportStatus.COMMITTED, ImportStatus.CHECKED)
    if batch.committed_through is None:
        raise WrongState(status_now=batch.status)
    if batch.committed_at is not None:
        _require_in_time(batch.committed_at)
    if (batch.rows_total or 0) <= LOOKED_AT_ONCE:
        undo.require_free(await undo.dependents(db, batch))
    return await _set_to_work(db, actor, batch, "undo", ImportStatus.UNDOING)


def _require_in_time(since: datetime) -> None:
    if since < clock.now() - KEPT:
        raise ImportTooOld


async def _set_to_work(
    db: AsyncSession, actor: Actor, batch: ImportBatch, action: str, status: ImportStatus
) -> dict[str, Any]:
    batch.status, batch.rows_done, batch.attempts, batch.problem = status, 0, 0, []
    await audit.record(db, actor, action, "import_batch", batch.id)
    await _enqueue(db, batch.id)
    await db.flush()  # the answer is read from the row
    return await shown(db, batch)


async def discard(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> dict[str, Any]:
    """Give up what was not committed; its staged lines are deleted by the hourly purge."""
    batch = await _locked(db, actor, id, version, ImportStatus.CHECKED, ImportStatus.FAILED)
    if batch.committed_through is not None:
        raise WrongState(status_now=batch.status)
    batch.status, batch.ended_at = ImportStatus.DISCARDED, clock.now()
    await audit.record(db, actor, "discard", "import_batch", batch.id)
    await db.flush()  # the answer is read from the row
    return await shown(db, batch)


async def _enqueue(db: AsyncSession, id: uuid.UUID) -> None:
    await queue.enqueue(db, JOB, {"batch_id": str(id)}, once=f"import/{id}")


async def resume(db: AsyncSession) -> None:
    """A job that was lost with its worker begins again; one that waits or runs is left alone."""
    for id in await db.scalars(select(ImportBatch.id).where(ImportBatch.status.in_(AT_WORK))):
        await _enqueue(db, id)


async def work(id: uuid.UUID) -> bool:
    """The job: whatever the batch waits for. False: somebody else is at it, which is no attempt. What fails again and
    again is given up, and says so."""
    async with begin() as db:
        if not await checking.alone(db, id):
            return False
        tried = update(ImportBatch).where(ImportBatch.id == id, ImportBatch.status.in_(AT_WORK))
        tried = tried.values(attempts=ImportBatch.attempts + 1)
        found = await db.execute(tried.returning(ImportBatch.status, ImportBatch.attempts))
        batch = found.one_or_none()
    if batch is None:
        return True
    if batch.attempts > ATTEMPTS:
        await _give_up(id)
        return True
    steps = {
        ImportStatus.CHECKING: checking.check,
        ImportStatus.COMMITTING: committing.commit,
        ImportStatus.UNDOING: undo.undo,
    }
    await steps[batch.status](id)
    return True


async def _give_up(id: uuid.UUID) -> None:
    """Back to where people decide: a commit can be taken up again, an undo tried again."""
    async with begin() as db:
        batch = await db.get_one(ImportBatch, id, with_for_update=True)
        after = {
            ImportStatus.CHECKING: ImportStatus.FAILED, ImportStatus.COMMITTING: ImportStatus.CHECKED,
            ImportStatus.UNDOING: undo.left_as(batch),
        }  # fmt: skip
        if batch.status in after:
            log.error("an import was given up", extra={"fields": {"batch": str(id), "status": batch.status}})
            batch.status = after[batch.status]
            batch.problem = [
                {
                    "zh": "系统多次处理失败，请联系管理员",
                    "en": "failed again and again: ask the administrator",
                }
            ]


async def purge(db: AsyncSession) -> None:
    """Lists that nobody committed in time are given up. Staged lines go of what was given up and of what can no longer
    be undone; half a commit keeps them until it is taken up again or undone."""
    await checking.unhurried(db)
    long_ago = clock.now() - KEPT
    forgotten = select(ImportBatch).where(
        ImportBatch.status == ImportStatus.CHECKED,
        ImportBatch.committed_through.is_(None),
        ImportBatch.created_at < long_ago,
    )
    for batch in await db.scalars(forgotten.with_for_update(skip_locked=True)):
        batch.status, batch.ended_at = ImportStatus.DISCARDED, clock.now()
        await audit.record(db, JANITOR, "discard", "import_batch", batch.id)
    await db.flush()  # the next query looks for them
    ended = (ImportStatus.DISCARDED, ImportStatus.FAILED, ImportStatus.UNDONE)
    settled = and_(ImportBatch.status == ImportStatus.COMMITTED, ImportBatch.committed_at < long_ago)
    over = select(ImportBatch.id).where(
        or_(ImportBatch.status.in_(ended), settled), exists().where(ImportRow.batch_id == ImportBatch.id)
    )
    # Locked: an undo that begins in this moment finds all of its lines, or none to begin with.
    ids = list(await db.scalars(over.with_for_update(skip_locked=True)))
    await db.execute(delete(ImportRow).where(ImportRow.batch_id.in_(ids)))
