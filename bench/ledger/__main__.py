"""Posting to the ledger, against the same written the textbook way, django-hordak, and PostgreSQL's own limit.

    python -m bench.ledger [--quick] [--database URL]

Sixteen clients in two processes post for some seconds: gifts to one fund (2 hot accounts), gifts through 50 channels to
50 funds (100 accounts), and six gifts to four payments that a fund must have the money for. Through our service; with
SELECT … FOR UPDATE (bench/ledger/textbook.py); with django-hordak 2.0.0 from the package index, in an environment of
its own; and the limit: our function called by pgbench. Then notices of WeChat Pay through HTTP, to two servers. Then
how the public log keeps up while gifts are posted. Everything once more with 1 ms added to each flush, as an ordinary
disk or a standby would.

Ratios are the result; the absolute figures hold for the machine they were taken on, where all share the processors.
After every run the books are judged: a violation voids the row, and the exit code says so.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from rich.console import Console

from app import schema
from bench import stage
from bench.ledger import hordak, posters, rows
from bench.ledger.hordak import HORDAK, Hordak
from bench.ledger.notices import Http, Wechat
from bench.ledger.plan import Posted, Workload
from bench.ledger.report import Sealed, add_sealing, sealing_table
from bench.report import LIMIT, OURS, TEXTBOOK, Run, Sheet, in_turns
from bench.stage import DISKS, UVICORN, Servers, configure, fetch, machine, served

VERIFIED = "verified, not kept"
CLIENTS = 16
AGAINST = {"textbook": TEXTBOOK, "hordak": HORDAK, "limit": LIMIT}
COUNTS = ("refused", "dropped")
TEXTBOOKS = (*UVICORN, "bench.ledger.textbook:asgi", "--port")


@dataclass(frozen=True)
class Size:
    seconds: float
    rounds: int
    series: int
    accounts: int
    notices: int
    processes: int = 2
    servers: int = 2
    hordak: bool = True
    durable: bool = True


FULL = Size(3.0, 3, 2, accounts=50, notices=3000)
QUICK = Size(0.1, 1, 1, accounts=2, notices=32, processes=1, servers=1, hordak=False, durable=False)


def workloads(size: Size) -> tuple[Workload, ...]:
    many = size.accounts
    return (
        Workload("2 hot accounts", 1, 1),
        Workload(f"{2 * many} accounts", many, many),
        Workload("60/40, one fund", 1, 1, out=0.4),
        Workload("60/40, ten funds", min(10, many), 1, out=0.4),
    )


@dataclass(frozen=True)
class House:
    """Everything that runs. `url`: as the owner; our own code comes as the application's role."""

    url: str
    size: Size
    console: Console
    pool: ProcessPoolExecutor
    enough: Event
    http: Http
    ours: Servers
    textbook: Servers
    hordak: Hordak | None

    def clear(self) -> None:
        asyncio.run(rows.clear(self.url))

    def seeds(self) -> list[range]:
        """The clients of each process."""
        each = CLIENTS // self.size.processes
        return [range(first, first + each) for first in range(0, CLIENTS, each)]


Runner = Callable[[Workload], Run]


def posting(house: House, way: str, url: str) -> Runner:
    def run(workload: Workload) -> Run:
        posted = together(house, way, url, workload)
        done, refused = sum(one.done for one in posted), sum(one.refused for one in posted)
        void = asyncio.run(rows.violations(house.url, done=done, refused=refused))
        return run_of(posted, void)

    return run


def together(house: House, way: str, url: str, workload: Workload) -> list[Posted]:
    work = [
        house.pool.submit(posters.post, way, url, workload, house.size.seconds, own) for own in house.seeds()
    ]
    return [one.result() for one in work]


def run_of(posted: list[Posted], void: list[str]) -> Run:
    latencies = [seconds for one in posted for seconds in one.latencies]
    took = max(one.seconds for one in posted)
    cpu = sum(one.cpu for one in posted) / max(1, len(latencies))
    return Run(len(latencies) / took, latencies, cpu, refused=sum(one.refused for one in posted), void=void)


def by_hordak(house: House, peer: Hordak) -> Runner:
    def run(workload: Workload) -> Run:
        posted = peer.post(workload, house.size.seconds, house.seeds())
        return run_of(posted, peer.violations(sum(one.done for one in posted)))

    return run


def play_posting(house: House, name: str) -> bool:
    sheet, kept = Sheet(f"posting, {CLIENTS} connections, {name}", AGAINST, COUNTS), True
    own = schema.as_application(house.url)
    runners: dict[str, Runner] = {
        OURS: posting(house, OURS, own),
        TEXTBOOK: posting(house, TEXTBOOK, house.url),
    }
    if house.hordak is not None:
        runners[HORDAK] = by_hordak(house, house.hordak)
    runners[LIMIT] = lambda load: rows.limit_of_posting(own, load, CLIENTS, house.size.seconds)
    for workload in workloads(house.size):
        kept &= sheet.add(workload.name, in_turns(runners, workload, house.size.rounds, house.clear))
    house.console.print(sheet.table)
    return kept


