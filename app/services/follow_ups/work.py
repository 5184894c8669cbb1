"""Taking a follow-up on and saying what came of it."""

import uuid
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch_version
from app.errors import Invalid, WrongState
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpKind, FollowUpStatus
from app.models.results import DiagnosticReport
from app.services.follow_ups.derivation import move_outcome
from app.services.follow_ups.events import LIVE, NotLive, record
from app.services.follow_ups.outcomes import EarlyPregnancy, Outcome, PregnancyOutcome
from app.services.follow_ups.rules import FollowUpRule, FollowUpRules, issued_on, rules_of

#: Until the next attempt, where an amendment has moved the report to a day without a rule.
WITHOUT_RULE = timedelta(days=14)


class AlreadyStarted(WrongState):
    zh, en = "该随访已开始", "This follow-up has already been started"


class NotDoubted(WrongState):
    zh, en = "报告仍要求此项随访", "The report still calls for this follow-up"
    do_zh, do_en = (
        "只有报告更正后不再需要的随访才能作废",
        "Only what an amended report no longer calls for can be dropped",
    )


async def start(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    """Somebody takes it on; from now on only people decide about it. What nobody did is from now on theirs."""
    row = await fetch_version(db, actor, FollowUp, follow_up_id, version)
    if row.status is not FollowUpStatus.OPEN:
        raise AlreadyStarted if row.status is FollowUpStatus.IN_PROGRESS else NotLive
    row.status, row.assignee_id = FollowUpStatus.IN_PROGRESS, row.assignee_id or actor.account_id
    await record(db, actor, row, FollowUpAction.STARTED, "start")
    return row


async def complete(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, outcome: Outcome
) -> FollowUp:
    """The verdict of the worker who did it; it stands whatever the hospital sends later. What does not conclude
    the follow-up (nobody was reached, not pregnant yet) keeps it in progress, with a new due date. A referral goes
    on in steps."""
    row = await fetch_version(db, actor, FollowUp, follow_up_id, version)
    if row.status not in LIVE:
        raise NotLive
    if outcome.kind is not row.kind:
        raise Invalid.at("/outcome/kind", "与随访类型不符", f"this is a {row.kind} follow-up")
    _not_in_future(outcome)
    report = await report_of(db, row)
    in_force = await rules_of(db, report)
    row.outcome = outcome.model_dump(mode="json", exclude_none=True)
    again_on = None if outcome.concludes else _again_on(in_force, row, outcome, issued_on(report))
    done = again_on is None
    if again_on is None:
        row.status, row.completed_by, row.completed_at = FollowUpStatus.DONE, actor.account_id, clock.now()
    else:
        row.status, row.due_on = FollowUpStatus.IN_PROGRESS, max(row.due_on, again_on)
    reached = (outcome.happened_on or clock.today()) if outcome.reached else None
    action, verb = (FollowUpAction.COMPLETED, "complete") if done else (FollowUpAction.ATTEMPTED, "attempt")
    await record(db, actor, row, action, verb, happened_on=outcome.happened_on, contacted_on=reached)
    if row.kind is FollowUpKind.EARLY_PREGNANCY:
        await move_outcome(db, actor, row, in_force)
    return row


async def decide_doubt(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, keep: bool
) -> FollowUp:
    """What somebody has begun and an amended report no longer calls for: a person says whether it goes on."""
    row = await fetch_version(db, actor, FollowUp, follow_up_id, version)
    if row.status is not FollowUpStatus.IN_PROGRESS or row.doubted_at is None:
        raise NotDoubted
    row.doubted_at = None
    if not keep:
        row.status = FollowUpStatus.OBSOLETE
    action = FollowUpAction.KEPT if keep else FollowUpAction.DROPPED
    await record(db, actor, row, action, "keep" if keep else "drop")
    return row


async def report_of(db: AsyncSession, row: FollowUp) -> DiagnosticReport:
    return (await db.scalars(select(DiagnosticReport).where(DiagnosticReport.id == row.report_id))).one()


def _again_on(in_force: FollowUpRules, row: FollowUp, outcome: Outcome, issued: date) -> date | None:
    """None when it is not tried any more."""
    rule = in_force.of(row.kind, row.topic)
    if isinstance(outcome, PregnancyOutcome) and outcome.expected_on and rule and rule.after_birth_days:
        return outcome.expected_on + timedelta(days=rule.after_birth_days)
    next_on = clock.today() + (timedelta(days=rule.retry_days) if rule else WITHOUT_RULE)
    last_on = _last_on(rule, issued)
    if last_on is None:
        return next_on
    return min(next_on, last_on) if clock.today() < last_on else None


def _last_on(rule: FollowUpRule | None, issued: date) -> date | None:
    return issued + timedelta(days=rule.until_days) if rule and rule.until_days else None


def _not_in_future(outcome: Outcome) -> None:
    for name in type(outcome).model_fields:
        day = getattr(outcome, name)
        if not isinstance(day, date):
            continue
        ahead = timedelta(days=300) if name in PregnancyOutcome.AHEAD else timedelta()
        if not date(2000, 1, 1) <= day <= clock.today() + ahead:
            raise Invalid.at(f"/outcome/{name}", "日期应在 2000 年之后且不晚于今天", "between 2000 and today")
    if not isinstance(outcome, EarlyPregnancy):
        return
    if outcome.ends_before_it_began:
        raise Invalid.at("/outcome/ended_on", "早于末次月经日期", "before the last menstrual period")
    if not outcome.is_possible(outcome.visited_on or clock.today()):
        raise Invalid.at(
            "/outcome/last_menstrual_period", "应在随访日之前 43 周内；补录请填随访日期",
            "within 43 weeks before the visit; of an earlier visit, state its day",
        )  # fmt: skip
