"""Files kept for later: an uploaded list, a workbook to fetch. Sealed in pieces, deleted when their time is over.

A file has no rule of access of its own: callers have fetched the record that it belongs to."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.crypto import seal_bytes, unseal_bytes
from app.errors import BodyTooLarge, NotFound
from app.models.files import StoredFile, StoredFileChunk
from app.models.identity import STAFF_ROLES

PIECE = 1 << 20
KEPT = timedelta(days=30)
FOLDER, ABANDONED = "nuanxin-list-", timedelta(days=1)


class FileGone(NotFound):
    zh, en = "文件已过保存期", "The file is no longer kept"
    do_zh, do_en = (
        "文件到期后自动删除，请重新上传或重新生成",
        "Files are deleted when their time is over: send or make it again",
    )


async def spool(stream: AsyncIterator[bytes], *, longest: int) -> BinaryIO:
    """What a client sends, on disk without a name, or BodyTooLarge. Before any transaction is open: a slow line
    must not hold a connection."""
    file = temporary()
    size = 0
    try:
        async for part in stream:
            size += len(part)
            if size > longest:
                raise BodyTooLarge
            file.write(part)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def temporary() -> BinaryIO:
    """A file without a name: gone with the process, whatever happens to it."""
    return cast(BinaryIO, tempfile.TemporaryFile())


def folder() -> "tempfile.TemporaryDirectory[str]":
    """For a library that wants names for what it writes meanwhile. A process that is killed leaves it behind."""
    return tempfile.TemporaryDirectory(prefix=FOLDER)


def purge_folders() -> None:
    """Delete what killed processes left behind: it is people's data in clear."""
    long_ago = time.time() - ABANDONED.total_seconds()
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if left.stat().st_mtime < long_ago:
                shutil.rmtree(left, ignore_errors=True)


async def store(
    db: AsyncSession, actor: Actor, file: IO[bytes], *, id: uuid.UUID, name: str, kept: timedelta = KEPT
) -> StoredFile:
    """Keep a file, from its present place to its end. In the transaction of what it belongs to."""
    row = StoredFile(id=id, size=0, created_at=clock.now())
    row.name, row.expires_at = name, row.created_at + kept
    row.created_by = actor.id if actor.role in STAFF_ROLES else None
    db.add(row)
    await db.flush()  # the pieces refer to it
    for number in itertools.count():
        piece = await asyncio.to_thread(file.read, PIECE)
        if not piece:
            break
        row.size += len(piece)
        sealed = await asyncio.to_thread(partial(seal_bytes, piece, place=_place(id, number)))
        await db.execute(insert(StoredFileChunk).values(file_id=id, number=number, data_sealed=sealed))
    return row


def _place(id: uuid.UUID, number: int) -> str:
    return f"stored_file_chunk|data|{id}|{number}"


async def stream(db: AsyncSession, id: uuid.UUID) -> AsyncIterator[bytes]:
    """Piece by piece. FileGone after its time."""
    row = await db.get(StoredFile, id)
    if row is None or row.purged_at is not None:
        raise FileGone
    for number in range(-(-row.size // PIECE)):
        sealed = await db.scalar(
            select(StoredFileChunk.data_sealed).where(
                StoredFileChunk.file_id == id, StoredFileChunk.number == number
            )
        )
        if sealed is None:
            raise FileGone
        yield await asyncio.to_thread(partial(unseal_bytes, sealed, place=_place(id, number)))


async def open(db: AsyncSession, id: uuid.UUID) -> BinaryIO:
    """In a temporary file without a name, at its beginning. FileGone after its time."""
    file = temporary()
    try:
        async for piece in stream(db, id):
            file.write(piece)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def purge(db: AsyncSession) -> None:
    """Delete the content of what is no longer kept."""
    over = (
        update(StoredFile)
        .where(StoredFile.expires_at <= clock.now(), StoredFile.purged_at.is_(None))
        .values(purged_at=clock.now())
        .returning(StoredFile.id)
    )
    ids = (await db.scalars(over)).all()
    await db.execute(delete(StoredFileChunk).where(StoredFileChunk.file_id.in_(ids)))