def play_notices(house: House, name: str) -> bool:
    sheet, kept = Sheet(f"notices through HTTP, {CLIENTS} connections, {name}", AGAINST, COUNTS), True
    own, http = schema.as_application(house.url), house.http
    runners: dict[str, Callable[[int], Run]] = {
        OURS: http.tell(house.ours),
        TEXTBOOK: http.tell(house.textbook),
        LIMIT: lambda funds: limit_of_notices(house, own, funds),
        VERIFIED: lambda _: http.verify(house.textbook),
    }
    for funds in (1, house.size.accounts):
        runs = in_turns(runners, funds, house.size.rounds, house.clear)
        kept &= sheet.add(f"gifts to {funds} fund{'s' * (funds > 1)}", runs)
    house.console.print(sheet.table)
    return kept


def limit_of_notices(house: House, url: str, funds: int) -> Run:
    asyncio.run(rows.await_payment(house.url, funds, house.size.notices))
    return rows.limit_of_notices(url, CLIENTS, house.size.notices // CLIENTS)


def play_sealing(house: House, name: str) -> bool:
    """Who seals has the same processors, and its commits the same flushes."""
    table = sealing_table(f"sealing beside, {name}")
    kept = True
    for workload in workloads(house.size)[:2]:
        runs = [seal_beside(house, workload) for _ in range(house.size.rounds)]
        kept &= add_sealing(table, workload.name, runs)
    house.console.print(table)
    return kept


def seal_beside(house: House, workload: Workload) -> Sealed:
    house.clear()
    own = schema.as_application(house.url)
    house.enough.clear()
    sealer = house.pool.submit(posters.seal, own)
    run = run_of(together(house, OURS, own, workload), [])
    count = "SELECT (SELECT count(*) FROM ledger_leaf) AS sealed, (SELECT count(*) FROM unsealed_transfer) AS behind"
    sealed, behind = asyncio.run(fetch(house.url, count))[0]
    since = time.perf_counter()
    house.enough.set()
    whole = sealer.result()
    drained = time.perf_counter() - since
    void = asyncio.run(rows.violations(house.url, done=whole))
    seconds = len(run.latencies) / run.rate
    return Sealed(run.rate, sealed / seconds, behind, drained, void)


def play(size: Size, console: Console, database: str | None) -> bool:
    """Every series and workload; true when no row is void."""
    fork = get_context("fork")
    barrier, enough = fork.Barrier(size.processes), fork.Event()
    with ExitStack() as stack:
        # Forked before there is anything to inherit. One more than post: who seals.
        pool = stack.enter_context(
            ProcessPoolExecutor(size.processes + 1, fork, posters.begin, (barrier, enough))
        )
        pool.submit(os.getpid).result()
        url = database or stack.enter_context(stage.database(durable=size.durable))
        ours = stack.enter_context(served(stage.OURS, schema.as_application(url), size.servers))
        asyncio.run(rows.furnish(url, size.accounts))
        textbook = stack.enter_context(served(TEXTBOOKS, url, size.servers))
        http = Http(pool, url, Wechat(), size.notices, size.seconds * 3, CLIENTS)
        peer = None
        if size.hordak:
            peer = stack.enter_context(hordak.running(url, size.processes, size.accounts, console))
        house = House(url, size, console, pool, enough, http, ours, textbook, peer)
        for servers in (ours, textbook):
            servers.wait()
        console.print(
            f"{machine(url)}\n{size.processes} processes that post, {CLIENTS} connections, {size.servers} servers, "
            f"{os.cpu_count()} processors shared by all", highlight=False,
        )  # fmt: skip
        kept = [play_all(house, name) for name in list(DISKS)[: size.series]]
    console.print("Read the ratios; the absolute figures are for this machine only.")
    return all(kept)


def play_all(house: House, name: str) -> bool:
    if house.size.series > 1:
        configure(house.url, name)
    return all([play_posting(house, name), play_sealing(house, name), play_notices(house, name)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few postings, to see that it works")
    parser.add_argument(
        "--database", help="with --quick: a migrated database of no use, instead of one of its own"
    )
    given = parser.parse_args()
    if given.database and not given.quick:
        parser.error("--database is for --quick")
    console = Console(width=None if sys.stdout.isatty() else 170)
    sys.exit(0 if play(QUICK if given.quick else FULL, console, given.database) else 1)


if __name__ == "__main__":
    main()
