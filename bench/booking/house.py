"""Everything that runs."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from rich.console import Console

from bench import stage
from bench.booking import pretix, rows
from bench.booking.http import Http
from bench.booking.plan import CLIENTS, CROWD, Size, Workload
from bench.booking.pretix import Pretix
from bench.stage import OURS, POOL, UVICORN, Servers, machine, served

TEXTBOOK = (*UVICORN, "bench.booking.textbook:asgi", "--port")
BARE = ("bench.booking.bare",)


@dataclass(frozen=True)
class House:
    url: str
    size: Size
    console: Console
    http: Http
    ours: Servers
    textbook: Servers
    bare: Servers
    pretix: Pretix | None

    def clear(self, workload: Workload) -> Callable[[], None]:
        return lambda: asyncio.run(rows.clear(self.url, slots=workload.slots, full=workload.full))

    def heading(self) -> str:
        return (
            f"{machine(self.url)}\n{self.size.servers} server processes, pool {POOL} each, {CLIENTS} connections and "
            f"a crowd of {CROWD}, {os.cpu_count()} processors shared by all"
        )


@contextmanager
def open_house(size: Size, console: Console) -> Iterator[House]:
    with ExitStack() as stack:
        # Forked before there is anything to inherit: spawned, it would import all of this again.
        client = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("fork")))
        client.submit(os.getpid).result()
        url = stack.enter_context(stage.database(durable=size.durable))
        ours, textbook, bare = (
            stack.enter_context(served(module, url, size.servers)) for module in (OURS, TEXTBOOK, BARE)
        )
        asyncio.run(rows.furnish(url, max(size.residents, size.statements * CLIENTS)))
        http = Http(client, url, size)
        peer = stack.enter_context(pretix.running(http, console)) if size.pretix else None
        for servers in (ours, textbook, bare):
            servers.wait()
        yield House(url, size, console, http, ours, textbook, bare, peer)
