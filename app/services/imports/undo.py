"""Taking a whole import back: possible as long as nothing depends on its rows, and then nothing of them is left."""
# ruff: noqa: S608  put together from constants of ours

import uuid
from functools import cache
from typing import Any

from sqlalchemy import Column, CursorResult, Table, Uuid, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import Base, begin
from app.errors import Conflict
from app.models.imports import ImportBatch, ImportStatus
from app.models.staff import StaffAccount
from app.services.households import family_types
from app.services.imports.checking import alone, unhurried
from app.services.imports.families import OPEN
from app.services.search import statistics

#: The lines that went in; of half a commit those of the households that it came to.
IN = f"r.batch_id = :batch AND r.household_id <= :through AND r.verdict {OPEN}"
LINKED = f"{IN} AND r.before IS NOT NULL"
OWN_CATEGORIES = "jsonb_to_recordset(r.categories) AS c(id uuid)"
HOME = "coalesce(r.joins, r.household_id) AS home FROM import_row r"
#: The rows of a batch by table, and the household that each is shown by.
ROWS = {
    "person": f"SELECT r.id, {HOME} WHERE {IN} AND r.before IS NULL",
    "membership": f"SELECT r.id, {HOME} WHERE {IN}",
    "couple": f"SELECT r.id, {HOME} WHERE {IN} AND r.partner_id IS NOT NULL",
    "category": f"SELECT c.id, {HOME}, {OWN_CATEGORIES} WHERE {IN}",
    "household": f"SELECT DISTINCT r.household_id AS id, {HOME} WHERE {IN} AND r.joins IS NULL",
}
#: Staging itself, and the trail, which stays for ever.
APART = {"import_row", "import_batch", "audit_event", "compared_through"}
#: What jobs derive from the registry, and what goes with it.
DERIVED = {"qualification", "suspicion"}
CHUNK = 4000
PEOPLE = ("person_id", "spouse_id", "guardian_id", "wife_id", "husband_id")
KINDS = {
    "person": "人员资料更正", "household": "家庭资料变更", "membership": "家庭成员变动", "couple": "婚姻登记变动",
    "category": "类别变动", "appointment": "预约", "diagnostic_report": "检查报告", "observation": "检查结果",
    "follow_up": "随访", "consent": "知情同意", "resident_account": "微信绑定", "household_event": "家庭手册记录",
    "handbook_detail": "家庭手册记录", "survey_response": "需求调查", "correction": "更正申请",
    "household_move": "迁移", "life_event": "生命事件", "roster_member": "队伍名册",
    "merge": "合并", "erasure": "删除申请",
}  # fmt: skip

EDITED = {
    "person": f"""
SELECT r.joins, r.household_id FROM import_row r JOIN person t ON t.id = r.person_id
 WHERE {IN} AND t.version <> coalesce(CAST(r.before ->> 'version' AS bigint), 0) + 1""",
    "household": f"""
SELECT r.joins, r.household_id FROM import_row r JOIN household t ON t.id = r.household_id
 WHERE {IN} AND r.joins IS NULL AND t.version <> 1""",
    "membership": f"""
SELECT r.joins, r.household_id FROM import_row r JOIN membership t ON t.id = r.id
 WHERE {IN} AND (t.valid_to IS NOT NULL OR t.relation <> r.relation
        OR t.household_id <> coalesce(r.joins, r.household_id))""",
    "couple": f"""
SELECT r.joins, r.household_id FROM import_row r JOIN couple t ON t.id = r.id
 WHERE {IN} AND (t.valid_to IS NOT NULL OR t.plans_pregnancy <> r.plans_pregnancy)""",
    "category": f"""
SELECT r.joins, r.household_id FROM import_row r, {OWN_CATEGORIES} JOIN category t ON t.id = c.id
 WHERE {IN} AND t.valid_to IS NOT NULL""",
}
# What somebody who was known before came to only since, as a member of this household.
SINCE = {
    "appointment": " UNION ".join(
        f"""
SELECT r.joins, r.household_id, t.id FROM import_row r JOIN appointment t ON t.{column} = r.person_id
 WHERE {LINKED} AND t.created_at >= :since"""
        for column in ("person_id", "spouse_id")
    ),
    "survey_response": f"""
SELECT DISTINCT r.joins, r.household_id, t.id FROM import_row r JOIN survey_response t ON t.household_id = r.joins
 WHERE {LINKED} AND t.answered_at >= :since""",
}
QUALIFIED = f"""
DELETE FROM qualification t USING import_row r
 WHERE {LINKED} AND t.person_id = r.person_id AND t.decided_at >= :since"""


