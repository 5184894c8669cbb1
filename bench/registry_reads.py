"""Reading a registry of a million households as fast as one of ten thousand.

    python -m bench.registry_reads --sizes 10000 100000 1000000 [--repeats 200]

Searches, counts, lists and details through the services, each in a transaction of its own with its audit rows, as a
worker of one village, of one town, and of the whole region. The households are made in SQL, village by village, 180 in
each; sealed columns are dummies, and each unsealing opens one same value, which costs what a real one does. Commits do
not wait for the disk here: what counts is the reading. Ratios are to the first size; the absolute figures hold for the
machine they were taken on. p99 is that of `repeats` calls with different names, people and categories.
"""

import argparse
import asyncio
import random
import secrets
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import crypto, names
from app.access import Actor, visible
from app.db import begin, connect
from app.models.households import DocumentKind, Household, HouseholdStatus, Person
from app.models.identity import Role
from app.services import households
from app.services.documents import Document
from app.services.search import HouseholdCriteria, PeopleCriteria, people
from app.services.search import households as found_households
from app.settings import settings
from bench import stage

WHOLE = "640000000000"
HOUSEHOLDS, VILLAGES_OF_A_TOWN = 180, 24
SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
    "苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国文辉梅鑫雪宁波婷浩宇轩欣"
    "怡子涵梓萱海燕春花晓东志小"
)
SAMPLE, WARM = 200, 5

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


@dataclass
class World:
    """Who asks, and whom they may ask for."""

    places: dict[str, str]
    people: dict[str, list[Person]] = field(default_factory=dict)
    homes: dict[str, list[uuid.UUID]] = field(default_factory=dict)
    numbers: dict[uuid.UUID, str] = field(default_factory=dict)

    def actor(self, scope: str) -> Actor:
        return Actor(Role.COUNTY_ADMINISTRATOR, id=uuid.UUID(int=9 << 96 | 1), region_code=self.places[scope])


async def arrive(session: AsyncSession) -> World:
    """With some people of each region whose documents can be asked for."""
    first = await session.scalar(text("SELECT min(code) FROM region WHERE level = 5"))
    world = World({"village": first, "town": f"{first[:9]}000", "whole": WHOLE})
    for scope in world.places:
        actor = world.actor(scope)
        some = select(Person).where(visible(actor, Person)).order_by(func.random()).limit(SAMPLE)
        world.people[scope] = list(await session.scalars(some))
        homes = select(Household.id).where(
            visible(actor, Household), Household.status == HouseholdStatus.ACTIVE
        )
        world.homes[scope] = list(await session.scalars(homes.order_by(func.random()).limit(SAMPLE)))
        for person in world.people[scope]:
            number = world.numbers.setdefault(
                person.id, f"E{len(world.numbers):08}{secrets.token_hex(3).upper()}"
            )
            person.document_kind = DocumentKind.PASSPORT
            person.document_index = Document(DocumentKind.PASSPORT, number, None, None).index
    return world


Call = Callable[[AsyncSession, Actor], Awaitable[Any]]
Making = Callable[[random.Random, World, str], Call]


def finding(criteria: Callable[[random.Random, World, str], dict[str, Any]], counted: bool = False) -> Making:
    def make(dice: random.Random, world: World, scope: str) -> Call:
        wanted = PeopleCriteria(**criteria(dice, world, scope))
        if counted:
            return lambda session, actor: people.count(session, actor, wanted)
        return lambda session, actor: people.search(session, actor, wanted, after=None, limit=21)

    return make


def of_somebody(take: Callable[[Person], str]) -> Callable[[random.Random, World, str], dict[str, Any]]:
    return lambda dice, world, scope: {"name": take(dice.choice(world.people[scope]))}


def document(dice: random.Random, world: World, scope: str) -> dict[str, Any]:
    return {
        "document_kind": "passport",
        "document_number": world.numbers[dice.choice(world.people[scope]).id],
    }


def category(dice: random.Random, _world: World, _scope: str) -> dict[str, Any]:
    return {"category": dice.choice(["minimum_income", "only_child_deceased", "surgery_complication"])}


def ages(dice: random.Random, _world: World, _scope: str) -> dict[str, Any]:
    age = dice.randrange(90)
    return {"age_from": age, "age_to": age + dice.randrange(10), "sex": dice.choice(["male", "female"])}


