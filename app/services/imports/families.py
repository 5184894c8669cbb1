"""What the lines of one household say together: who heads it, who is married to whom, what it joins."""
# ruff: noqa: S608  put together from constants of ours

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

FIRST, LAST = uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)
OPEN = "IN ('ready', 'warning')"
#: The rows of the households between two, FIRST and LAST for all.
HERE = "r.batch_id = :batch AND r.household_id > :after AND r.household_id <= :upto"
#: Two households of a file may turn out to be one of the registry.
HOME = "coalesce(r.joins, r.household_id)"


def said(column: str, code: str, zh: str, en: str, *, fatal: bool = True, line: str = "''") -> str:
    """A reason as SQL, to be appended to `wrong`; %s in the texts is the line."""
    return (
        f"jsonb_build_array(jsonb_build_object('column', '{column}', 'code', '{code}', "
        f"'zh', format('{zh}', {line}), 'en', format('{en}', {line}), 'fatal', {str(fatal).lower()}))"
    )


def refused(column: str, code: str, zh: str, en: str, line: str = "''") -> str:
    return f"SET verdict = 'refused', wrong = r.wrong || {said(column, code, zh, en, line=line)}"


# What the registry said of a line that is refused as the second of its kind, was said of the first.
TWICE = """jsonb_path_query_array(r.wrong,
    '$[*] ? (@.code != "known" && @.code != "linked" && @.code != "sounds_alike")')"""


def twice(zh: str, en: str) -> str:
    return refused("document_number", "document_twice", zh, en, "f.line").replace("r.wrong", TWICE, 1)


# The first line with a document counts; so it does where two documents of somebody who was merged are one person.
SAME_DOCUMENT = f"""
UPDATE import_row r
   {twice("证件号码与第 %s 行相同", "the same document as in line %s")}
  FROM (SELECT r.document_index, min(r.line) AS line FROM import_row r WHERE {HERE} AND r.verdict <> 'refused'
         GROUP BY r.document_index HAVING count(*) > 1) f
 WHERE {HERE} AND r.document_index = f.document_index AND r.line > f.line AND r.verdict <> 'refused'"""

SAME_PERSON = f"""
UPDATE import_row r
   {twice("与第 %s 行是同一人", "the same person as in line %s")}
  FROM (SELECT r.person_id, min(r.line) AS line FROM import_row r
         WHERE {HERE} AND r.verdict <> 'refused' AND r.person_id <> r.id
         GROUP BY r.person_id HAVING count(*) > 1) f
 WHERE {HERE} AND r.person_id = f.person_id AND r.line > f.line AND r.verdict <> 'refused'"""

# Members of somebody known join the household that this person has.
JOINED = f"""
UPDATE import_row r SET joins = k.joins
  FROM (SELECT r.household_id, (array_agg(r.joins))[1] AS joins FROM import_row r
         WHERE {HERE} AND r.verdict = 'known'
         GROUP BY r.household_id HAVING count(DISTINCT r.joins) = 1) k
 WHERE {HERE} AND r.household_id = k.household_id AND r.joins IS NULL AND r.verdict {OPEN}"""

# Without a number of its own a household cannot be completed later: who belongs to a refused head waits for it.
HELD = f"""
UPDATE import_row r
   {
    refused(
        "relation",
        "head_refused",
        "户主所在的第 %s 行有误，请更正后与本行一起重新上传",
        "the head of this household, line %s, is refused: correct it and upload both again",
        "h.line",
    )
}
  FROM import_row h
 WHERE {HERE} AND h.batch_id = r.batch_id AND h.household_id = r.household_id AND h.line = r.head_line
   AND h.line <> r.line AND h.verdict = 'refused' AND r.verdict {OPEN}
   AND (r.local_number IS NULL AND r.joins IS NULL
        OR h.wrong @? '$[*] ? (@.code == "two_heads" || @.code == "head_there")')"""

TWO_HEADS = f"""
UPDATE import_row r
   {refused("relation", "two_heads", "本户户主已在第 %s 行", "the head of this household is in line %s", "f.line")}
  FROM (SELECT {HOME} AS home, min(r.line) AS line FROM import_row r
         WHERE {HERE} AND r.relation = 'head' AND r.verdict <> 'refused'
         GROUP BY {HOME} HAVING count(*) > 1) f
 WHERE {HERE} AND {HOME} = f.home AND r.relation = 'head' AND r.line > f.line AND r.verdict {OPEN}"""

