"""Taking a follow-up on and saying what came of it."""

import uuid
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import Invalid, StaleVersion, WrongState
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus
from app.models.results import DiagnosticReport
from app.services import audit
from app.services.follow_ups.derivation import FollowUpRule, event_of, issued_on, move_outcome, rules_of
from app.services.follow_ups.outcomes import Outcome

LIVE = (FollowUpStatus.OPEN, FollowUpStatus.IN_PROGRESS)
#: Until the next attempt, where an amendment has moved the report to a day without a rule.
WITHOUT_RULE = timedelta(days=14)


class NotLive(WrongState):
    zh, en = "该随访已办结或已作废", "This follow-up is done or obsolete"


class AlreadyStarted(WrongState):
    zh, en = "该随访已开始", "This follow-up has already been started"


async def start(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    """Somebody takes it on; from now on only people decide about it."""
    row = await _hold(db, actor, follow_up_id, version)
    if row.status is not FollowUpStatus.OPEN:
        raise AlreadyStarted if row.status is FollowUpStatus.IN_PROGRESS else NotLive
    row.status = FollowUpStatus.IN_PROGRESS
    await _record(db, actor, row, "start")
    return row


async def complete(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, outcome: Outcome
) -> FollowUp:
    """The verdict of the worker who did it; it stands whatever the hospital sends later. What does not conclude
    the follow-up (nobody was reached, not pregnant yet) keeps it in progress, with a new due date."""
    row = await _hold(db, actor, follow_up_id, version)
    if row.status not in LIVE:
        raise NotLive
    if outcome.kind is not row.kind:
        raise Invalid.at("/outcome/kind", "与随访类型不符", f"this is a {row.kind} follow-up")
    _not_in_future(outcome)
    report = (await db.scalars(select(DiagnosticReport).where(DiagnosticReport.id == row.report_id))).one()
    in_force = await rules_of(db, report)
    row.outcome = outcome.model_dump(mode="json", exclude_none=True)
    again_on = None if outcome.concludes else _again_on(in_force.of(row.kind), issued_on(report))
    if again_on is None:
        row.status, row.completed_by, row.completed_at = FollowUpStatus.DONE, actor.account_id, clock.now()
    else:
        row.status, row.due_on = FollowUpStatus.IN_PROGRESS, max(row.due_on, again_on)
    await _record(db, actor, row, "complete" if again_on is None else "attempt")
    if row.kind is FollowUpKind.EARLY_PREGNANCY:
        await move_outcome(db, actor, row, in_force)
    return row


def _again_on(rule: FollowUpRule | None, issued: date) -> date | None:
    """None when it is not tried any more."""
    next_on = clock.today() + (timedelta(days=rule.retry_days) if rule else WITHOUT_RULE)
    if rule is None or rule.until_days is None:
        return next_on
    last_on = issued + timedelta(days=rule.until_days)
    return min(next_on, last_on) if clock.today() < last_on else None


async def _hold(db: AsyncSession, actor: Actor, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    row = await fetch(db, actor, FollowUp, follow_up_id, lock=True)
    if row.version != version:
        raise StaleVersion
    return row


def _not_in_future(outcome: Outcome) -> None:
    for name in ("held_on", "seen_on", "last_menstrual_period", "ended_on"):
        day = getattr(outcome, name, None)
        if day is not None and not date(2000, 1, 1) <= day <= clock.today():
            raise Invalid.at(f"/outcome/{name}", "日期应在 2000 年之后且不晚于今天", "between 2000 and today")


async def _record(db: AsyncSession, actor: Actor, row: FollowUp, action: str) -> None:
    await db.flush()  # raises the version that the answer shows
    db.add(event_of(actor, row))
    await audit.record(db, actor, action, "follow_up", row.id, people=[row.person_id])
