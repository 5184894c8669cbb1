"""What a commit says to the database, for the households between two: read from staging, written to the registry."""
# ruff: noqa: S608  put together from constants of ours

from typing import Any

from sqlalchemy import Subquery, and_, case, func, literal, select, text
from sqlalchemy.dialects.postgresql import Insert, aggregate_order_by, insert

from app.models.households import Household, HouseholdStatus, Relation, Sex
from app.models.imports import ImportRow, Verdict
from app.models.regions import Region
from app.services.households import family_types
from app.services.imports.families import HEAD_THERE, HELD, HERE, OPEN, refused, said

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
ADVANCED = text("""
UPDATE import_batch SET committed_through = :upto, rows_done = rows_done + :rows, attempts = 0
 WHERE id = :batch AND status = 'committing' AND coalesce(committed_through, :first) = :after""")

# Households with somebody known before, or a marriage that was not registered: their types are seen in the registry.
UNSETTLED = text(f"""
SELECT DISTINCT r.household_id FROM import_row r
 WHERE {HERE} AND r.verdict {OPEN} AND r.joins IS NULL
   AND (r.before IS NOT NULL OR r.wrong @? '$[*] ? (@.code == "marriage_not_registered")')""")
AMONG = text(f"SELECT DISTINCT r.household_id {GOING_IN} ORDER BY 1")
# A household by itself that the database refuses.
SPOILT = text(f"""
UPDATE import_row r
   {
    refused(
        "",
        "not_taken_in",
        "本户未能录入，其他各户不受影响，请核对后重新上传；仍不成功的，请联系管理员",
        "this household could not be taken in, the others could: check it and upload it again, or ask the "
        "administrator",
    )
}
 WHERE {HERE} AND r.verdict {OPEN}""")

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


def households(given: dict[str, Any]) -> Insert:
    """The new ones, each with its type as the rule sees it; with somebody known before, it is seen afterwards."""
    home = _new_homes(given)
    values = {
        Household.id: home.c.household_id, Household.region_code: home.c.region_code,
        Household.local_number: home.c.local_number, Household.address_sealed: home.c.address_sealed,
        Household.status: literal(HouseholdStatus.ACTIVE, Household.status.type),
        Household.family_type: case((~home.c.known, family_types.verdict(home)), else_=None),
        Household.verified_at: literal(given["now"]), Household.verified_by: literal(given["worker"]),
        Household.import_batch_id: literal(given["batch"]), Household.created_at: literal(given["now"]),
    }  # fmt: skip
    current = and_(Region.code == home.c.region_code, Region.valid_to.is_(None))
    source = select(*values.values()).select_from(home).join(Region, current)
    source = source.order_by(home.c.region_code, home.c.local_number, home.c.household_id)
    statement = insert(Household).from_select([column.key for column in values], source)
    return statement.on_conflict_do_nothing(
        index_elements=[Household.region_code, Household.local_number],
        index_where=text("local_number IS NOT NULL AND status = 'active'"),
    )


def _new_homes(given: dict[str, Any]) -> Subquery:
    """With what the family type depends on."""
    line = _lines(given).c
    counts = family_types.counted(
        born=line.birth_date, wife=line.wife, relation=line.relation, lives=line.region_code,
        belongs=line.hukou_region_code,
    )  # fmt: skip
    addresses = func.array_agg(aggregate_order_by(line.address_sealed, line.line))
    return (
        select(
            line.household_id, func.min(line.region_code).label("region_code"),
            func.min(line.local_number).label("local_number"),
            addresses.filter(line.address_sealed.is_not(None))[1].label("address_sealed"),
            func.bool_or(line.known).label("known"), *counts,
        )
        .group_by(line.household_id).having(func.bool_or(line.new)).subquery()
    )  # fmt: skip


def _lines(given: dict[str, Any]) -> Subquery:
    """All lines between, since a refused one may tell the address; of the rest it tells nothing."""
    row = ImportRow
    going = row.verdict.in_([Verdict.READY, Verdict.WARNING])
    couples = func.count(case((going, row.partner_id))).over(partition_by=row.household_id)
    pair = row.relation.in_([Relation.HEAD, Relation.SPOUSE])
    return select(
        row.household_id, row.line, row.local_number, row.address_sealed, row.relation,
        case((going, row.region_code)).label("region_code"), case((going, row.birth_date)).label("birth_date"),
        case((going, row.hukou_region_code)).label("hukou_region_code"),
        and_(going, row.joins.is_(None)).label("new"), and_(going, row.before.is_not(None)).label("known"),
        and_(couples > 0, row.sex == Sex.FEMALE, pair).label("wife"),
    ).where(
        row.batch_id == given["batch"], row.household_id > given["after"], row.household_id <= given["upto"]
    ).subquery()  # fmt: skip
