"""From staging into the registry: chunks of whole households, each in one transaction that also says how far it is."""
# ruff: noqa: S608  put together from constants of ours

import uuid
from typing import Any

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.errors import Unavailable
from app.models.imports import ImportBatch, ImportStatus
from app.models.staff import StaffAccount
from app.services.households import family_types
from app.services.imports.checking import alone, analyse, counts, unhurried
from app.services.imports.families import FIRST, HEAD_THERE, HELD, HERE, LAST, OPEN, refused, said
from app.services.search import statistics

CHUNK = 4000
TRIES = 5
GOING_IN = f"FROM import_row r WHERE {HERE} AND r.verdict {OPEN}"

UPTO = text(f"""
SELECT r.household_id FROM import_row r
 WHERE r.batch_id = :batch AND r.household_id > :after AND r.verdict {OPEN}
 ORDER BY r.household_id OFFSET :size LIMIT 1""")
EXPECTED = text(f"""
SELECT count(*) FILTER (WHERE r.before IS NULL) AS people, count(r.before) AS linked,
       count(DISTINCT r.household_id) FILTER (WHERE r.joins IS NULL) AS households,
       count(r.partner_id) AS couples, count(*) FILTER (WHERE r.categories <> '[]') AS categories,
       count(DISTINCT r.joins) AS joined {GOING_IN}""")
# A household that is joined stays as it is until this transaction ends.
JOINED = text(f"""
SELECT h.id FROM household h
 WHERE h.status = 'active'
   AND (h.id, h.region_code) IN (SELECT r.joins, r.region_code {GOING_IN} AND r.joins IS NOT NULL)
 ORDER BY h.id FOR SHARE""")
# In one order, as others lock people.
KNOWN = text(f"""
SELECT p.id FROM person p WHERE p.id IN (SELECT r.person_id {GOING_IN} AND r.before IS NOT NULL)
 ORDER BY p.id FOR NO KEY UPDATE""")
HOUSEHOLDS = text(f"""
INSERT INTO household (id, region_code, local_number, status, address_sealed, verified_at, verified_by,
                       import_batch_id, created_at)
SELECT f.household_id, f.region_code, f.local_number, 'active', f.address_sealed, :now, :worker, :batch,
       :now
  FROM (SELECT r.household_id, min(r.region_code) FILTER (WHERE r.verdict {OPEN}) AS region_code,
               min(r.local_number) AS local_number,
               (array_agg(r.address_sealed ORDER BY r.line) FILTER (WHERE r.address_sealed IS NOT NULL))[1]
                   AS address_sealed
          FROM import_row r WHERE {HERE} GROUP BY r.household_id
        HAVING bool_or(r.verdict {OPEN} AND r.joins IS NULL)) f
  JOIN region g ON g.code = f.region_code AND g.valid_to IS NULL
 ORDER BY f.region_code, f.local_number, f.household_id
    ON CONFLICT (region_code, local_number) WHERE local_number IS NOT NULL AND status = 'active' DO NOTHING""")
# In one order, so that two imports of the same people cannot wait for each other.
PEOPLE = text(f"""
INSERT INTO person (id, region_code, name, pinyin, initials, sex, birth_date, document_kind, document_number_sealed,
                    document_index, phone_sealed, phone_index, hukou_region_code, hukou_type, resident_since,
                    import_batch_id, created_at)
SELECT r.id, r.region_code, r.name, r.pinyin, r.initials, r.sex, r.birth_date, r.document_kind,
       r.document_number_sealed, r.document_index, r.phone_sealed, r.phone_index, r.hukou_region_code, r.hukou_type,
       r.resident_since, :batch, :now {GOING_IN} AND r.before IS NULL
 ORDER BY r.document_index ON CONFLICT (document_index) DO NOTHING""")
LINKED = text(f"""
UPDATE person p
   SET region_code = r.region_code, sex = r.sex, birth_date = r.birth_date,
       hukou_region_code = coalesce(r.hukou_region_code, p.hukou_region_code),
       hukou_type = coalesce(r.hukou_type, p.hukou_type),
       resident_since = coalesce(r.resident_since, p.resident_since),
       phone_sealed = coalesce(r.phone_sealed, p.phone_sealed), phone_index = coalesce(r.phone_index, p.phone_index),
       import_batch_id = :batch, version = p.version + 1
  {GOING_IN} AND r.before IS NOT NULL AND p.id = r.person_id
   AND p.version = CAST(r.before ->> 'version' AS bigint)
   AND NOT EXISTS (SELECT FROM membership m WHERE m.person_id = p.id AND m.valid_to IS NULL)""")
