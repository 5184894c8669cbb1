"""The job worker and its schedule. Jobs are rows written in the transaction that wants them (services/queue)."""

import asyncio
import gc
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.errors import FailingListenerError
from pgqueuer.models import Job, Schedule

from app.access import Actor
from app.db import AsyncSession, begin
from app.services import (
    disbursements,
    files,
    imports,
    messages,
    partners,
    regions,
    rights,
    rotations,
    schedules,
    staff,
    supplies,
)
from app.services.appointments import closures, offers, waitlist
from app.services.donations import thanks
from app.services.duplicates import finding, undoing
from app.services.follow_ups import assignment, escalation, first_contact, rechecks
from app.services.households import family_types
from app.services.payments import queries, sending
from app.services.proofs import sealing
from app.services.reconciliation import fetching, matching
from app.services.search import exports, statistics

log = logging.getLogger("nuanxin.jobs")
POLL = timedelta(seconds=5)
RECONNECT_SECONDS = 1


async def run(url: str, stop: asyncio.Event) -> None:
    """Work until told to stop. A lost database is waited for."""
    gc.freeze()  # what start-up made stays: the many rows of an import have it looked at again and again
    imports.prepare()
    messages.prepare()
    while not stop.is_set():
        try:
            await _work(url, stop)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, FailingListenerError) as error:
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


#: A job works on one row, whose id it is given under this name, or on none.
JOBS: dict[str, tuple[Callable[..., Awaitable[Any]], str | None]] = {
    messages.JOB: (messages.send, "message_id"),
    imports.JOB: (imports.work, "batch_id"),
    exports.JOB: (exports.make, "export_id"),
    closures.JOB: (closures.work, "closure_id"),
    rotations.JOB: (rotations.work, "rotation_id"),
    rotations.INVITE_JOB: (rotations.send, "rotation_id"),
    finding.JOB: (finding.compare_region, "region_code"),
    family_types.JOB: (family_types.settle_all, None),
    statistics.JOB: (lambda: _in_one(statistics.recompute), None),
    regions.JOB: (lambda: _in_one(_apply_successions), None),
    fetching.JOB: (matching.match_due, None),
}
# Each holds two of the pool's connections.
LIMITED = {imports.JOB: 2, exports.JOB: 2}


async def _in_one(work: Callable[[AsyncSession], Awaitable[Any]]) -> None:
    async with begin() as db:
        await work(db)


async def _apply_successions(db: AsyncSession) -> None:
    await regions.apply_due(db, Actor.system("regions"))


async def _hand_on_offers() -> None:
    await offers.expire_due()
    await offers.offer_left()


async def _look_after_follow_ups() -> None:
    await rechecks.sweep()
    await escalation.escalate_all()
    await supplies.remind_all()


async def _purge() -> None:
    async with begin() as db:
        await partners.purge_nonces(db)
        await staff.purge_throttle(db)
        await files.purge(db)
        await imports.purge(db)
    await asyncio.to_thread(files.purge_folders)


#: When (in UTC; Shanghai is eight hours ahead), what, and whether within one transaction.
SCHEDULE: dict[str, tuple[str, Callable[..., Awaitable[Any]], bool]] = {
    "queue_reminders": ("* * * * * */10", messages.queue_due, True),
    "seal": ("* * * * * */5", sealing.seal_all, False),
    "resume_imports": ("* * * * *", imports.resume, True),
    "resume_exports": ("* * * * *", exports.resume, True),
    "resume_closures": ("* * * * *", closures.resume, True),
    "resume_rotations": ("* * * * *", rotations.resume, True),
    "offers": ("* * * * *", _hand_on_offers, False),
    "query_payments": ("* * * * *", queries.sweep, False),
    "send_refunds": ("* * * * *", sending.sweep, False),
    "thank_donors": ("* * * * *", thanks.thank_all, False),
    "sweep_merges": ("*/10 * * * *", undoing.sweep, False),
    "purge": ("7 * * * *", _purge, False),
    "hourly_region_successions": ("11 * * * *", _apply_successions, True),
    "hourly_statistics": ("17 * * * *", statistics.request, True),
    "assign_follow_ups": ("23 * * * *", assignment.renew_all, False),
    "past_waiting": ("25 * * * *", waitlist.end_past, True),
    "measure_first_contact": ("27 * * * *", first_contact.recompute, True),
    "expire_disbursements": ("33 * * * *", disbursements.expire_due, False),
    "find_new_duplicates": ("37 * * * *", finding.compare_new, False),
    "link_rotations": ("43 * * * *", rotations.follow_all, False),
    "follow_ups": ("50 0 * * *", _look_after_follow_ups, False),  # 08:50 in Shanghai
    "remind_rotations": ("20 1 * * *", rotations.remind_all, False),  # 09:20
    "reconcile": ("20 2-14 * * *", matching.sweep, False),  # from 10:20, until the bills are there
    "settle_family_types": ("10 16 * * *", family_types.settle_all, False),  # 00:10: birthdays
    schedules.JOB: ("20 17 * * *", schedules.extend_all, False),  # 01:20
    "retention": ("40 18 * * *", rights.purge, False),  # 02:40
    "forget_abandoned_gifts": ("50 18 * * *", thanks.forget_abandoned, False),  # 02:50
    "renew_rotations": ("30 19 * * *", rotations.renew, True),  # 03:30
}


def register(queue: PgQueuer) -> None:
    """Every job and every hour at which something happens."""
    for name, (work, given) in JOBS.items():
        queue.entrypoint(name, concurrency_limit=LIMITED.get(name, 0))(_job(work, given))
    for name, (cron, work, in_one) in SCHEDULE.items():
        queue.schedule(name, cron)(_scheduled(work, in_one=in_one))


def _job(work: Callable[..., Awaitable[Any]], given: str | None) -> Callable[[Job], Awaitable[None]]:
    async def run(job: Job) -> None:
        if given is None:
            await work()
            return
        value = json.loads(job.payload or b"{}")[given]
        await work(uuid.UUID(value) if given.endswith("_id") else value)

    return run


def _scheduled(work: Callable[..., Awaitable[Any]], *, in_one: bool) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_: Schedule) -> None:
        await (_in_one(work) if in_one else work())

    return run
