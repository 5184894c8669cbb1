"""Reading a registry of a million households as fast as one of ten thousand.

    python -m bench.registry_reads --sizes 10000 100000 1000000 [--repeats 200]

Searches, counts, lists and details through the services, each in a transaction of its own with its audit rows, as a
worker of one village, of one town, and of the whole region. The households are made in SQL, village by village, 180 in
each; sealed columns are dummies, and each unsealing opens one same value, which costs what a real one does. Commits do
not wait for the disk here: what counts is the reading. Ratios are to the first size; the absolute figures hold for the
machine they were taken on. p99 is that of `repeats` calls with different names, people and categories.

A village and a town are as large in each registry, the whole region is not: there a count of few, or a page of those of
one name, finds more the larger it is. Counts of many pass the thousand at which counting stops in each; for the others
see also the ratio per person found. `found` is the median of what was found, in the first and the last size.
"""

import argparse
import asyncio
import random
import secrets
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app import crypto
from app.access import Actor, visible
from app.db import begin, bind, connect
from app.models.households import DocumentKind, Household, HouseholdStatus, Person
from app.models.identity import Role
from app.services import households
from app.services.documents import Document
from app.services.search import HouseholdCriteria, PeopleCriteria, people
from app.services.search import households as found_households
from app.settings import settings
from bench import stage
from bench.registry_rows import HOUSEHOLDS, furnish
from tests.database import execute

WHOLE = "640000000000"
SCOPES = ("village", "town", "whole")
SAMPLE, WARM = 200, 5


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


def many_ages(dice: random.Random, _world: World, _scope: str) -> dict[str, Any]:
    """Ten years of children and of parents, of which every region has more than a thousand."""
    age = dice.randrange(25, 55)
    return {"age_from": age, "age_to": age + 9}


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
    "count of many: 王": finding(lambda *_: {"name": "王"}, counted=True),
    "count of many: women": finding(lambda *_: {"sex": "female"}, counted=True),
    "count of many: ten years": finding(many_ages, counted=True),
    "count of many: 低保": finding(lambda *_: {"category": "minimum_income"}, counted=True),
    "count of a category": finding(category, counted=True),
    "count of an age": finding(ages, counted=True),
}


@dataclass
class Taken:
    """Milliseconds of each call; of a count or a page also how many it found."""

    times: list[float] = field(default_factory=list)
    found: list[int] = field(default_factory=list)

    @property
    def per_one(self) -> float:
        return p(self.times, 50) / max(self.counted, 1)

    @property
    def counted(self) -> int:
        return int(statistics.median(self.found))


Calls = dict[tuple[str, str], Taken]


@dataclass
class Registry:
    """One size of it: where it is, who asks there, and what was measured."""

    engine: AsyncEngine
    world: World
    dice: random.Random = field(default_factory=lambda: random.Random(2))
    taken: Calls = field(default_factory=dict)


async def measure(urls: dict[int, str], repeats: int) -> dict[int, Calls]:
    """Call by call the sizes take turns, so that what else the machine does falls on all alike."""
    crypto.use(crypto.SettingsKeys(settings()))
    unseal_one_value()
    registries = {}
    for size, url in urls.items():
        engine = connect(settings(), url)
        async with begin() as session:
            registries[size] = Registry(engine, await arrive(session))
        # Those documents were written just now; in life autovacuum has long been there.
        await execute(url, "CHECKPOINT", "VACUUM (INDEX_CLEANUP ON, ANALYZE)")
    for turn in range(repeats + WARM):
        for name in CALLS:
            for scope in SCOPES:
                for one in registries.values():
                    await take(one, name, scope, warm=turn < WARM)
    for one in registries.values():
        await one.engine.dispose()
    return {size: one.taken for size, one in registries.items()}


async def take(one: Registry, name: str, scope: str, *, warm: bool) -> None:
    bind(one.engine)
    call, actor = CALLS[name](one.dice, one.world, scope), one.world.actor(scope)
    started = time.perf_counter()
    async with begin() as session:
        answer = await call(session, actor)
    if warm:
        return
    taken = one.taken.setdefault((name, scope), Taken())
    taken.times.append((time.perf_counter() - started) * 1000)
    if isinstance(answer, list) or name.startswith("count"):
        taken.found.append(len(answer) if isinstance(answer, list) else answer["count"])


def unseal_one_value() -> None:
    real, sealed = crypto.unseal, crypto.seal("640104199001010015", place="bench")

    def unseal(_: bytes, *, place: str) -> str:  # noqa: ARG001
        return real(sealed, place="bench")

    crypto.unseal = unseal


def show(sizes: list[int], taken: dict[int, Calls]) -> None:
    table = Table("call", "by a worker of")
    for size in sizes:
        for heading in ("p50 ms", "p99 ms"):
            table.add_column(f"{size:,}\n{heading}", justify="right")
    for heading in ("p50", "p99"):
        table.add_column(f"{heading} ×\n{sizes[-1]:,}", justify="right")
    table.add_column("found", justify="right")
    table.add_column("p50 ×\nper one", justify="right")
    for key in taken[sizes[0]]:
        figures = [(p(taken[size][key].times, 50), p(taken[size][key].times, 99)) for size in sizes]
        ratios = [f"{last / first:.2f}" for first, last in zip(figures[0], figures[-1], strict=True)]
        counts = counted(taken[sizes[0]][key], taken[sizes[-1]][key])
        table.add_row(*key, *(f"{one:.1f}" for figure in figures for one in figure), *ratios, *counts)
    Console(width=180).print(table)


def counted(first: Taken, last: Taken) -> list[str]:
    if not first.found:
        return ["", ""]
    return [f"{first.counted:,}, {last.counted:,}", f"{last.per_one / first.per_one:.2f}"]


def p(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000], help="households")
    parser.add_argument("--repeats", type=int, default=100)
    given = parser.parse_args()
    with ExitStack() as stack:
        urls = {size: stack.enter_context(stage.database()) for size in given.sizes}
        for size, url in urls.items():
            started = time.perf_counter()
            asyncio.run(furnish(url, size))
            print(f"{size:,} households made in {time.perf_counter() - started:.0f} s")  # noqa: T201
        show(given.sizes, asyncio.run(measure(urls, given.repeats)))


if __name__ == "__main__":
    main()