MEMBERSHIPS = text(f"""
INSERT INTO membership (id, household_id, person_id, relation, valid_from)
SELECT r.id, coalesce(r.joins, r.household_id), r.person_id, r.relation, :today {GOING_IN}""")
COUPLES = text(f"""
INSERT INTO couple (id, wife_id, husband_id, plans_pregnancy, valid_from)
SELECT r.id, CASE r.sex WHEN 'female' THEN r.person_id ELSE r.partner_id END,
       CASE r.sex WHEN 'female' THEN r.partner_id ELSE r.person_id END, r.plans_pregnancy, r.married_since
  {GOING_IN} AND r.partner_id IS NOT NULL
   AND EXISTS (SELECT FROM membership m WHERE m.person_id = r.partner_id AND m.valid_to IS NULL
                  AND m.household_id = coalesce(r.joins, r.household_id))
    ON CONFLICT DO NOTHING""")
# Somebody is married by now, or the other of the two did not come in.
UNMARRIED = text(f"""
UPDATE import_row r SET verdict = 'warning', partner_id = NULL, wrong = r.wrong || {
    said(
        "married_since",
        "marriage_not_registered",
        "夫妻关系未能登记，请随后补充",
        "not registered as a couple: add it afterwards",
        fatal=False,
    )
}
 WHERE {HERE} AND r.verdict {OPEN} AND r.partner_id IS NOT NULL
   AND NOT EXISTS (SELECT FROM couple c WHERE c.id = r.id)""")
CATEGORY_THERE = text(f"""
UPDATE import_row r SET verdict = 'warning', categories = kept.categories, wrong = r.wrong || {
    said(
        "categories",
        "category_there",
        "已登记同一类别，本行的类别未重复登记",
        "registered with this category already: not a second time",
        fatal=False,
    )
}
  FROM (SELECT r.line, count(e.id) AS there,
               coalesce(jsonb_agg(n.category) FILTER (WHERE e.id IS NULL), '[]') AS categories
          FROM import_row r CROSS JOIN LATERAL jsonb_array_elements(r.categories) AS n(category)
          LEFT JOIN category e ON e.code = n.category ->> 'code' AND e.valid_to IS NULL
           AND CASE n.category ->> 'holder' WHEN 'person' THEN e.person_id = r.person_id
                    ELSE e.household_id = coalesce(r.joins, r.household_id) END
         WHERE {HERE} AND r.verdict {OPEN} AND r.categories <> '[]'
           AND (r.joins IS NOT NULL OR r.before IS NOT NULL)  -- who is new holds nothing yet
         GROUP BY r.line) kept
 WHERE r.batch_id = :batch AND r.line = kept.line AND kept.there > 0""")
CATEGORIES = text(f"""
INSERT INTO category (id, code, person_id, household_id, grade, evidence_sealed, valid_from, verified_by)
SELECT DISTINCT ON (c.code, c.person_id, c.household_id)
       c.id, c.code, c.person_id, c.household_id, c.grade, decode(c.evidence, 'hex'), c.since, :worker
  FROM (SELECT r.line, n.*, CASE n.holder WHEN 'person' THEN r.person_id END AS person_id,
               CASE n.holder WHEN 'household' THEN coalesce(r.joins, r.household_id) END AS household_id
          FROM import_row r, jsonb_to_recordset(r.categories)
               AS n(id uuid, code text, holder text, grade bigint, since date, evidence text)
         WHERE {HERE} AND r.verdict {OPEN} AND r.categories <> '[]') c
 WHERE NOT EXISTS (SELECT FROM category e WHERE e.code = c.code AND e.valid_to IS NULL
                      AND (e.person_id = c.person_id OR e.household_id = c.household_id))
 ORDER BY c.code, c.person_id, c.household_id, c.line""")
TRACES = text(f"""
INSERT INTO audit_event (at, actor_role, actor_id, action, entity, entity_id, person_id, request_id)
SELECT :now, :role, :worker, 'import', 'household', coalesce(r.joins, r.household_id), r.person_id, :request
  {GOING_IN}""")
JOINED_BY_NOW = text(f"""
SELECT DISTINCT r.joins FROM import_row r
 WHERE r.batch_id = :batch AND r.joins > :after AND r.verdict {OPEN} ORDER BY r.joins LIMIT :size""")
MADE = text(f"""
SELECT DISTINCT r.household_id FROM import_row r JOIN household h ON h.id = r.household_id AND h.family_type IS NULL
 WHERE r.batch_id = :batch AND r.household_id > :after AND r.verdict {OPEN} AND r.joins IS NULL
 ORDER BY r.household_id LIMIT :size""")
ADVANCED = text("""
UPDATE import_batch SET committed_through = :upto, rows_done = rows_done + :rows, attempts = 0 WHERE id = :batch""")

