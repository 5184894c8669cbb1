"""From a line as understood to the row it may become, with its ids and sealed values, and by COPY into staging."""

import json
import uuid
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import names
from app.crypto import seal
from app.db import new_id
from app.models.imports import ImportRow, Verdict
from app.services import documents
from app.services.identity import phone_index
from app.services.imports.categories import ImportedCategory
from app.services.imports.row import Row

COLUMNS = tuple(ImportRow.__table__.columns.keys())
_in_order = itemgetter(*COLUMNS)
_blank: dict[str, Any] = dict.fromkeys(COLUMNS)
as_json = json.JSONEncoder(ensure_ascii=False).encode
#: A staged row, column by column. Ids and JSON are text: nothing else goes from process to process, and to the
#: database, as fast.
Staged = dict[str, Any]


def refuse(row: Staged, column: str, code: str, zh: str, en: str) -> None:
    note(row, column, code, zh, en, fatal=True)
    row["verdict"] = Verdict.REFUSED


def warn(row: Staged, column: str, code: str, zh: str, en: str) -> None:
    note(row, column, code, zh, en)
    row["verdict"] = Verdict.WARNING if row["verdict"] is Verdict.READY else row["verdict"]


def note(row: Staged, column: str, code: str, zh: str, en: str, *, fatal: bool = False) -> None:
    row["wrong"] = as_json([*json.loads(row["wrong"]), _said(column, code, zh, en, fatal)])


def _said(column: str, code: str, zh: str, en: str, fatal: bool) -> dict[str, Any]:
    return {"column": column, "code": code, "zh": zh, "en": en, "fatal": fatal}


@lru_cache(maxsize=64)
def household_id(batch_id: uuid.UUID, household: str) -> str:
    """The same for each line of a household, however far apart, and without a list of all that were seen. UUIDv8
    (RFC 9562 §5.8) behind the batch's own time, so that the rows of a batch land together in the index."""
    value = int.from_bytes(blake2b(household.encode(), key=batch_id.bytes, digest_size=16).digest())
    moment = batch_id.int >> 80 << 80
    tail = value & ((1 << 80) - 1)
    tail = tail & ~(0xF << 76) | 0x8 << 76
    tail = tail & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=moment | tail))


def stage(batch_id: uuid.UUID, row: Row) -> Staged:
    """What is refused keeps no more than its name and its place, for the list of verdicts."""
    id = str(new_id())
    refused = row.refused
    staged = _blank.copy()
    staged.update(
        batch_id=batch_id, line=row.number, id=id, person_id=id,
        verdict=Verdict.REFUSED if refused else Verdict.WARNING if row.wrong else Verdict.READY,
        wrong=as_json([_said(w.column, w.code, w.zh, w.en, w.fatal) for w in row.wrong]) if row.wrong else "[]",
        household_id=row.household and household_id(batch_id, row.household),
        head_line=row.head_line, region_code=row.region_code, local_number=row.local_number,
        relation=row.relation, name=row.name, categories="[]",
    )  # fmt: skip
    if row.address and staged["household_id"]:
        staged["address_sealed"] = seal(row.address, place=f"household|address|{staged['household_id']}")
    if not refused:
        _complete(staged, row)
    return staged


def _complete(staged: Staged, row: Row) -> None:
    assert row.document_kind is not None
    assert row.document_number is not None
    assert row.name is not None
    sound = names.pinyin(row.name)
    id, phone = staged["id"], row.phone
    staged.update(
        pinyin=sound, initials=names.initials(sound), sex=row.sex, birth_date=row.birth_date,
        document_kind=row.document_kind,
        document_number_sealed=seal(row.document_number, place=f"person|document_number|{id}"),
        document_index=documents.index(row.document_kind, row.document_number),
        phone_sealed=phone and seal(phone, place=f"person|phone|{id}"), phone_index=phone_index(phone or None),
        hukou_region_code=row.hukou_region_code, hukou_type=row.hukou_type, resident_since=row.resident_since,
        married_since=row.married_since, plans_pregnancy=row.plans_pregnancy,
        categories=as_json([_category(category) for category in row.categories]) if row.categories else "[]",
    )  # fmt: skip


def _category(category: ImportedCategory) -> dict[str, Any]:
    id = new_id()
    return {
        "id": str(id), "code": category.code, "holder": category.holder, "grade": category.grade,
        "since": category.since.isoformat(),
        "evidence": seal(category.evidence, place=f"category|evidence|{id}").hex(),
    }  # fmt: skip


async def copy(db: AsyncSession, rows: list[Staged]) -> None:
    """COPY on the transaction's own connection."""
    connection = await (await db.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert driver is not None
    await driver.copy_records_to_table(
        ImportRow.__tablename__, records=[_in_order(row) for row in rows], columns=COLUMNS
    )