class ImportInUse(Conflict):
    zh, en = "已有其他记录依赖本批数据，不能撤销", "Other records depend on this import: it cannot be undone"
    do_zh, do_en = (
        "请先处理 depends 中列出的家庭，或逐户更正",
        "See to the households listed in depends first, or correct household by household",
    )


def referring() -> list[tuple[Table, Column[Any], str]]:
    """Every column that names a row of the registry, with the table it names: by foreign key, or by its name."""
    found = []
    for table in Base.metadata.sorted_tables:
        if table.name in APART:
            continue
        for column in table.columns:
            targets = {key.column.table.name for key in column.foreign_keys} & set(ROWS)
            if not column.foreign_keys and isinstance(column.type, Uuid) and not column.primary_key:
                if column.name.endswith("household_id"):
                    targets = {"household"}
                elif column.name in PEOPLE:
                    targets = {"person"}
                elif column.name == "subject_id":  # who books, alone or as a couple
                    targets = {"person", "couple"}
            found += [(table, column, target) for target in targets]
    return found


def _others(table: Table, column: Column[Any], target: str) -> str:
    """The rows of a table that refer to the batch and are not of the batch."""
    own = ""
    if table.name in ROWS:
        own = f" AND NOT EXISTS (SELECT FROM ({ROWS[table.name]}) o WHERE o.id = t.id)"
    return f"""
SELECT CAST(NULL AS uuid) AS joins, x.home AS household_id FROM ({ROWS[target]}) x
  JOIN {table.name} t ON t.{column.name} = x.id WHERE true{own}"""


@cache
def _dependents() -> str:
    parts = [*EDITED.items(), *SINCE.items()]
    parts += [
        (table.name, _others(table, column, target))
        for table, column, target in referring()
        if table.name not in DERIVED
    ]
    return "\nUNION ALL\n".join(
        f"SELECT '{kind}' AS kind, d.n, d.numbers "
        f"FROM (SELECT count(*) AS n, (array_agg(DISTINCT h.number))[1:10] AS numbers "
        f"FROM ({query}) q JOIN household h ON h.id = coalesce(q.joins, q.household_id)) d WHERE d.n > 0"
        for kind, query in parts
    )


def left_as(batch: ImportBatch) -> ImportStatus:
    """What a batch is again that is not undone: committed, or committed by half."""
    return ImportStatus.CHECKED if batch.committed_at is None else ImportStatus.COMMITTED


def _given(batch: ImportBatch) -> dict[str, Any]:
    since = batch.commit_began_at or batch.committed_at
    return {"batch": batch.id, "through": batch.committed_through, "since": since}


async def dependents(db: AsyncSession, batch: ImportBatch) -> list[dict[str, Any]]:
    """What has come to depend on the rows of a batch: kind, how many, the numbers of some of the households."""
    found: dict[str, dict[str, Any]] = {}
    for kind, count, numbers in await db.execute(text(_dependents()), _given(batch)):
        entry = found.setdefault(
            kind, {"kind": kind, "zh": KINDS.get(kind, kind), "count": 0, "households": []}
        )
        entry["count"] += count
        entry["households"] = sorted({*entry["households"], *numbers})[:10]
    return list(found.values())


