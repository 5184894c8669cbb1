"""Files are kept sealed, come back whole, and go when their time is over."""

import io
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.crypto import Undecryptable
from app.db import new_id
from app.errors import BodyTooLarge
from app.models.files import StoredFile, StoredFileChunk
from app.services import files
from app.services.files import PIECE, FileGone

SYSTEM = Actor.system("test")
CONTENT = b"\xe7\x8e\x8b\xe8\x8a\xb3," * (PIECE // 6)  # more than one piece


async def kept(session: AsyncSession, content: bytes = CONTENT) -> StoredFile:
    return await files.store(session, SYSTEM, io.BytesIO(content), id=new_id(), name="大新镇名册.csv")


@pytest.mark.parametrize("content", [b"", b"x", b"y" * PIECE, CONTENT], ids=["empty", "one", "piece", "more"])
async def test_a_file_comes_back_as_it_went_in(session: AsyncSession, content: bytes) -> None:
    row = await kept(session, content)
    with await files.open(session, row.id) as file:
        assert file.read() == content
    assert (row.size, row.name) == (len(content), "大新镇名册.csv")


async def test_nothing_of_it_lies_in_the_database_in_clear(session: AsyncSession) -> None:
    row = await kept(session)
    stored = select(func.string_agg(StoredFileChunk.data_sealed, text("''"))).where(
        StoredFileChunk.file_id == row.id
    )
    sealed = await session.scalar(stored)
    assert sealed is not None
    assert len(sealed) > len(CONTENT)
    assert "王芳".encode() not in sealed
    assert "名册".encode() not in row.name_sealed


async def test_pieces_that_changed_places_do_not_open(session: AsyncSession) -> None:
    row = await kept(session)
    for was, becomes in ((0, 9), (1, 0), (9, 1)):
        await session.execute(
            update(StoredFileChunk)
            .where(StoredFileChunk.file_id == row.id, StoredFileChunk.number == was)
            .values(number=becomes)
        )
    with pytest.raises(Undecryptable):
        await files.open(session, row.id)


async def test_a_piece_too_few_is_no_shorter_file(session: AsyncSession) -> None:
    row = await kept(session)
    await session.execute(
        update(StoredFileChunk)
        .where(StoredFileChunk.file_id == row.id, StoredFileChunk.number == 1)
        .values(number=9)
    )
    with pytest.raises(FileGone):
        await files.open(session, row.id)


async def test_after_its_time_the_content_goes_and_the_row_stays(session: AsyncSession) -> None:
    row, later = await kept(session), clock.now() + files.KEPT + timedelta(seconds=1)
    await files.purge(session)
    (await files.open(session, row.id)).close()
    with time_machine.travel(later):
        other = await kept(session)
        await files.purge(session)
    ids = [row.id, other.id]
    session.expire_all()
    with pytest.raises(FileGone):
        await files.open(session, ids[0])
    (await files.open(session, ids[1])).close()
    left = select(StoredFileChunk.file_id).where(StoredFileChunk.file_id.in_(ids)).distinct()
    assert list(await session.scalars(left)) == ids[1:]
    assert await session.get(StoredFile, ids[0]) is not None


async def test_an_upload_is_held_to_its_bound_while_it_comes() -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 10
            yield b"x" * 10

    with pytest.raises(BodyTooLarge):
        await files.spool(stream(), longest=25)
    assert sent == 30
    with await files.spool(stream(), longest=1000) as file:
        assert len(file.read()) == 1000
