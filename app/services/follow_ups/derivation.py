"""Which follow-ups a result calls for, kept in line with the current version of the report."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.catalogue import AppliesTo
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpKind, FollowUpStatus, ReferralStep
from app.models.households import Person
from app.models.results import DiagnosticReport
from app.services import audit
from app.services.follow_ups import assignment, rechecks
from app.services.follow_ups.events import event_of
from app.services.follow_ups.rules import (
    FollowUpRule,
    FollowUpRules,
    abnormal,
    after,
    called_for,
    issued_on,
    rules_of,
)
from app.services.results.risk import Assessed

Key = tuple[uuid.UUID, FollowUpKind, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    due_on: date
    rule: FollowUpRule


async def derive(
    db: AsyncSession,
    actor: Actor,
    *,
    report: DiagnosticReport,
    people: Mapping[AppliesTo, uuid.UUID],
    assessed: Assessed | None,
) -> None:
    """Bring the follow-ups of a report in line with its current version; `assessed` is None when that is not
    released and calls for nothing. Only untouched ones are opened, moved or made obsolete; what somebody has begun
    and the result no longer calls for is marked, for people to decide. Rechecks that this report is end."""
    rows = await _lock(db, report, people.values())
    known = {(row.person_id, row.kind, row.topic): row for row in rows if row.report_id == report.id}
    in_force = await rules_of(db, report)
    wanted = await _wanted(db, report, people, assessed, known, in_force)
    changed = [(row, action) for key, row in known.items() if (action := _align(row, wanted.get(key)))]
    assignee = await assignment.only_worker(db, report.region_code) if wanted.keys() - known.keys() else None
    opened = [_open(report, key, wanted[key], assignee) for key in wanted if key not in known]
    db.add_all(opened)
    _flag([*known.values(), *opened], report, {people[role] for role in abnormal(people, assessed)}, in_force)
    await db.flush()  # the events refer to them
    changed += [(row, FollowUpAction.OPENED) for row in opened]
    changed += await rechecks.settle(
        db, [row for row in [*rows, *opened] if row.kind is FollowUpKind.RECHECK]
    )
    if not changed:
        return
    await db.flush()
    db.add_all(event_of(actor, row, action) for row, action in changed)
    concerned = [row.person_id for row, _ in changed]
    await audit.record(db, actor, "derive_follow_ups", "diagnostic_report", report.id, people=concerned)


async def _lock(db: AsyncSession, report: DiagnosticReport, people: Collection[uuid.UUID]) -> list[FollowUp]:
    """Those of the report, and the rechecks of these people that it may end, all in one order."""
    rechecks_of_theirs = and_(FollowUp.person_id.in_(people), FollowUp.kind == FollowUpKind.RECHECK)
    # In the order in which `move_outcome` locks: the early visit before the outcome.
    query = select(FollowUp).where(or_(FollowUp.report_id == report.id, rechecks_of_theirs))
    query = query.order_by(FollowUp.kind, FollowUp.id).with_for_update()
    return list(await db.scalars(query.execution_options(populate_existing=True)))


async def _wanted(
    db: AsyncSession, report: DiagnosticReport, people: Mapping[AppliesTo, uuid.UUID], assessed: Assessed | None,
    known: Mapping[Key, FollowUp], in_force: FollowUpRules,
) -> dict[Key, Wanted]:  # fmt: skip
    if assessed is None:
        return {}
    died = select(Person.id).where(Person.id.in_(people.values()), Person.died_on.is_not(None))
    dead, issued, wanted = set(await db.scalars(died)), issued_on(report), {}
    for rule in in_force.follow_ups:
        for role in called_for(rule, people, assessed):
            if people[role] not in dead:
                due_on = await after(db, issued, rule.days, workdays=rule.workdays)
                wanted[people[role], rule.kind, rule.topic] = Wanted(due_on, rule)
    for key in [key for key in wanted if key[1] is FollowUpKind.OUTCOME]:
        early, row = known.get((key[0], FollowUpKind.EARLY_PREGNANCY, "")), known.get(key)
        if (early and early.outcome) or (row and row.born_on):
            rule, last = wanted.pop(key).rule, outcome_due_on(in_force, early, row)
            wanted |= {key: Wanted(last, rule)} if last else {}
    return wanted


def outcome_due_on(in_force: FollowUpRules, early: FollowUp | None, row: FollowUp | None) -> date | None:
    """When the outcome is due: counted from a birth that the registry knows; else, as the early visit says, from the
    last menstrual period or the day on which the pregnancy ended early; where there is no pregnancy yet, from the
    earliest that the next visit may still find. None where there was none to the end."""
    outcome, visit = in_force.of(FollowUpKind.OUTCOME), in_force.of(FollowUpKind.EARLY_PREGNANCY)
    if outcome and outcome.after_birth_days and row and row.born_on:
        return row.born_on + timedelta(days=outcome.after_birth_days)
    if outcome is None or visit is None or early is None:
        return None
    found: dict[str, Any] = early.outcome or {}
    if found.get("result") == "pregnant":
        return date.fromisoformat(found["last_menstrual_period"]) + timedelta(days=outcome.days)
    if found.get("result") == "ended":
        after_end = timedelta(days=outcome.after_other_days or outcome.retry_days)
        return date.fromisoformat(found["ended_on"]) + after_end
    if found.get("result") == "not_pregnant" and early.status is FollowUpStatus.DONE:
        return None
    return early.due_on + timedelta(days=outcome.days - visit.days)


async def move_outcome(db: AsyncSession, actor: Actor, early: FollowUp, in_force: FollowUpRules) -> None:
    """After an early visit, while nobody has taken on the follow-up of the outcome."""
    query = select(FollowUp).where(
        FollowUp.report_id == early.report_id,
        FollowUp.person_id == early.person_id,
        FollowUp.kind == FollowUpKind.OUTCOME,
        FollowUp.status == FollowUpStatus.OPEN,
    )
    row = await db.scalar(query.with_for_update().execution_options(populate_existing=True))
    rule, due_on = in_force.of(FollowUpKind.OUTCOME), outcome_due_on(in_force, early, row)
    if row is None or not (action := _align(row, Wanted(due_on, rule) if due_on and rule else None)):
        return
    db.add(event_of(actor, row, action))
    await audit.record(db, actor, "move", "follow_up", row.id, people=[row.person_id])


def _align(row: FollowUp, wanted: Wanted | None) -> FollowUpAction | None:
    """What became of it. A person's verdict stands, and so does what a person has begun: that is only marked."""
    match row.status:
        case FollowUpStatus.OPEN if wanted is None:
            row.status = FollowUpStatus.OBSOLETE
            return FollowUpAction.TAKEN_BACK
        case FollowUpStatus.OPEN if wanted and row.due_on != wanted.due_on:
            _set(row, wanted)
            return FollowUpAction.MOVED
        case FollowUpStatus.OBSOLETE if wanted:
            _set(row, wanted)
            row.status, row.doubted_at = FollowUpStatus.OPEN, None
            return FollowUpAction.REOPENED
        case FollowUpStatus.IN_PROGRESS if (wanted is None) != (row.doubted_at is not None):
            row.doubted_at = clock.now() if wanted is None else None
            return FollowUpAction.DOUBTED if wanted is None else FollowUpAction.KEPT
    return None