BACK = f"""
UPDATE person p
   SET version = b.version, sex = b.sex, birth_date = b.birth_date, region_code = b.region_code,
       hukou_region_code = b.hukou_region_code, hukou_type = b.hukou_type, resident_since = b.resident_since,
       phone_sealed = decode(b.phone_sealed, 'hex'), phone_index = decode(b.phone_index, 'hex'),
       import_batch_id = b.import_batch_id
  FROM import_row r, jsonb_to_record(r.before) AS b(
       version bigint, sex text, birth_date date, region_code text, hukou_region_code text, hukou_type text,
       resident_since date, phone_sealed text, phone_index text, import_batch_id uuid)
 WHERE {LINKED} AND p.id = r.person_id AND p.version = b.version + 1"""
TRACES = f"""
INSERT INTO audit_event (at, actor_role, actor_id, action, entity, entity_id, person_id, request_id)
SELECT :now, :role, :worker, 'undo_import', 'household', coalesce(r.joins, r.household_id), r.person_id, :request
  FROM import_row r WHERE {IN}"""


async def undo(batch_id: uuid.UUID) -> None:
    """All of it in one transaction, or nothing and why not."""
    try:
        async with begin() as db:
            await unhurried(db)
            if not await alone(db, batch_id):
                return
            batch = await db.get_one(ImportBatch, batch_id, with_for_update=True)
            if batch.status is ImportStatus.UNDOING:
                await _undo(db, batch)
    except (IntegrityError, ImportInUse):
        await _leave(batch_id)


async def _undo(db: AsyncSession, batch: ImportBatch) -> None:
    if await dependents(db, batch):
        raise ImportInUse
    worker = await db.get_one(StaffAccount, batch.committed_by)
    given = _given(batch) | {
        "now": clock.now(), "role": worker.role.value, "worker": worker.id, "request": str(batch.id),
    }  # fmt: skip
    await db.execute(text(TRACES), given)
    for table, column, target in referring():
        if table.name in DERIVED:
            await _delete(db, table.name, column.name, target, given)
    await db.execute(text(QUALIFIED), given)
    for table_name in ("category", "couple", "membership"):
        await _delete(db, table_name, "id", table_name, given)
    await _restore(db, given)
    for table_name in ("person", "household"):
        await _delete(db, table_name, "id", table_name, given, unless="t.version <> 1")
    await _settle_types(db, given)
    await db.execute(text("DELETE FROM import_row r WHERE r.batch_id = :batch"), given)
    await statistics.request(db)
    batch.status, batch.ended_at, batch.rows_done = ImportStatus.UNDONE, clock.now(), batch.rows_total or 0


async def _restore(db: AsyncSession, given: dict[str, Any]) -> None:
    wanted = await db.scalar(text(f"SELECT count(*) FROM import_row r WHERE {LINKED}"), given)
    restored = await db.execute(text(BACK), given)
    assert isinstance(restored, CursorResult)
    if restored.rowcount != wanted:  # somebody was quicker than the lock
        raise ImportInUse


async def _settle_types(db: AsyncSession, given: dict[str, Any]) -> None:
    """Of the households that are left by those who had joined them."""
    joined = text(f"SELECT DISTINCT r.joins FROM import_row r WHERE {IN} AND r.joins IS NOT NULL ORDER BY 1")
    ids = list(await db.scalars(joined, given))
    for start in range(0, len(ids), CHUNK):
        await family_types.settle(db, ids[start : start + CHUNK])


async def _delete(
    db: AsyncSession, table: str, column: str, target: str, given: dict[str, Any], unless: str = "false"
) -> None:
    done = await db.execute(
        text(f"DELETE FROM {table} t USING ({ROWS[target]}) x WHERE t.{column} = x.id RETURNING {unless}"),
        given,
    )
    if any(done.scalars()):  # changed between the look and the lock
        raise ImportInUse


async def _leave(batch_id: uuid.UUID) -> None:
    async with begin() as db:
        await unhurried(db)
        batch = await db.get_one(ImportBatch, batch_id, with_for_update=True)
        if batch.status is ImportStatus.UNDOING:
            batch.status, batch.problem = left_as(batch), await dependents(db, batch)


def require_free(found: list[dict[str, Any]]) -> None:
    if found:
        raise ImportInUse(depends=found)
