"""An import from the command line: by the same steps, in the name of a worker, without a job worker."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.access import Actor, Permission
from app.db import begin
from app.errors import Forbidden, NotFound
from app.models.imports import AT_WORK
from app.models.staff import StaffAccount
from app.services.imports import batches

PIECE = 1 << 20
LOOK_SECONDS = 0.5
#: Rows so far, and of how many if that is known yet.
Told = Callable[[int, int | None], None]


async def bring_in(path: Path, username: str, *, commit: bool, told: Told) -> dict[str, Any]:
    """The import after the dry run, or after its commit."""
    actor = await _worker(username)
    made = await batches.upload(actor, _pieces(path), id=None, seen=b"", name=path.name)
    shown = await _finish(actor, made["id"], told)
    if commit and not shown["ended_at"]:
        async with begin() as db:
            await batches.commit(db, actor, id=shown["id"], version=shown["version"])
        shown = await _finish(actor, shown["id"], told)
    return shown


async def _worker(username: str) -> Actor:
    async with begin() as db:
        query = select(StaffAccount).where(
            StaffAccount.username == username, StaffAccount.disabled_at.is_(None)
        )
        account = await db.scalar(query)
    if account is None:
        raise NotFound
    actor = Actor(account.role, id=account.id, region_code=account.region_code)
    if not actor.may(Permission.REGISTRY_IMPORT):
        raise Forbidden
    return actor


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


async def _finish(actor: Actor, id: uuid.UUID, told: Told) -> dict[str, Any]:
    """Do the work, or wait for the job worker who has begun it."""
    looking = asyncio.create_task(_look(actor, id, told))
    try:
        while (shown := await _shown(actor, id))["status"] in AT_WORK:
            if not await batches.work(id):
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    told(shown["rows_done"], shown["rows_total"])
    return shown


async def _shown(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    async with begin() as db:
        return await batches.detail(db, actor, id=id)


async def _look(actor: Actor, id: uuid.UUID, told: Told) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        shown = await _shown(actor, id)
        told(shown["rows_done"], shown["rows_total"])
