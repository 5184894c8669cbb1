"""Suspected duplicates: the same sound of the name and a birth date that is a slip of the pen apart or the same phone,
in one county or with the hukou of one county. Set-based: each of the people is looked up by index."""

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, region_bounds
from app.db import begin
from app.models.duplicates import ComparedThrough
from app.models.households import Person
from app.services import audit, queue, regions

JOB = "find_duplicates"
CHUNK = 2_000
#: People enter in transactions that take a moment: whoever was created before the last search ended is looked
#: at again.
OVERLAP = timedelta(minutes=10)
#: A birth date this many days off is a slip: the day it was reported, the end of the month.
DAYS = 3
#: A phone that more people have on file than a large family stands for none of them: the village's own, a filler.
HOLDERS = 20
TIMEOUT = text("SET LOCAL statement_timeout = '10min'")
#: About them there is nothing to decide any more.
GONE = text("""
DELETE FROM suspicion s USING person p
 WHERE s.status = 'open' AND p.id IN (s.person_a, s.person_b)
   AND (p.merged_into IS NOT NULL OR p.died_on IS NOT NULL OR p.erased_at IS NOT NULL)""")
#: What each reason is worth, of 100.
SCORES = {
    "same_name": 15, "same_sound": 5, "same_birth_date": 40, "birth_day_month_swapped": 35, "birth_year_digit": 25,
    "birth_days_near": 25, "same_phone": 30, "same_sex": 5, "same_county": 5, "same_hukou_county": 5,
}  # fmt: skip

# A slip of the year is one digit of its last two; 29 February only moves between leap years.
# Families share a phone, so that within a household it says nothing.
FIND = text("""
WITH pair AS (
    SELECT least(p.id, q.id) AS a, greatest(p.id, q.id) AS b,
           array_remove(ARRAY[
             CASE WHEN p.name = q.name THEN 'same_name' ELSE 'same_sound' END,
             CASE WHEN p.birth_date = q.birth_date THEN 'same_birth_date'
                  WHEN to_char(p.birth_date, 'YYYYDDMM') = to_char(q.birth_date, 'YYYYMMDD')
                  THEN 'birth_day_month_swapped'
                  WHEN abs(p.birth_date - q.birth_date) <= :days THEN 'birth_days_near'
                  WHEN to_char(p.birth_date, 'MMDD') = to_char(q.birth_date, 'MMDD')
                   AND left(to_char(p.birth_date, 'YYYY'), 2) = left(to_char(q.birth_date, 'YYYY'), 2)
                   AND (substr(to_char(p.birth_date, 'YYYY'), 3, 1) = substr(to_char(q.birth_date, 'YYYY'), 3, 1)
                        OR right(to_char(p.birth_date, 'YYYY'), 1) = right(to_char(q.birth_date, 'YYYY'), 1))
                  THEN 'birth_year_digit' END,
             CASE WHEN p.phone_index = q.phone_index AND phone.tells AND NOT same.household THEN 'same_phone' END,
             CASE WHEN p.sex = q.sex THEN 'same_sex' END,
             CASE WHEN left(p.region_code, 6) = left(q.region_code, 6) THEN 'same_county' END,
             CASE WHEN left(p.hukou_region_code, 6) = left(q.hukou_region_code, 6) THEN 'same_hukou_county' END
           ], NULL) AS reasons
      FROM person p
     CROSS JOIN LATERAL (SELECT count(*) <= :holders AS tells FROM (
        SELECT FROM person h WHERE h.phone_index = p.phone_index LIMIT :holders + 1) AS held) AS phone
     CROSS JOIN LATERAL (
        SELECT q.id FROM person q WHERE q.pinyin = p.pinyin
           AND q.birth_date BETWEEN p.birth_date - CAST(:days AS int) AND p.birth_date + CAST(:days AS int)
        UNION
        SELECT q.id FROM person q WHERE q.pinyin = p.pinyin AND q.birth_date = ANY (ARRAY(
            SELECT (p.birth_date + make_interval(years => step * by))::date
              FROM (VALUES (1, mod(date_part('year', p.birth_date)::int, 10)),
                           (10, mod(date_part('year', p.birth_date)::int / 10, 10))) AS digit(by, now),
                   LATERAL generate_series(-digit.now, 9 - digit.now) AS step WHERE step <> 0
            UNION ALL
            SELECT make_date(date_part('year', p.birth_date)::int, date_part('day', p.birth_date)::int,
                             date_part('month', p.birth_date)::int)
             WHERE date_part('day', p.birth_date) <= 12))
        UNION
        SELECT q.id FROM person q WHERE phone.tells AND q.phone_index = p.phone_index AND q.pinyin = p.pinyin
     ) AS candidate
     -- One by one: as a join it would read all people for each chunk. OFFSET keeps the planner from making it one.
     CROSS JOIN LATERAL (SELECT * FROM person WHERE id = candidate.id OFFSET 0) AS q
     CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM membership m JOIN membership n ON n.household_id = m.household_id
         WHERE m.person_id = p.id AND n.person_id = q.id AND m.valid_to IS NULL AND n.valid_to IS NULL
     ) AS household) AS same
     WHERE p.id = ANY (CAST(:people AS uuid[])) AND q.id <> p.id
       AND p.region_code IS NOT NULL AND q.region_code IS NOT NULL
       AND p.erased_at IS NULL AND q.erased_at IS NULL
       AND p.restricted_at IS NULL AND q.restricted_at IS NULL
), scored AS (
    SELECT DISTINCT ON (a, b) a, b, reasons,
           (SELECT sum(value::int) FROM jsonb_each_text(CAST(:scores AS jsonb)) WHERE key = ANY (reasons)) AS score
      FROM pair
     WHERE reasons && ARRAY['same_county', 'same_hukou_county']
       AND (reasons && ARRAY['same_birth_date', 'same_phone']
            OR ('same_sex' = ANY (reasons)
                AND reasons && ARRAY['birth_day_month_swapped', 'birth_days_near', 'birth_year_digit']))
)
INSERT INTO suspicion (id, person_a, person_b, score, reasons, status, found_at)
SELECT gen_random_uuid(), a, b, score, to_jsonb(reasons), 'open', :now
  FROM scored
 -- What was dismissed of somebody before a merge stays dismissed.
 WHERE NOT EXISTS (
    SELECT FROM person x CROSS JOIN person y
      JOIN suspicion s ON s.person_a = least(x.id, y.id) AND s.person_b = greatest(x.id, y.id)
     WHERE (x.id = a OR x.merged_into = a) AND (y.id = b OR y.merged_into = b) AND s.status = 'dismissed')
 ORDER BY a, b
ON CONFLICT (person_a, person_b) DO NOTHING
RETURNING id""")