def detail(dice: random.Random, world: World, scope: str) -> Call:
    home = dice.choice(world.homes[scope])
    return lambda session, actor: households.detail(session, actor, id=home, purpose="registry_upkeep")


def a_list(_dice: random.Random, _world: World, _scope: str) -> Call:
    return lambda session, actor: households.listing(
        session, actor, status=HouseholdStatus.ACTIVE, after=None, limit=21
    )


def types(dice: random.Random, _world: World, _scope: str) -> Call:
    wanted = HouseholdCriteria(kind="households", family_type=dice.choice(["elderly", "new_citizen"]))
    return lambda session, actor: found_households.search(session, actor, wanted, after=None, limit=21)


def numbered(dice: random.Random, _world: World, _scope: str) -> Call:
    wanted = HouseholdCriteria(kind="households", local_number=str(dice.randrange(HOUSEHOLDS)))
    return lambda session, actor: found_households.search(session, actor, wanted, after=None, limit=21)


CALLS: dict[str, Making] = {
    "surname 王": finding(lambda *_: {"name": "王"}),
    "first two characters": finding(of_somebody(lambda person: person.name[:2])),
    "whole name": finding(of_somebody(lambda person: person.name)),
    "initial w": finding(lambda *_: {"name": "w"}),
    "initials": finding(of_somebody(lambda person: person.initials)),
    "sound": finding(of_somebody(lambda person: person.pinyin)),
    "document": finding(document),
    "category": finding(category),
    "age and sex": finding(ages),
    "migrants": finding(lambda *_: {"migrant": True}),
    "everybody": finding(lambda *_: {}),
    "households by type": types,
    "households by 户编号": numbered,
    "people by 户编号": finding(
        lambda dice, _world, _scope: {"local_number": str(dice.randrange(HOUSEHOLDS))}
    ),
    "nobody's 户编号": finding(lambda *_: {"local_number": "none"}),
    "list of households": a_list,
    "detail of a household": detail,
    "count 王": finding(lambda *_: {"name": "王"}, counted=True),
    "count of a category": finding(category, counted=True),
    "count of an age": finding(ages, counted=True),
}


async def measure(url: str, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of each call, round by round, so that a disturbance hits all alike."""
    crypto.use(crypto.SettingsKeys(settings()))
    unseal_one_value()
    engine = connect(settings(), url)
    async with begin() as session:
        world = await arrive(session)
    taken: dict[tuple[str, str], list[float]] = {
        (name, scope): [] for name in CALLS for scope in world.places
    }
    dice = random.Random(2)
    for turn in range(repeats + WARM):
        for (name, scope), times in taken.items():
            call, actor = CALLS[name](dice, world, scope), world.actor(scope)
            started = time.perf_counter()
            async with begin() as session:
                await call(session, actor)
            if turn >= WARM:
                times.append((time.perf_counter() - started) * 1000)
    await engine.dispose()
    return taken


def unseal_one_value() -> None:
    real, sealed = crypto.unseal, crypto.seal("640104199001010015", place="bench")

    def unseal(_: bytes, *, place: str) -> str:  # noqa: ARG001
        return real(sealed, place="bench")

    crypto.unseal = unseal


def show(sizes: list[int], taken: dict[int, dict[tuple[str, str], list[float]]]) -> None:
    table = Table("call", "by a worker of")
    for size in sizes:
        for heading in ("p50 ms", "p99 ms"):
            table.add_column(f"{size:,}\n{heading}", justify="right")
    for heading in ("p50", "p99"):
        table.add_column(f"{heading} ×\n{sizes[-1]:,}", justify="right")
    for key in taken[sizes[0]]:
        figures = [(p(taken[size][key], 50), p(taken[size][key], 99)) for size in sizes]
        ratios = [f"{last / first:.2f}" for first, last in zip(figures[0], figures[-1], strict=True)]
        table.add_row(*key, *(f"{one:.1f}" for figure in figures for one in figure), *ratios)
    Console(width=160).print(table)


def p(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000], help="households")
    parser.add_argument("--repeats", type=int, default=100)
    given = parser.parse_args()
    taken = {}
    for size in given.sizes:
        with stage.database() as url:
            started = time.perf_counter()
            asyncio.run(furnish(url, size))
            print(f"{size:,} households made in {time.perf_counter() - started:.0f} s")  # noqa: T201
            taken[size] = asyncio.run(measure(url, given.repeats))
    show(given.sizes, taken)


if __name__ == "__main__":
    main()