# What has become of the registry since the dry run: only looked for when a count does not come out.
RECHECK = tuple(
    text(statement)
    for statement in (
        f"""
UPDATE import_row r SET joins = h.id FROM household h
 WHERE {HERE} AND r.verdict {OPEN} AND r.joins IS NULL AND h.region_code = r.region_code
   AND h.local_number = r.local_number AND h.status = 'active'""",
        f"""
UPDATE import_row r
   {refused("local_number", "household_changed", "该户在检查之后有变动，请重新上传本行",
            "the household has changed since the check: upload this line again")}
 WHERE {HERE} AND r.verdict {OPEN} AND r.joins IS NOT NULL AND NOT EXISTS (
           SELECT FROM household h WHERE h.id = r.joins AND h.status = 'active' AND h.region_code = r.region_code)""",
        f"""
UPDATE import_row r
   {refused("region_code", "region_ended", "该行政区划已变更", "this division is no longer current")}
 WHERE {HERE} AND r.verdict {OPEN} AND NOT EXISTS (
           SELECT FROM region g WHERE g.code = r.region_code AND g.valid_to IS NULL)""",
        f"""
UPDATE import_row r
   {refused("document_number", "registered_since", "该证件在检查之后已登记，请重新上传本行",
            "this document was registered after the check: upload this line again")}
 WHERE {HERE} AND r.verdict {OPEN} AND CASE WHEN r.before IS NULL
       THEN EXISTS (SELECT FROM person p WHERE p.document_index = r.document_index)
       ELSE NOT EXISTS (SELECT FROM person p WHERE p.id = r.person_id
                           AND p.version = CAST(r.before ->> 'version' AS bigint))
         OR EXISTS (SELECT FROM membership m WHERE m.person_id = r.person_id AND m.valid_to IS NULL) END""",
        f"""
UPDATE import_row r
   {refused("document_number", "document_twice", "与第 %s 行是同一人", "the same person as in line %s", "f.line")}
  FROM (SELECT r.person_id, min(r.line) AS line {GOING_IN} GROUP BY r.person_id HAVING count(*) > 1) f
 WHERE {HERE} AND r.verdict {OPEN} AND r.person_id = f.person_id AND r.line > f.line""",
        HEAD_THERE,
        HELD,
    )
)  # fmt: skip


class Changed(Exception):
    """The registry is no longer what the dry run saw."""


async def commit(batch_id: uuid.UUID) -> None:
    """Go on from where the last worker came to, until nothing is left; who finds another at it leaves it."""
    await analyse()
    while await _step(batch_id):
        pass
    for households in (MADE, JOINED_BY_NOW):
        await _settle_types(batch_id, households)
    async with begin() as db:
        await statistics.request(db)


async def _settle_types(batch_id: uuid.UUID, households: TextClause) -> None:
    """The rule decides of which type the families are, whatever the list says; what a crash leaves, the nightly
    job does."""
    last: uuid.UUID | None = FIRST
    while last is not None:
        async with begin() as db:
            await unhurried(db)
            ids = list(await db.scalars(households, {"batch": batch_id, "after": last, "size": CHUNK}))
            await family_types.settle(db, ids)
            last = ids[-1] if ids else None


async def _step(batch_id: uuid.UUID) -> bool:
    """One chunk; False when there is no more to do."""
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
        worker = await db.get_one(StaffAccount, batch.committed_by)
        upto = await db.scalar(UPTO, {"batch": batch_id, "after": after, "size": CHUNK})
        given = {
            "batch": batch_id, "after": after, "upto": upto or LAST, "now": clock.now(), "today": clock.today(),
            "worker": worker.id, "role": worker.role.value, "request": str(batch_id),
        }  # fmt: skip
        await _bring_in(db, given)
        return True


async def _bring_in(db: AsyncSession, given: dict[str, Any]) -> None:
    for _ in range(TRIES):
        try:
            async with db.begin_nested():
                rows = await _insert(db, given)
        except Changed:
            for statement in RECHECK:
                await db.execute(statement, given)
        else:
            await db.execute(ADVANCED, given | {"rows": rows})
            return
    raise Unavailable


async def _insert(db: AsyncSession, given: dict[str, Any]) -> int:
    """How many rows went in; Changed when something stood in the way of one."""
    wanted = (await db.execute(EXPECTED, given)).one()
    if wanted.joined and len((await db.execute(JOINED, given)).all()) != wanted.joined:
        raise Changed
    if wanted.linked:
        await db.execute(KNOWN, given)
    if await _count(db, HOUSEHOLDS, given) != wanted.households:
        raise Changed
    if await _count(db, PEOPLE, given) != wanted.people:
        raise Changed
    if wanted.linked and await _count(db, LINKED, given) != wanted.linked:
        raise Changed
    await db.execute(MEMBERSHIPS, given)
    if wanted.couples and await _count(db, COUPLES, given) != wanted.couples:
        await db.execute(UNMARRIED, given)
    if wanted.categories:
        await db.execute(CATEGORY_THERE, given)
        await db.execute(CATEGORIES, given)
    await db.execute(TRACES, given)
    return int(wanted.people + wanted.linked)


async def _count(db: AsyncSession, statement: Any, given: dict[str, Any]) -> int:
    result = await db.execute(statement, given)
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
