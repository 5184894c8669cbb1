"""pretix 2026.8.0, a ticket shop: its quotas are the slots, and an order through its REST API takes a place.

Served by two processes as ours are, with a connection to PostgreSQL for each of their threads; no Redis and no Celery,
as in its smallest installations. Tuned in its favour: no plug-ins, no mail, no invoice, no payment yet, no
idempotency keys, and one API token for all instead of a sign-in for each.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from app.settings import ROOT
from bench import peer
from bench.booking.http import JSON, Http, request
from bench.booking.plan import CLIENTS, SPREAD, Workload
from bench.load import HOST
from bench.report import Run
from bench.stage import Servers, fetch, started, statements, still
from tests.database import execute

PRETIX = "pretix"
WANTED = ("pretix==2026.8.0", "waitress==3.*")
QUOTAS, SOLD_OUT = 50, 400
ORDERS = "/api/v1/organizers/bench/events/bench/orders/"
CLEAR = """
TRUNCATE pretixbase_order, pretixbase_logentry CASCADE;
UPDATE pretixbase_quota SET size = {size}, closed = false;
VACUUM ANALYZE pretixbase_order;
VACUUM ANALYZE pretixbase_orderposition;
CHECKPOINT;
"""
OVERSOLD = """
    SELECT count(*) FROM (
        SELECT q.id FROM pretixbase_quota q JOIN pretixbase_quota_items i ON i.quota_id = q.id
          JOIN pretixbase_orderposition p ON p.item_id = i.item_id AND NOT p.canceled
          JOIN pretixbase_order o ON o.id = p.order_id AND o.status IN ('n', 'p')
         GROUP BY q.id HAVING count(*) > q.size) AS over"""


@dataclass(frozen=True)
class Pretix:
    http: Http
    url: str
    servers: Servers
    authorization: str
    #: A product for each quota.
    items: list[int]

    def order(self, workload: Workload) -> Run:
        self.clear(full=workload.full)
        answers, cpu = self.http.send(self.servers, self.orders(workload), CLIENTS)
        ordered = sum(status == 201 for status, _, _ in answers.samples)
        refused = sum(status == SOLD_OUT for status, _, _ in answers.samples)
        wanted = SOLD_OUT if workload.full else 201
        good = [seconds for status, _, seconds in answers.samples if status == wanted]
        # Who waited 3 s for the lock of a quota hears that it is busy.
        dropped = answers.dropped + len(answers.samples) - ordered - refused
        void = self.violations(confirmed=ordered, unsure=dropped)
        if refused and not workload.full:
            void.append(f"{refused} refusals where there was room")
        return Run(len(good) / answers.seconds, good, cpu, refused=refused, dropped=dropped, void=void)

    def orders(self, workload: Workload) -> list[bytes]:
        """The quotas in turn."""
        made = []
        for number in range(self.http.size.requests):
            item = self.items[number % workload.slots]
            body = json.dumps({"locale": "en", "positions": [{"item": item, "variation": None}]}).encode()
            made.append(request("POST", ORDERS, self.authorization, JSON, body))
        return made

    def clear(self, *, full: bool) -> None:
        """A quota has room for all, or none."""
        asyncio.run(execute(self.url, *statements(CLEAR.format(size=0 if full else 10_000))))

    def violations(self, *, confirmed: int, unsure: int) -> list[str]:
        asyncio.run(still(self.url, f"datname = '{PRETIX}' AND pid <> pg_backend_pid()"))
        found = ["a quota is oversold"] if asyncio.run(fetch(self.url, OVERSOLD))[0][0] else []
        rows = asyncio.run(fetch(self.url, "SELECT count(*) FROM pretixbase_order"))[0][0]
        if not confirmed <= rows <= confirmed + unsure:
            found.append(f"{confirmed} heard 201, {rows} are ordered")
        return found


@contextmanager
def running(http: Http, console: Console) -> Iterator[Pretix | None]:
    """On a database beside ours."""
    with peer.environment(PRETIX, WANTED, console) as folder:
        if folder is None:
            yield None
            return
        url, place = peer.database(http.url, PRETIX)
        environment = {f"PRETIX_DATABASE_{key}": value for key, value in place.items()} | {
            "PRETIX_DATABASE_BACKEND": "postgresql", "PRETIX_PRETIX_DATADIR": str(folder / "data"),
            "PRETIX_PRETIX_URL": f"http://{HOST}",
        }  # fmt: skip
        command = [str(folder / "bin" / "python"), "-m", "bench.booking.pretix_shop"]
        opened = [*command, "open", str(QUOTAS)]
        told = json.loads(
            subprocess.check_output(opened, env=os.environ | environment, cwd=ROOT).splitlines()[-1]
        )
        with started([*command, "serve"], environment, http.size.servers) as servers:
            servers.wait()
            shop = Pretix(http, url, servers, f"Token {told['token']}", told["items"])
            shop.order(SPREAD)  # loads what it loads late
            yield shop
