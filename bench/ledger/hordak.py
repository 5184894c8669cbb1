"""django-hordak 2.0.0 in an environment and a database of its own, made for the benchmark and gone with it."""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console

from app.settings import ROOT
from bench import peer
from bench.ledger.plan import Posted, Workload
from bench.stage import fetch
from tests.database import execute

HORDAK = "django-hordak"
WANTED = ("django-hordak==2.0.0", "psycopg[binary]==3.3.*", "Django==5.2.*")
CLEAR = (
    "TRUNCATE hordak_leg, hordak_transaction, hordak_statementline CASCADE",
    "VACUUM ANALYZE hordak_leg",
    "VACUUM ANALYZE hordak_transaction",
    "CHECKPOINT",
)
JUDGE = {
    "a transaction is not two legs of one amount": """
        SELECT count(*) FROM (SELECT 1 FROM hordak_leg GROUP BY transaction_id
         HAVING count(debit) <> 1 OR count(credit) <> 1 OR sum(debit) <> sum(credit)) AS wrong""",
    "a fund is overdrawn": """
        SELECT count(*) FROM (SELECT split_part(a.name, ' ', 2) FROM hordak_leg JOIN hordak_account a
            ON a.id = account_id WHERE a.type IN ('IN', 'EX') GROUP BY 1
         HAVING sum(coalesce(credit, 0) - coalesce(debit, 0)) < 0) AS overdrawn""",
}


class Hordak:
    """So many processes that post."""

    def __init__(self, url: str, posters: Sequence["subprocess.Popen[str]"]) -> None:
        self.url, self.posters = url, posters

    def prepare(self, many: int) -> None:
        self._tell(0, {"prepare": many})
        self._hear(0)

    def post(self, workload: Workload, seconds: float, seeds: Sequence[range]) -> list[Posted]:
        asyncio.run(execute(self.url, *CLEAR))
        for number, own in enumerate(seeds):
            job = {"workload": asdict(workload), "seconds": seconds, "seeds": [own.start, own.stop]}
            self._tell(number, job)
        for number in range(len(seeds)):
            self._hear(number)
        for number in range(len(seeds)):
            self._tell(number, "go")
        return [Posted(**self._hear(number)) for number in range(len(seeds))]

    def violations(self, done: int) -> list[str]:
        found = [rule for rule, query in JUDGE.items() if asyncio.run(fetch(self.url, query))[0][0]]
        rows = asyncio.run(fetch(self.url, "SELECT count(*) FROM hordak_transaction"))[0][0]
        return found if rows == done else [*found, f"{done} were posted, {rows} are"]

    def _tell(self, number: int, job: object) -> None:
        into = self.posters[number].stdin
        assert into is not None
        into.write(json.dumps(job) + "\n")
        into.flush()

    def _hear(self, number: int) -> dict[str, Any]:
        out = self.posters[number].stdout
        assert out is not None
        said: dict[str, Any] = json.loads(out.readline())
        return said


@contextmanager
def running(url: str, processes: int, many: int, console: Console) -> Iterator[Hordak | None]:
    """On a database beside ours, with so many funds and channels."""
    with peer.environment(HORDAK, WANTED, console) as folder:
        if folder is None:
            yield None
            return
        own, place = peer.database(url, "hordak")
        command = [str(folder / "bin" / "python"), "-m", "bench.ledger.hordak_poster"]
        posters = [
            subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(processes)
        ]
        try:
            hordak = Hordak(own, posters)
            for number in range(processes):
                hordak._tell(number, place)
            hordak.prepare(many)
            yield hordak
        finally:
            for poster in posters:
                poster.communicate(timeout=30)
