"""Enqueueing a job on the caller's own transaction: rolled back with it, committed with it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.ports.driver import Driver
from sqlalchemy.ext.asyncio import AsyncSession


class SessionDriver:
    """PgQueuer speaking through the request's session, so that the job is part of its transaction."""

    def __init__(self, db: AsyncSession) -> None:
        self.db = db

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        connection = await self.db.connection()
        result = await connection.exec_driver_sql(query, args)
        return [dict(row) for row in result.mappings()]


async def enqueue(db: AsyncSession, job: str, payload: Mapping[str, Any], *, once: str | None = None) -> None:
    """Queue a job of app/jobs.py. `once`: while a job of this key waits or runs, a second is not added."""
    # Of the driver, enqueueing uses only `fetch`.
    queries = Queries(cast(Driver, SessionDriver(db)))
    await queries.enqueue(job, json.dumps(payload).encode(), dedupe_key=once, on_conflict="skip")


async def enqueue_all(db: AsyncSession, job: str, payloads: Mapping[str, Mapping[str, Any]]) -> None:
    """Many jobs of a kind in one statement, each under its key `once`."""
    if payloads:
        queries = Queries(cast(Driver, SessionDriver(db)))
        bodies: list[bytes | None] = [json.dumps(payload).encode() for payload in payloads.values()]
        priorities = [0] * len(bodies)
        await queries.enqueue(
            [job] * len(bodies), bodies, priorities, dedupe_key=list(payloads), on_conflict="skip"
        )