HEAD_THERE = f"""
UPDATE import_row r
   {refused("relation", "head_there", "该户已登记户主", "this household has a head already")}
 WHERE {HERE} AND r.relation = 'head' AND r.joins IS NOT NULL AND r.verdict {OPEN}
   AND EXISTS (SELECT FROM membership m
                WHERE m.household_id = r.joins AND m.valid_to IS NULL AND m.relation = 'head')"""

HEADLESS = f"""
UPDATE import_row r SET verdict = 'warning', wrong = r.wrong || {
    said(
        "relation",
        "head_missing",
        "本户尚无户主，请随后补充",
        "this household has no head yet: add one",
        fatal=False,
    )
}
  FROM (SELECT r.household_id, min(r.line) FILTER (WHERE r.verdict {OPEN}) AS line FROM import_row r
         WHERE {HERE} GROUP BY r.household_id
        HAVING bool_and(r.joins IS NULL) AND NOT bool_or(r.relation = 'head' AND r.verdict <> 'refused')) f
 WHERE {HERE} AND r.household_id = f.household_id AND r.line = f.line"""

# Head and spouse, of this file or of the household that is joined. The couple is made with the later of the two.
COUPLED = f"""
WITH found AS (
    SELECT r.line, r.household_id, h.person_id AS partner, h.sex, h.married_since, h.plans_pregnancy
      FROM import_row r
      JOIN import_row h ON h.batch_id = r.batch_id AND h.household_id = r.household_id
       AND h.relation = 'head' AND h.verdict <> 'refused'
     WHERE {HERE} AND r.relation = 'spouse' AND r.verdict {OPEN}
    UNION ALL
    SELECT r.line, r.household_id, p.id, p.sex, NULL, NULL
      FROM import_row r
      JOIN membership m ON m.household_id = r.joins AND m.valid_to IS NULL
       AND (r.relation, m.relation) IN (('spouse', 'head'), ('head', 'spouse'))
      JOIN person p ON p.id = m.person_id
     WHERE {HERE} AND r.verdict {OPEN}),
pair AS (SELECT DISTINCT ON (line) *, rank() OVER (PARTITION BY household_id, partner ORDER BY line) AS place
           FROM found ORDER BY line, married_since NULLS LAST),
judged AS (
    SELECT r.line, pair.partner, coalesce(r.married_since, pair.married_since) AS since,
           coalesce(r.plans_pregnancy, pair.plans_pregnancy, false) AS plans,
           CASE WHEN pair.place > 1 THEN
               {said("relation", "two_spouses", "本户已有配偶", "this household has a spouse already")}
           WHEN r.sex = pair.sex THEN
               {
    said("sex", "sexes_do_not_fit", "与户主性别相同，不能登记为配偶", "of the same sex as the head")
}
           WHEN coalesce(r.married_since, pair.married_since) IS NOT NULL AND EXISTS (
                    SELECT FROM couple c WHERE c.valid_to IS NULL
                       AND (c.wife_id IN (r.person_id, pair.partner) OR c.husband_id IN (r.person_id, pair.partner)))
               THEN {
    said(
        "married_since",
        "married_elsewhere",
        "本人或配偶已登记婚姻",
        "one of the two is registered with a spouse already",
    )
}
           END AS against
      FROM pair JOIN import_row r ON r.batch_id = :batch AND r.line = pair.line)
UPDATE import_row r
   SET verdict = CASE WHEN j.against IS NOT NULL THEN 'refused' WHEN j.since IS NULL THEN 'warning' ELSE r.verdict END,
       wrong = CASE WHEN j.against IS NOT NULL THEN r.wrong || j.against WHEN j.since IS NULL THEN r.wrong || {
    said(
        "married_since",
        "marriage_unknown",
        "没有结婚日期，未登记夫妻关系",
        "no date of marriage: not registered as a couple",
        fatal=False,
    )
} ELSE r.wrong END,
       partner_id = CASE WHEN j.against IS NULL AND j.since IS NOT NULL THEN j.partner END,
       married_since = j.since, plans_pregnancy = j.plans
  FROM judged j WHERE r.batch_id = :batch AND r.line = j.line"""


async def settle(
    db: AsyncSession, batch_id: uuid.UUID, after: uuid.UUID = FIRST, upto: uuid.UUID = LAST
) -> None:
    """Verdicts that need a whole household, in the order in which one may follow from another."""
    given = {"batch": batch_id, "after": after, "upto": upto}
    for statement in (SAME_DOCUMENT, SAME_PERSON, JOINED, TWO_HEADS, HEAD_THERE, HELD, HEADLESS, COUPLED):
        await db.execute(text(statement), given)
