"""Servers on loopback: processes of our own, for journeys and races, started, waited for, stopped by their id; and
stand-ins in a thread."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import db, demo, schema
from app.settings import ROOT

# The collector's looks at what the imports make would take half a second of each start.
NUANXIN = (sys.executable, "-c", "import gc; gc.disable(); from app.cli import main; gc.enable(); main()")
READY_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Fleet:
    """The first server is also WeChat for all of them."""

    urls: list[str]
    processes: list[subprocess.Popen[bytes]]

    def unharmed(self) -> bool:
        """Every process that was started still runs: none was lost and started again."""
        return all(process.poll() is None for process in self.processes)


@dataclass(frozen=True)
class World:
    """A server, and the database behind it."""

    url: str
    database: str


@contextmanager
def fleet(database: str, folder: Path, *, servers: int = 1, worker: bool = False) -> Iterator[Fleet]:
    """So many servers, and the job worker if wanted, on a database with the current schema. They connect as the
    application's role, so that a right that it lacks shows."""
    ports = free_ports(servers)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    environment = os.environ | {
        "NUANXIN_DATABASE_URL": schema.as_application(database),
        "NUANXIN_WECHAT_BASE_URL": f"{urls[0]}/sandbox/wechat",
        "NUANXIN_WECHAT_PAY_BASE_URL": f"{urls[0]}/sandbox/wechat_pay",
        "NUANXIN_PUBLIC_URL": urls[0],
    }
    commands = [("serve", "--port", str(port)) for port in ports] + [("worker",)] * worker
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"process-{number}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen((*NUANXIN, *command), env=environment, cwd=ROOT, stdout=log, stderr=log)
                )
        for number, url in enumerate(urls):
            wait_ready(url, processes[number], folder / f"process-{number}.log")
        yield Fleet(urls, processes)
    finally:
        stop(processes)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """On a port of its own, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def free_ports(count: int) -> list[int]:
    """All held at once, so that they differ."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(holder.getsockname()[1]) for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as http:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if http.get(f"{url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not become ready:\n{log.read_text()[-4000:]}")


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def migrate(database: str) -> None:
    """Schema and reference data, by the operator's own command."""
    done = subprocess.run(
        (*NUANXIN, "migrate"),
        env=os.environ | {"NUANXIN_DATABASE_URL": database},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])


async def seed(database: str, *rows: object) -> None:
    """The demo's workers, hospital and slots, and whatever else the story needs."""
    async with looking(database) as session, session.begin():
        await demo.seed(session)
        session.add_all(rows)


def looking(database: str) -> AsyncSession:
    """A session of the test's own, apart from everything that the servers do."""
    return AsyncSession(create_async_engine(db.driver(database), poolclass=NullPool), expire_on_commit=False)
