"""Slots from a template: all of a year at once, the same however often it is published."""

import logging
import uuid
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin
from app.models.appointments import Clinic
from app.models.schedules import Schedule, ScheduleStatus
from app.services import audit, calendar
from app.services.schedules import statements
from app.services.schedules.templates import get, locked

log = logging.getLogger("nuanxin.schedules")
JOB = "extend_schedules"
FURTHEST = 365  # days from today
#: How long before its release a slot of a schedule without an end is shown.
SHOWN_BEFORE = 7
MOST_NAMED = 100
ONE_DAY = timedelta(days=1)


@dataclass
class Outcome:
    """What a publication made, changed and left. Of `kept` (booked, or changed by hand, and not as the template has
    it) and `conflicts` (a room or practitioner is taken, no slot was made) the first are named."""

    schedule: Schedule
    days: list[dict[str, Any]] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    changed: int = 0
    kept: list[dict[str, Any]] = field(default_factory=list)
    kept_number: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    conflict_number: int = 0
    not_announced: list[int] = field(default_factory=list)


async def preview(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Outcome:
    """What publishing now would do: it is done, and taken back."""
    row = await locked(db, actor, id, None)
    attempt = await db.begin_nested()
    outcome = await _settle(db, actor, row, last=_last(row))
    await attempt.rollback()
    outcome.schedule = await get(db, actor, id=id)
    return outcome


async def publish(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Outcome:
    """Makes what is missing up to a year ahead. Slots that the template no longer has are withdrawn; those booked, or
    changed by hand, stay and are named. Where a room or practitioner is taken, no slot is made, and that is told."""
    row = await locked(db, actor, id, version)
    outcome = await _settle(db, actor, row, last=_last(row))
    row.status, row.pending, row.published_through = ScheduleStatus.ACTIVE, False, _last(row)
    await audit.record(db, actor, "publish", "schedule", id)
    await db.flush()  # raises the version
    return outcome


async def end(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Outcome:
    """For good: slots to come are withdrawn, those booked stay, closed for others, and are named."""
    row = await locked(db, actor, id, version)
    outcome = await _settle(db, actor, row, last=clock.today() - ONE_DAY)
    row.status, row.pending = ScheduleStatus.ENDED, False
    await audit.record(db, actor, "end", "schedule", id)
    await db.flush()  # raises the version
    return outcome


def _last(row: Schedule) -> date:
    """The last day whose slots are made today."""
    if row.until_on is None:
        assert row.days_ahead is not None
        return clock.today() + timedelta(days=row.days_ahead + SHOWN_BEFORE)
    return min(row.until_on, clock.today() + timedelta(days=FURTHEST))


async def _settle(db: AsyncSession, actor: Actor, row: Schedule, *, last: date) -> Outcome:
    await _hold_clinic(db, row)
    await db.execute(statements.PREPARE)
    values = {"schedule": row.id, "first": clock.today(), "last": last, "now": clock.now()}
    outcome = Outcome(row)
    await db.execute(statements.LOCK, values)
    ending = {"ending": last < clock.today()}
    withdrawn = list(await db.scalars(statements.WITHDRAW, values | ending))
    # In a statement of its own, which sees what was booked and cancelled until the rows were ours.
    await db.execute(statements.FORGET, {"ids": withdrawn})
    await db.execute(statements.CLOSE, values | {"role": actor.role, "actor": actor.id})
    outcome.removed = len(withdrawn)
    outcome.changed = len(list(await db.scalars(statements.ALTER, values)))
    outcome.days = [dict(day) for day in (await db.execute(statements.ADD, values)).mappings()]
    outcome.added = sum(day["slots"] for day in outcome.days)
    named = values | {"most": MOST_NAMED}
    outcome.kept, outcome.kept_number = await _named(db, statements.KEPT, named)
    outcome.conflicts, outcome.conflict_number = await _named(db, statements.IN_THE_WAY, named)
    if row.follows_calendar:
        years = range(max(row.from_on, clock.today()).year, last.year + 1)
        outcome.not_announced = await calendar.not_announced(db, years)
    return outcome


async def _hold_clinic(db: AsyncSession, row: Schedule) -> None:
    """Nobody closes it meanwhile: a closure comes first and is seen, or cancels what is made here."""
    await db.execute(select(Clinic.id).where(Clinic.id == row.clinic_id).with_for_update(read=True))


async def _named(
    db: AsyncSession, statement: Any, values: dict[str, Any]
) -> tuple[list[dict[str, Any]], int]:
    rows = [dict(row) for row in (await db.execute(statement, values)).mappings()]
    return rows, rows[0]["number"] if rows else 0


async def extend_all() -> None:
    """Each night: the days that have come within reach of each active schedule. What was published before is not
    looked at again, so that whatever became of it since stays as it is."""
    async with begin() as db:
        await calendar.load(db)
    async with begin() as db:
        due = select(Schedule.id).where(Schedule.status == ScheduleStatus.ACTIVE, ~Schedule.pending)
        ids = list(await db.scalars(due.order_by(Schedule.id)))
    for id in ids:
        try:
            async with begin() as db:
                await _extend(db, Actor.system(JOB), id)
        except Exception:
            log.exception("schedule not extended", extra={"fields": {"schedule_id": str(id)}})


async def _extend(db: AsyncSession, actor: Actor, id: uuid.UUID) -> None:
    row = await locked(db, actor, id, None)
    last, published = _last(row), row.published_through
    if row.pending or published is None or published >= last:
        return
    values = {"schedule": id, "first": published + ONE_DAY, "last": last, "now": clock.now()}
    await _hold_clinic(db, row)
    await db.execute(statements.PREPARE)
    days = (await db.execute(statements.ADD, values)).mappings().all()
    blocked = (await db.execute(statements.IN_THE_WAY, values | {"most": 1})).mappings().first()
    row.published_through = last
    await audit.record(db, actor, "extend", "schedule", id)
    fields: dict[str, Any] = {"schedule_id": str(id), "slots": sum(day["slots"] for day in days)}
    fields["conflicts"] = blocked["number"] if blocked else 0
    log.info("schedule extended", extra={"fields": fields})
