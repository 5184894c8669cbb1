"""The households that bench.registry_reads reads: made in SQL, village by village."""

import random
from collections.abc import Sequence

import asyncpg

from app import names

HOUSEHOLDS, VILLAGES_OF_A_TOWN = 180, 24
SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
    "苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国文辉梅鑫雪宁波婷浩宇轩欣"
    "怡子涵梓萱海燕春花晓东志小"
)

LOAD = """
SET session_replication_role = replica;
INSERT INTO region (code, level, parent_code, name, valid_from, valid_to, source)
    SELECT left(town.code, 9) || lpad((200 + v)::text, 3, '0'), 5, town.code, '第' || v || '村', '2026-01-01', NULL,
           'bench'
      FROM (SELECT code, row_number() OVER (ORDER BY code) - 1 AS n FROM region
             WHERE level = 4 AND code BETWEEN '640000000000' AND '649999999999') town,
           generate_series(1, {per_town}) v
     WHERE town.n * {per_town} + v <= {villages};
CREATE UNLOGGED TABLE bench_village AS
    SELECT code, row_number() OVER (ORDER BY code) - 1 AS n FROM region WHERE level = 5;
CREATE FUNCTION pg_temp.id(kind int, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN (lpad(to_hex(kind), 8, '0') || lpad(to_hex(i), 24, '0'))::uuid;
INSERT INTO household (id, number, region_code, status, family_type, local_number, address_sealed, verified_at,
                       created_at)
    OVERRIDING SYSTEM VALUE
    SELECT pg_temp.id(1, i), 100001 + i, v.code, CASE WHEN i % 50 = 0 THEN 'moved_out' ELSE 'active' END,
           (ARRAY['developing', 'stable', 'elderly', 'new_citizen'])[1 + (hashint8(i) & 3)], (i % {per_village})::text,
           '\\x01', now(), now()
      FROM generate_series(0, {households} - 1) i JOIN bench_village v ON v.n = i / {per_village};
INSERT INTO person (id, region_code, name, pinyin, initials, sex, birth_date, document_kind, document_number_sealed,
                    document_index, phone_sealed, phone_index, hukou_region_code, hukou_type, resident_since,
                    created_at)
    SELECT pg_temp.id(2, i * 3 + k), v.code, n.name, n.pinyin, n.initials,
           CASE (k + hashint8(i)) & 1 WHEN 1 THEN 'female' ELSE 'male' END,
           date '2026-01-01' - (CASE k WHEN 2 THEN 0 ELSE 7300 END + (hashint8(i * 7 + k) & 16383)), 'resident_id',
           '\\x01',
           sha256(('d' || i * 3 + k)::bytea), '\\x01', sha256(('p' || i * 3 + k)::bytea),
           CASE WHEN hashint8(i) & 31 = 0 THEN '110101001000' ELSE v.code END, 'rural', '2010-01-01', now()
      FROM generate_series(0, {households} - 1) i JOIN bench_village v ON v.n = i / {per_village},
           generate_series(0, 2) k, bench_name n
     WHERE n.id = (hashint8(i * 3 + k) & 65535);
INSERT INTO membership (id, household_id, person_id, relation, valid_from)
    SELECT pg_temp.id(3, i * 3 + k), pg_temp.id(1, i), pg_temp.id(2, i * 3 + k),
           (ARRAY['head', 'spouse', 'child'])[k + 1], '2020-01-01'
      FROM generate_series(0, {households} - 1) i, generate_series(0, 2) k;
INSERT INTO couple (id, wife_id, husband_id, plans_pregnancy, valid_from)
    SELECT pg_temp.id(4, i), pg_temp.id(2, i * 3 + 1), pg_temp.id(2, i * 3), false, '2010-01-01'
      FROM generate_series(0, {households} - 1) i;
INSERT INTO category (id, code, household_id, evidence_sealed, valid_from, verified_by)
    SELECT pg_temp.id(5, i), (ARRAY['minimum_income', 'only_child_deceased'])[1 + (i % 20 = 0)::int], pg_temp.id(1, i),
           '\\x01', '2020-01-01', pg_temp.id(9, 1)
      FROM generate_series(0, {households} - 1) i WHERE hashint8(i) % 25 = 0;
INSERT INTO category (id, code, person_id, evidence_sealed, valid_from, verified_by)
    SELECT pg_temp.id(6, i), 'surgery_complication', pg_temp.id(2, i * 3), '\\x01', '2020-01-01', pg_temp.id(9, 1)
      FROM generate_series(0, {households} - 1, 700) i;
SET session_replication_role = origin;
"""
BULK = ("household", "person", "membership", "couple", "category")
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY($1)
   AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


async def furnish(url: str, size: int) -> None:
    """Secondary indexes are made after the rows, as a restore would."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE UNLOGGED TABLE bench_name (id int PRIMARY KEY, name text, pinyin text, initials text)"
    )
    await connection.copy_records_to_table("bench_name", records=list(some_names()))
    indexes = await connection.fetch(INDEXES, BULK)
    for row in indexes:
        await connection.execute(f"DROP INDEX {row['indexname']}")
    numbers = {"households": size, "per_village": HOUSEHOLDS, "per_town": VILLAGES_OF_A_TOWN}
    await connection.execute(LOAD.format(villages=-(-size // HOUSEHOLDS), **numbers))
    for row in indexes:
        await connection.execute(row["indexdef"])
    await connection.execute("ALTER SYSTEM SET synchronous_commit = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


def some_names() -> Sequence[tuple[int, str, str, str]]:
    """65,536 that occur as surnames do: the first is that of one in fifteen."""
    dice = random.Random(1)
    weights = [1 / (rank + 4) for rank in range(len(SURNAMES))]
    made = []
    for number in range(65_536):
        given = "".join(dice.choices(GIVEN, k=dice.choice((1, 2, 2, 2))))
        name = dice.choices(SURNAMES, weights)[0] + given
        sound = names.pinyin(name)
        made.append((number, name, sound, names.initials(sound)))
    return made
