"""Posting to the ledger, against the same written the textbook way, django-hordak, and PostgreSQL's own limit.

    python -m bench.ledger [--quick] [--database URL]

Sixteen clients in two processes post for some seconds: gifts to one fund (2 hot accounts), gifts through 50 channels to
50 funds (100 accounts), and six gifts to four payments that a fund must have the money for. Through our service; with
SELECT … FOR UPDATE (bench/ledger_textbook.py); with django-hordak 2.0.0 from the package index, in an environment of
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
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from rich.console import Console

from app import schema
from bench import hordak, ledger_posters, ledger_stage, stage
from bench.booking import configure, machine
from bench.hordak import Hordak
from bench.ledger_notices import Http, Wechat
from bench.ledger_plan import Posted, Workload
from bench.ledger_report import HORDAK, LIMIT, Sealed, add_rows, add_sealing, sealing_table, table_of
from bench.report import TEXTBOOK, Run
from bench.stage import Servers

OURS, VERIFIED = "ours", "verified, not kept"
CLIENTS = 16
SERIES = ("this disk", "+1 ms a flush")


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
    posters: ProcessPoolExecutor
    enough: Event
    http: Http
    ours: Servers
    textbook: Servers
    hordak: Hordak | None

    def seeds(self) -> list[range]:
        """The clients of each process."""
        each = CLIENTS // self.size.processes
        return [range(first, first + each) for first in range(0, CLIENTS, each)]


Runner = Callable[[Workload], Run]


def posting(house: House, way: str, url: str) -> Runner:
    def run(workload: Workload) -> Run:
        posted = together(house, way, url, workload)
        done, refused = sum(one.done for one in posted), sum(one.refused for one in posted)
        void = asyncio.run(ledger_stage.violations(house.url, done=done, refused=refused))
        return run_of(posted, void)

    return run


def together(house: House, way: str, url: str, workload: Workload) -> list[Posted]:
    work = [
        house.posters.submit(ledger_posters.post, way, url, workload, house.size.seconds, own)
        for own in house.seeds()
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
    table, kept = table_of(f"posting, {CLIENTS} connections, {name}"), True
    own = schema.as_application(house.url)
    runners: dict[str, Runner] = {
        OURS: posting(house, OURS, own),
        TEXTBOOK: posting(house, TEXTBOOK, house.url),
    }
    if house.hordak is not None:
        runners[HORDAK] = by_hordak(house, house.hordak)
    runners[LIMIT] = lambda load: ledger_stage.limit_of_posting(own, load, CLIENTS, house.size.seconds)
    for workload in workloads(house.size):
        runs: dict[str, list[Run]] = {who: [] for who in runners}
        # All take turns, so that what else the machine does falls on all alike.
        for _ in range(house.size.rounds):
            for who, runner in runners.items():
                asyncio.run(ledger_stage.clear(house.url))
                runs[who].append(runner(workload))
        kept &= add_rows(table, workload.name, runs)
    house.console.print(table)
    return kept


def play_notices(house: House, name: str) -> bool:
    table, kept = table_of(f"notices through HTTP, {CLIENTS} connections, {name}"), True
    own, http = schema.as_application(house.url), house.http
    runners: dict[str, Callable[[int], Run]] = {
        OURS: http.tell(house.ours),
        TEXTBOOK: http.tell(house.textbook),
        LIMIT: lambda funds: limit_of_notices(house, own, funds),
        VERIFIED: lambda _: http.verify(house.textbook),
    }
    for funds in (1, house.size.accounts):
        runs: dict[str, list[Run]] = {who: [] for who in runners}
        for _ in range(house.size.rounds):
            for who, runner in runners.items():
                asyncio.run(ledger_stage.clear(house.url))
                runs[who].append(runner(funds))
        kept &= add_rows(table, f"gifts to {funds} fund{'s' * (funds > 1)}", runs)
    house.console.print(table)
    return kept


def limit_of_notices(house: House, url: str, funds: int) -> Run:
    asyncio.run(ledger_stage.await_payment(house.url, funds, house.size.notices))
    return ledger_stage.limit_of_notices(url, CLIENTS, house.size.notices // CLIENTS)


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
    asyncio.run(ledger_stage.clear(house.url))
    own = schema.as_application(house.url)
    house.enough.clear()
    sealer = house.posters.submit(ledger_posters.seal, own)
    run = run_of(together(house, OURS, own, workload), [])
    count = "SELECT (SELECT count(*) FROM ledger_leaf) AS sealed, (SELECT count(*) FROM unsealed_transfer) AS behind"
    sealed, behind = asyncio.run(stage.fetch(house.url, count))[0]
    since = time.perf_counter()
    house.enough.set()
    whole = sealer.result()
    drained = time.perf_counter() - since
    void = asyncio.run(ledger_stage.violations(house.url, done=whole))
    seconds = len(run.latencies) / run.rate
    return Sealed(run.rate, sealed / seconds, behind, drained, void)


@contextmanager
def the_peer(url: str, size: Size, console: Console) -> Iterator[Hordak | None]:
    if not size.hordak:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="nuanxin-hordak-") as folder:
        try:
            python = hordak.install(Path(folder))
        except hordak.NotInstalled as error:
            console.print(f"django-hordak is left out, it cannot be installed here: {error}", highlight=False)
            yield None
            return
        with hordak.running(python, url, size.processes, size.accounts) as peer:
            yield peer


def play(size: Size, console: Console, database: str | None) -> bool:
    """Every series and workload; true when no row is void."""
    fork = get_context("fork")
    barrier, enough = fork.Barrier(size.processes), fork.Event()
    with ExitStack() as stack:
        # Forked before there is anything to inherit. One more than post: who seals.
        posters = stack.enter_context(
            ProcessPoolExecutor(size.processes + 1, fork, ledger_posters.begin, (barrier, enough))
        )
        posters.submit(os.getpid).result()
        url = database or stack.enter_context(stage.database(durable=size.durable))
        own = schema.as_application(url)
        ours = stack.enter_context(stage.served(stage.OURS, own, size.servers))
        module = (*stage.UVICORN, "bench.ledger_textbook:asgi", "--port")
        asyncio.run(ledger_stage.furnish(url, size.accounts))
        textbook = stack.enter_context(stage.served(module, url, size.servers))
        http = Http(posters, url, Wechat(), size.notices, size.seconds * 3, CLIENTS)
        peer = stack.enter_context(the_peer(url, size, console))
        house = House(url, size, console, posters, enough, http, ours, textbook, peer)
        for servers in (ours, textbook):
            servers.wait()
        console.print(
            f"{machine(url)}\n{size.processes} processes that post, {CLIENTS} connections, {size.servers} servers, "
            f"{os.cpu_count()} processors shared by all", highlight=False,
        )  # fmt: skip
        kept = [play_all(house, name) for name in SERIES[: size.series]]
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
