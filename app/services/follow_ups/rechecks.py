"""Rechecks (复查): a later examination ends them, whichever report comes first."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Select, and_, case, func, or_, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor
from app.db import begin
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpEvent, FollowUpKind, FollowUpStatus
from app.models.results import DiagnosticReport, Observation
from app.services import audit
from app.services.follow_ups.events import event_of, live
from app.services.results.versions import RELEASED

BATCH = 500
Changed = list[tuple[FollowUp, FollowUpAction]]


async def settle(db: AsyncSession, rows: Sequence[FollowUp]) -> Changed:
    """Locked rechecks, each with what has come: ended by the earliest later report, begun anew where that was
    withdrawn. What a person has concluded stands."""
    open_ones = [
        row for row in rows if row.status is not FollowUpStatus.OBSOLETE and row.completed_by is None
    ]
    if not open_ones:
        return []
    query = later_reports().where(FollowUp.id.in_([row.id for row in open_ones]))
    came = {row[0]: row[1] for row in await db.execute(query)}
    changed: Changed = []
    for row in open_ones:
        report = came.get(row.id)
        if row.closed_by_id == report:
            continue
        closed_before, row.closed_by_id = row.closed_by_id is not None, report
        if report is None:
            row.status = await _status_before(db, row.id)
            row.outcome = row.completed_at = None
            changed.append((row, FollowUpAction.REOPENED))
        else:
            row.status, row.completed_at = FollowUpStatus.DONE, clock.now()
            row.outcome = {"kind": "recheck", "result": "reported"}
            if not closed_before:
                changed.append((row, FollowUpAction.CLOSED_BY_REPORT))
    return changed


def later_reports() -> Select[uuid.UUID, uuid.UUID]:
    """The earliest later released report that each recheck waits for: of its items, else of the same service."""
    first, later = aliased(DiagnosticReport), aliased(DiagnosticReport)
    measured = select(Observation.id).where(
        Observation.report_id == later.id, Observation.version == later.current_version,
        Observation.person_id == FollowUp.person_id,
        FollowUp.recheck_items.has_key(Observation.code),
    )  # fmt: skip
    none = func.jsonb_array_length(FollowUp.recheck_items) == 0
    suits = case((none, later.service_id == first.service_id), else_=measured.exists())
    theirs = or_(later.person_id == FollowUp.person_id, later.spouse_id == FollowUp.person_id)
    return (
        select(FollowUp.id, later.id)
        .ext(distinct_on(FollowUp.id))
        .join(first, first.id == FollowUp.report_id)
        .join(later, and_(theirs, later.id != first.id, later.issued_at > first.issued_at))
        .where(FollowUp.kind == FollowUpKind.RECHECK, later.status.in_(RELEASED), suits)
        .order_by(FollowUp.id, later.issued_at, later.id)
    )


async def _status_before(db: AsyncSession, follow_up_id: uuid.UUID) -> FollowUpStatus:
    begun = select(FollowUpEvent.id).where(
        FollowUpEvent.follow_up_id == follow_up_id, FollowUpEvent.status == FollowUpStatus.IN_PROGRESS
    )
    return FollowUpStatus.IN_PROGRESS if await db.scalar(begun.limit(1)) else FollowUpStatus.OPEN


async def sweep() -> int:
    """Two reports that arrived at the same moment do not see each other: the night ends what they left open."""
    async with begin() as db:
        await db.execute(text("SET LOCAL statement_timeout = '10min'"))
        due = later_reports().where(live()).subquery()
        ids = list(await db.scalars(select(due.c[0])))
    for start in range(0, len(ids), BATCH):
        async with begin() as db:
            await _settle(db, Actor.system("rechecks"), ids[start : start + BATCH])
    return len(ids)


async def _settle(db: AsyncSession, actor: Actor, ids: Sequence[uuid.UUID]) -> None:
    query = select(FollowUp).where(FollowUp.id.in_(ids)).order_by(FollowUp.kind, FollowUp.id)
    changed = await settle(db, list(await db.scalars(query.with_for_update())))
    await db.flush()  # the events refer to what became of them
    db.add_all(event_of(actor, row, action) for row, action in changed)
    if changed:
        await audit.record(db, actor, "close", "follow_up", people=[row.person_id for row, _ in changed])
