"""The job worker and its schedule. Jobs are rows written in the transaction that wants them (services/queue)."""

import asyncio
import json
import logging
import uuid
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job, Schedule

from app.db import begin
from app.services import messages, partners, staff

log = logging.getLogger("nuanxin.jobs")
POLL = timedelta(seconds=5)
RECONNECT_SECONDS = 1


async def run(url: str, stop: asyncio.Event) -> None:
    """Work until told to stop. A lost database is waited for."""
    while not stop.is_set():
        try:
            await _work(url, stop)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("job worker lost the database", exc_info=error)
            await asyncio.sleep(RECONNECT_SECONDS)


async def _work(url: str, stop: asyncio.Event) -> None:
    connection = await asyncpg.connect(url, server_settings={"application_name": "nuanxin-worker"})
    queue = PgQueuer.from_asyncpg_connection(connection)
    register(queue)
    connection.add_termination_listener(lambda _: queue.shutdown.set())
    told = asyncio.create_task(stop.wait())
    told.add_done_callback(lambda _: queue.shutdown.set())
    try:
        await queue.run(dequeue_timeout=POLL, shutdown_on_listener_failure=True)
    finally:
        told.cancel()
        await connection.close(timeout=2)


def register(queue: PgQueuer) -> None:
    """Every job and every hour at which something happens."""

    @queue.entrypoint(messages.JOB)
    async def send_message(job: Job) -> None:
        await messages.send(uuid.UUID(json.loads(job.payload or b"{}")["message_id"]))

    @queue.schedule("queue_reminders", "* * * * * */10")
    async def queue_reminders(_: Schedule) -> None:
        async with begin() as db:
            await messages.queue_due(db)

    @queue.schedule("purge", "7 * * * *")
    async def purge(_: Schedule) -> None:
        async with begin() as db:
            await partners.purge_nonces(db)
            await staff.purge_throttle(db)
