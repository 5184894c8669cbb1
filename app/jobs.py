"""The job worker and its schedule. Jobs are rows written in the transaction that wants them (services/queue)."""

import asyncio
import gc
import json
import logging
import uuid
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job, Schedule

from app.access import Actor
from app.db import begin
from app.services import files, imports, messages, partners, regions, rights, staff
from app.services.duplicates import finding, undoing
from app.services.households import family_types
from app.services.search import exports, statistics

log = logging.getLogger("nuanxin.jobs")
POLL = timedelta(seconds=5)
RECONNECT_SECONDS = 1


async def run(url: str, stop: asyncio.Event) -> None:
    """Work until told to stop. A lost database is waited for."""
    gc.freeze()  # what start-up made stays: the many rows of an import have it looked at again and again
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

    @queue.entrypoint(imports.JOB, concurrency_limit=2)  # each holds two of the pool's connections
    async def work_on_import(job: Job) -> None:
        await imports.work(uuid.UUID(json.loads(job.payload or b"{}")["batch_id"]))

    @queue.schedule("resume_imports", "* * * * *")
    async def resume_imports(_: Schedule) -> None:
        async with begin() as db:
            await imports.resume(db)

    @queue.entrypoint(exports.JOB, concurrency_limit=2)  # likewise
    async def export_registry(job: Job) -> None:
        await exports.make(uuid.UUID(json.loads(job.payload or b"{}")["export_id"]))

    @queue.schedule("resume_exports", "* * * * *")
    async def resume_exports(_: Schedule) -> None:
        async with begin() as db:
            await exports.resume(db)

    @queue.entrypoint(statistics.JOB)
    async def recompute_statistics(_: Job) -> None:
        async with begin() as db:
            await statistics.recompute(db)

    @queue.schedule("hourly_statistics", "17 * * * *")
    async def hourly_statistics(_: Schedule) -> None:
        async with begin() as db:
            await statistics.request(db)

    @queue.entrypoint(regions.JOB)
    async def apply_region_successions(_: Job) -> None:
        async with begin() as db:
            await regions.apply_due(db, Actor.system("regions"))

    @queue.schedule("hourly_region_successions", "11 * * * *")
    async def hourly_region_successions(_: Schedule) -> None:
        async with begin() as db:
            await regions.apply_due(db, Actor.system("regions"))

    @queue.schedule("queue_reminders", "* * * * * */10")
    async def queue_reminders(_: Schedule) -> None:
        async with begin() as db:
            await messages.queue_due(db)

    @queue.schedule("retention", "40 18 * * *")  # 02:40 in Shanghai
    async def retention(_: Schedule) -> None:
        await rights.purge()

    @queue.entrypoint(family_types.JOB)
    async def settle_family_types(_: Job) -> None:
        await family_types.settle_all()

    @queue.schedule("settle_family_types", "10 16 * * *")  # 00:10 in Shanghai: birthdays
    async def settle_after_birthdays(_: Schedule) -> None:
        await family_types.settle_all()

    @queue.entrypoint(finding.JOB)
    async def find_duplicates(job: Job) -> None:
        await finding.compare_region(json.loads(job.payload or b"{}")["region_code"])

    @queue.schedule("find_new_duplicates", "37 * * * *")
    async def find_new_duplicates(_: Schedule) -> None:
        await finding.compare_new()

    @queue.schedule("sweep_merges", "*/10 * * * *")
    async def sweep_merges(_: Schedule) -> None:
        await undoing.sweep()

    @queue.schedule("purge", "7 * * * *")
    async def purge(_: Schedule) -> None:
        async with begin() as db:
            await partners.purge_nonces(db)
            await staff.purge_throttle(db)
            await files.purge(db)
            await imports.purge(db)
        await asyncio.to_thread(files.purge_folders)
