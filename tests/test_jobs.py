"""The worker does every job that anybody enqueues, and the page for operators says what happens when."""

import importlib
import json
import pkgutil
import re
import uuid
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pgqueuer import PgQueuer
from sqlalchemy.ext.asyncio import AsyncSession

from app import jobs, services
from tests.docs.tables import DOCS

OPERATING = (DOCS / "operating.md").read_text(encoding="utf-8")


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
        yield importlib.import_module(found.name)


def test_every_job_that_a_service_names_is_done_by_the_worker() -> None:
    named = {
        value
        for module in modules()
        for name, value in vars(module).items()
        if re.fullmatch(r"(\w+_)?JOB", name)
    }
    assert {"send_message", "work_on_import", "reconcile_bills"} <= named
    assert named <= jobs.JOBS.keys() | jobs.SCHEDULE.keys()
    assert jobs.LIMITED.keys() <= jobs.JOBS.keys() <= named


def registered() -> PgQueuer:
    queue = PgQueuer.in_memory()
    jobs.register(queue)
    return queue


def test_the_worker_takes_every_job_and_every_hour() -> None:
    queue = registered()
    limits = {name: one.parameters.concurrency_limit for name, one in queue.qm.entrypoint_registry.items()}
    assert limits == {name: jobs.LIMITED.get(name, 0) for name in jobs.JOBS}
    assert {at.entrypoint for at in queue.sm.registry} == set(jobs.SCHEDULE)


async def done(name: str, payload: dict[str, str] | None = None) -> None:
    job: Any = SimpleNamespace(payload=payload and json.dumps(payload).encode())
    executor: Any = registered().qm.entrypoint_registry[name]  # type: ignore[index]
    await executor.parameters.func(job)


async def test_a_job_is_given_what_it_was_enqueued_with(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    async def work(*about: Any) -> None:
        given.append(about)

    names = ("send_message", "find_duplicates", "reconcile_bills")
    monkeypatch.setattr(jobs, "JOBS", {name: (work, jobs.JOBS[name][1]) for name in names})
    id = uuid.uuid4()
    await done("send_message", {"message_id": str(id)})
    await done("find_duplicates", {"region_code": "640104000000"})
    await done("reconcile_bills", {})
    await done("reconcile_bills")
    assert given == [(id,), ("640104000000",), (), ()]


async def test_an_hour_s_work_is_given_a_transaction_if_it_takes_one(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []

    async def work(*about: Any) -> None:
        given.append(about)

    monkeypatch.setattr(
        jobs, "SCHEDULE", {"one": ("* * * * *", work, True), "own": ("* * * * *", work, False)}
    )
    for executor in registered().sm.registry.values():
        await executor.parameters.func(None)  # type: ignore[arg-type,call-arg]
    (db,), nothing = given
    assert (isinstance(db, AsyncSession), nothing) == (True, ())


def in_shanghai(cron: str) -> str:
    """As the page says it."""
    minute, hour, _, _, _, *second = cron.split()
    if second:
        return {"*/5": "every five seconds", "*/10": "every ten seconds"}[second[0]]
    if hour == "*":
        return {"*": "every minute", "*/10": "every ten minutes"}.get(minute, f":{minute:0>2} of every hour")
    return " to ".join(f"{(int(one) + 8) % 24:02}:{minute:0>2}" for one in hour.split("-"))


def test_the_page_for_operators_says_what_happens_when() -> None:
    rows = re.findall(r"^\| ([^|`]+) \| `([a-z_]+)` \| [^|]+ \|$", OPERATING, re.MULTILINE)
    assert {name: when for when, name in rows} == {
        name: in_shanghai(cron) for name, (cron, _, _) in jobs.SCHEDULE.items()
    }
