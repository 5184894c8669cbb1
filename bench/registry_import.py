"""Importing lists of families: against PostgreSQL's own limit, and against one family after the other.

    python -m bench.registry_import [--rows 20000] [--large 200000] [--textbook 40] [--rounds 3]

Ours is from the first byte uploaded to the last row committed: reading, checking, sealing, dry run, commit, family
types, trail. The limit is COPY of the very rows that the import left, into the same tables with their indexes and
constraints, the trail's line for each person among them: nothing read, checked or sealed. The textbook is what a
worker would do: register, submit and verify each family through the services. PostgreSQL is durable, on the same
processors. Import and COPY take turns; what is shown is the median, and of memory the most. Ratios are the result; the
absolute figures hold for the machine they were taken on.
"""

import argparse
import asyncio
import gc
import io
import platform
import re
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median, median_low

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from app import crypto, db
from app.models.imports import ImportBatch
from app.services import imports
from app.services.imports import reading
from app.settings import settings
from bench import stage
from bench.registry_textbook import one_by_one, worker
from tests.factories import spreadsheets

SETTLED = 5  # seconds, until the code is loaded
LOOK = 0.5  # seconds; to look costs tens of milliseconds of the processors that the import has
ROUNDS = 3  # imports and COPY take turns, since one alone swings by half
TABLES = ("household", "person", "membership", "couple", "category", "audit_event")


@dataclass(frozen=True)
class Ours:
    rows: int
    check: float
    commit: float
    peak: int  # bytes

    @property
    def rate(self) -> float:
        return self.rows / (self.check + self.commit)


async def pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


async def bring_in(url: str, path: Path) -> Ours:
    """Upload, dry run, commit, as the server and the job worker do."""
    crypto.use(crypto.SettingsKeys(settings()))
    engine = db.connect(settings(), url)
    try:
        actor = await worker()
        started = time.perf_counter()
        made = await imports.upload(actor, pieces(path), id=None, seen=b"", name=path.name)
        id = uuid.UUID(str(made["id"]))
        await imports.work(id)
        checked = time.perf_counter()
        async with db.begin() as session:
            version = (await session.get_one(ImportBatch, id)).version
            await imports.commit(session, actor, id=id, version=version)
        await imports.work(id)
        done = time.perf_counter()
        async with db.begin() as session:
            counts = (await session.get_one(ImportBatch, id)).counts
    finally:
        await engine.dispose()
    return Ours(counts.get("ready", 0) + counts.get("warning", 0), checked - started, done - checked, 0)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most that this process and those which it began held at once, in bytes; what they share counts once."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(LOOK):
            processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
            most[0] = max(most[0], sum(map(_memory, processes)))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        over.set()
        looking.join()


def _memory(process: psutil.Process) -> int:
    try:
        found = re.search(r"Pss: +(\d+) kB", Path(f"/proc/{process.pid}/smaps_rollup").read_text())
    except OSError:  # it has ended
        return 0
    return int(found[1]) * 1024 if found else 0


def ours(url: str, path: Path) -> Ours:
    """In a process of its own, so that the peak of its memory is that of this import and of what it begins."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_run, url, str(path)).result()


def _run(url: str, path: str) -> Ours:
    # As the job worker does when it starts.
    reading.prepare()
    gc.freeze()
    time.sleep(SETTLED)
    with peak_memory() as most:
        run = asyncio.run(bring_in(url, Path(path)))
    return replace(run, peak=most[0])


async def copied(url: str) -> float:
    """Seconds to COPY the rows into emptied tables, which are empty again afterwards."""
    connection = await asyncpg.connect(url)
    kept = {}
    for table in TABLES:
        columns = await written(connection, table)
        kept[table] = columns, io.BytesIO()
        where = " WHERE action = 'import'" if table == "audit_event" else ""
        await connection.copy_from_query(
            f"SELECT {', '.join(columns)} FROM {table}{where}", output=kept[table][1], format="binary"
        )
    await empty(connection)
    seconds = 0.0
    for table, (columns, data) in kept.items():
        data.seek(0)
        started = time.perf_counter()
        await connection.copy_to_table(table, source=data, columns=columns, format="binary")
        seconds += time.perf_counter() - started
    await empty(connection)
    await connection.close()
    return seconds


async def written(connection: asyncpg.Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' ORDER BY attnum",
        table,
    )
    return [row["attname"] for row in rows]


async def empty(connection: asyncpg.Connection) -> None:
    """The append-only triggers rest for this superuser's session only."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(f"TRUNCATE {', '.join(TABLES)}, import_row CASCADE")
    await connection.execute("RESET session_replication_role")
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")


def lists(folder: Path, rows: int) -> Iterator[Path]:
    for kind, write in (("csv", spreadsheets.as_csv), ("xlsx", spreadsheets.as_xlsx)):
        path = folder / f"{rows}.{kind}"
        write(path, spreadsheets.rows(rows))
        yield path


def taking_turns(url: str, paths: list[Path], rounds: int) -> tuple[dict[Path, list[Ours]], float]:
    """The runs of each file, and the rows a second of COPY."""
    runs: dict[Path, list[Ours]] = {path: [] for path in paths}
    limits = []
    for _ in range(rounds):
        for path in paths:
            run = ours(url, path)
            runs[path].append(run)
            limits.append(run.rows / asyncio.run(copied(url)))
    return runs, median(limits)


def play(url: str, folder: Path, sizes: list[int], *, textbook: int, rounds: int, console: Console) -> None:
    table = Table(
        "rows", "file", "who", "rows/s", "x limit", "x textbook", "dry run s", "commit s", "peak MB",
    )  # fmt: skip
    slow = asyncio.run(one_by_one(url, textbook))
    asyncio.run(_emptied(url))
    for size in sizes:
        runs, limit = taking_turns(url, list(lists(folder, size)), rounds)
        for path, made in runs.items():
            rate = median_low(run.rate for run in made)
            run = next(run for run in made if run.rate == rate)
            table.add_row(
                f"{size:,}", path.suffix, "ours", f"{rate:,.0f}", f"{rate / limit:.2f}", f"{rate / slow:.0f}",
                f"{run.check:.1f}", f"{run.commit:.1f}", f"{max(run.peak for run in made) / 1e6:.0f}",
            )  # fmt: skip
        table.add_row("", "", "limit: COPY", f"{limit:,.0f}", "1.00", f"{limit / slow:.0f}", "", "", "")
    table.add_row(f"{textbook} families", "", "textbook", f"{slow:,.0f}", "", "1", "", "", "")
    console.print(table)
    console.print("Read the ratios; the absolute figures are for this machine only.")


async def _emptied(url: str) -> None:
    connection = await asyncpg.connect(url)
    await empty(connection)
    await connection.close()


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--large", type=int, help="a second size, to see that memory stays flat")
    parser.add_argument("--textbook", type=int, default=40, help="families that go one by one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of import and COPY in turn")
    given = parser.parse_args()
    console = Console(width=150)
    console.print(f"Python {platform.python_version()}", highlight=False)
    with stage.database() as url, tempfile.TemporaryDirectory() as folder:
        sizes = [given.rows, *([given.large] if given.large else [])]
        play(url, Path(folder), sizes, textbook=given.textbook, rounds=given.rounds, console=console)


if __name__ == "__main__":
    main()
