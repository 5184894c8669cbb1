"""The uploaded list with the verdict on each line."""

import asyncio
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch
from app.db import begin
from app.errors import Forbidden, WrongState
from app.logs import request_id
from app.models.files import StoredFile
from app.models.imports import ImportBatch, ImportRow, ImportStatus, Verdict
from app.models.staff import StaffAccount
from app.services import audit, files
from app.services.imports import annotated, sheets
from app.services.imports.annotated import Judged
from app.services.imports.checking import surroundings, unhurried
from app.services.imports.columns import find
from app.services.imports.row import Row
from app.services.imports.rows import Known, read_rows

CHUNK = 2000
SHOWN = (ImportStatus.CHECKED, ImportStatus.COMMITTING, ImportStatus.COMMITTED)
ZH = {
    Verdict.READY: "可导入", Verdict.WARNING: "可导入（有提示）", Verdict.KNOWN: "已登记", Verdict.REFUSED: "需修改",
}  # fmt: skip
# In the file of everybody who is in the registry, as far as the list has brought or found them.
READ = text("""
INSERT INTO audit_event (at, actor_role, actor_id, action, entity, entity_id, person_id, purpose, request_id)
SELECT DISTINCT CAST(:now AS timestamptz), :role, CAST(:worker AS uuid), 'read', 'import_batch', r.batch_id, p.id,
       :purpose, :request
  FROM import_row r JOIN person p ON p.id = r.person_id WHERE r.batch_id = :batch AND r.verdict <> 'refused'""")


class ListOfAnother(Forbidden):
    zh, en = "结果表含证件号码和电话，仅限上传人下载", "It holds documents and phones: for who uploaded it"
    do_zh, do_en = (
        "请由上传人下载，或联系有批量查看权限的人员",
        "Ask who uploaded it, or who may see many people unmasked",
    )


async def workbook(actor: Actor, *, id: uuid.UUID, purpose: str) -> BinaryIO:
    """The list as uploaded with the verdict on each line, in a temporary file. It is read again from the file kept:
    staging holds no more than the registry needs."""
    async with begin() as db:
        batch = await fetch(db, actor, ImportBatch, id)
        if batch.created_by != actor.account_id and not actor.may(Permission.PERSON_UNMASK_MANY):
            raise ListOfAnother
        if batch.status not in SHOWN:
            raise WrongState(status_now=batch.status)
        stored = await db.get_one(StoredFile, batch.file_id)
        name, given = stored.name, await files.open(db, stored.id)
        known = await surroundings(db, batch.region_code)
        worker = await db.scalar(select(StaffAccount.username).where(StaffAccount.id == actor.id))
        await _record(db, actor, id, purpose)
    moment = clock.now().astimezone(clock.SHANGHAI)
    watermark = f"{worker or actor.role} {moment:%Y-%m-%d %H:%M} 下载，内含个人信息，请妥善保管"
    out = files.temporary()
    with given:
        await asyncio.to_thread(_write, out, given, name, known, id, asyncio.get_running_loop(), watermark)
    out.seek(0)
    return out


async def _record(db: AsyncSession, actor: Actor, id: uuid.UUID, purpose: str) -> None:
    await audit.record(db, actor, "read", "import_batch", id, purpose=purpose)
    await unhurried(db)
    given = {
        "now": clock.now(), "role": actor.role.value, "worker": actor.id, "batch": id, "purpose": purpose,
        "request": request_id.get(),
    }  # fmt: skip
    await db.execute(READ, given)


def _write(
    out: BinaryIO, given: BinaryIO, name: str, known: Known, id: uuid.UUID, loop: asyncio.AbstractEventLoop,
    watermark: str,
) -> None:  # fmt: skip
    lines = sheets.read(given, name)
    layout = find(lines)
    judged = _judged(read_rows(lines, layout, known), id, loop)
    annotated.write(out, layout, judged, watermark=watermark)


def _judged(rows: Iterator[Row], id: uuid.UUID, loop: asyncio.AbstractEventLoop) -> Iterator[Judged]:
    """In a thread: the verdicts come from the loop that has the connections."""
    while chunk := list(islice(rows, CHUNK)):
        asked = _verdicts(id, chunk[0].number, chunk[-1].number)
        verdicts = asyncio.run_coroutine_threadsafe(asked, loop).result()
        for row in chunk:
            verdict, wrong = verdicts.get(row.number, (None, []))
            yield Judged(
                row.number, row.given, ZH[verdict] if verdict else "", [(w["column"], w["zh"]) for w in wrong],
                to_correct=verdict is Verdict.REFUSED, head_line=None if row.local_number else row.head_line,
            )  # fmt: skip


async def _verdicts(id: uuid.UUID, first: int, last: int) -> dict[int, tuple[Verdict, list[dict[str, str]]]]:
    async with begin() as db:
        query = select(ImportRow.line, ImportRow.verdict, ImportRow.wrong)
        query = query.where(ImportRow.batch_id == id, ImportRow.line.between(first, last))
        return {line: (verdict, wrong) for line, verdict, wrong in await db.execute(query)}