def _set(row: FollowUp, wanted: Wanted) -> None:
    row.due_on, row.escalate_days = wanted.due_on, wanted.rule.escalate_days


def _open(report: DiagnosticReport, key: Key, wanted: Wanted, assignee: uuid.UUID | None) -> FollowUp:
    person_id, kind, topic = key
    row = FollowUp(
        id=new_id(), report_id=report.id, person_id=person_id, region_code=report.region_code, kind=kind, topic=topic,
        status=FollowUpStatus.OPEN, assignee_id=assignee, recheck_items=list(wanted.rule.items),
        step=ReferralStep.FLAGGED if kind is FollowUpKind.REFERRAL else None, created_at=clock.now(),
    )  # fmt: skip
    _set(row, wanted)
    return row


def _flag(
    rows: Collection[FollowUp],
    report: DiagnosticReport,
    concerned: Collection[uuid.UUID],
    in_force: FollowUpRules,
) -> None:
    """Of whom the result is abnormal: the days until the first contact count from its issue."""
    issued = issued_on(report)
    by = issued + timedelta(days=in_force.contact_days)
    for row in rows:
        flagged = row.person_id in concerned and row.status is not FollowUpStatus.OBSOLETE
        row.flagged_on, row.contact_by = (issued, by) if flagged else (None, None)