async def compare(db: AsyncSession, people: Iterable[uuid.UUID]) -> int:
    """Look for doubles of these people: how many pairs are new. A pair that was found before is left as it is."""
    given = {"people": sorted(set(people)), "now": clock.now(), "days": DAYS, "holders": HOLDERS}
    found = await db.execute(FIND, given | {"scores": json.dumps(SCORES)})
    return len(found.all())


async def search(db: AsyncSession, actor: Actor, *, region_code: str) -> None:
    """Queue a search among all people of a region, beside the one among new people that runs by itself."""
    await regions.require_own_region(db, actor, region_code)
    await queue.enqueue(db, JOB, {"region_code": region_code}, once=f"{JOB}:{region_code}")
    await audit.record(db, actor, "search", "suspicion")


async def compare_region(region_code: str) -> int:
    """The queued search: by chunks, each a transaction, village by village."""
    found, (first, last) = 0, region_bounds(region_code)
    place: tuple[str | None, uuid.UUID] = first, uuid.UUID(int=0)
    while True:
        async with begin() as db:
            order = Person.region_code, Person.id
            query = select(*order).where(Person.region_code <= last, func.row(*order) > func.row(*place))
            people = (await db.execute(query.order_by(*order).limit(CHUNK))).all()
            if not people:
                return found
            await db.execute(TIMEOUT)
            found += await compare(db, [id for _, id in people])
            place = people[-1][0], people[-1][1]


async def compare_new() -> int:
    """Everybody who came since the last time, by import or one by one. Who died or was merged since is suspected no
    more."""
    found, began = 0, clock.now()
    async with begin() as db:
        await db.execute(TIMEOUT)
        await db.execute(GONE)
        at, person = await _through(db)
    at -= OVERLAP
    while True:
        async with begin() as db:
            people = await _next(db, at, person)
            if not people:
                await _advance(db, began, uuid.UUID(int=0))  # not to look at the last ones each time again
                return found
            await db.execute(TIMEOUT)
            found += await compare(db, [id for id, _ in people])
            person, at = people[-1]
            await _advance(db, at, person)


async def _through(db: AsyncSession) -> tuple[datetime, uuid.UUID]:
    row = await db.get(ComparedThrough, JOB)
    return (row.created_at, row.person_id) if row else (datetime(1900, 1, 1, tzinfo=UTC), uuid.UUID(int=0))


async def _next(db: AsyncSession, at: datetime, person: uuid.UUID) -> list[tuple[uuid.UUID, datetime]]:
    query = select(Person.id, Person.created_at).where(
        func.row(Person.created_at, Person.id) > func.row(at, person)
    )
    rows = await db.execute(query.order_by(Person.created_at, Person.id).limit(CHUNK))
    return [(id, created) for id, created in rows]


async def _advance(db: AsyncSession, at: datetime, person: uuid.UUID) -> None:
    values = {"created_at": at, "person_id": person}
    statement = insert(ComparedThrough).values(id=JOB, **values)
    await db.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
