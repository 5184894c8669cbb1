"""Which follow-ups a result calls for, by rules that are data."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.appointments import AppliesTo, HealthcareService
from app.models.follow_ups import FollowUp, FollowUpEvent, FollowUpKind, FollowUpStatus
from app.models.households import Person
from app.models.results import DiagnosticReport, RiskClass
from app.models.rules import RuleKind
from app.services import audit, rules
from app.services.plain import Body, Line
from app.services.results.risk import Assessed

Days = Annotated[int, Field(ge=1, le=1000)]


class FollowUpRule(Body):
    """`days` from the issue of the report, or from the last menstrual period once that is known. What did not come
    about is tried again after `retry_days`, and no more when `until_days` after the issue are over.
    `with_findings`: those with a finding of a class in `when`; everybody examined where there is none, as
    when only the hospital states the class."""

    kind: FollowUpKind
    days: Days
    retry_days: Days
    until_days: Days | None = None
    when: frozenset[RiskClass]
    who: Literal["wife", "husband", "both", "with_findings"]
    source: Line


class FollowUpRules(Body):
    follow_ups: tuple[FollowUpRule, ...] = ()

    def of(self, kind: FollowUpKind) -> FollowUpRule | None:
        return next((rule for rule in self.follow_ups if rule.kind is kind), None)


def issued_on(report: DiagnosticReport) -> date:
    return report.issued_at.astimezone(clock.SHANGHAI).date()


async def rules_of(db: AsyncSession, report: DiagnosticReport) -> FollowUpRules:
    """Those in force on the day of issue."""
    code = await db.scalar(select(HealthcareService.code).where(HealthcareService.id == report.service_id))
    row = await rules.in_force(db, kind=RuleKind.FOLLOW_UP, code=code or "", on=issued_on(report))
    return FollowUpRules.model_validate(row.body if row else {})


async def derive(
    db: AsyncSession,
    actor: Actor,
    *,
    report: DiagnosticReport,
    people: Mapping[AppliesTo, uuid.UUID],
    assessed: Assessed | None,
) -> None:
    """Bring the follow-ups of a report in line with its current version; `assessed` is None when that is not
    released and calls for nothing. Only untouched ones are opened, moved or made obsolete."""
    # In the order in which `move_outcome` locks: the early visit before the outcome.
    query = select(FollowUp).where(FollowUp.report_id == report.id).order_by(FollowUp.kind, FollowUp.id)
    rows = await db.scalars(query.with_for_update().execution_options(populate_existing=True))
    known = {(row.person_id, row.kind): row for row in rows}
    wanted = await _wanted(db, report, people, assessed, known)
    changed = [
        _align(row, wanted.get(key)) for key, row in known.items() if _differs(row, wanted.get(key))
    ] + [_open(report, *key, due_on) for key, due_on in wanted.items() if key not in known]
    if not changed:
        return
    db.add_all(changed)
    await db.flush()  # the events refer to them
    db.add_all(event_of(actor, row) for row in changed)
    await audit.record(
        db,
        actor,
        "derive_follow_ups",
        "diagnostic_report",
        report.id,
        people=[row.person_id for row in changed],
    )


Key = tuple[uuid.UUID, FollowUpKind]


async def _wanted(
    db: AsyncSession,
    report: DiagnosticReport,
    people: Mapping[AppliesTo, uuid.UUID],
    assessed: Assessed | None,
    known: Mapping[Key, FollowUp],
) -> dict[Key, date]:
    if assessed is None:
        return {}
    in_force = await rules_of(db, report)
    dead = set(
        await db.scalars(select(Person.id).where(Person.id.in_(people.values()), Person.died_on.is_not(None)))
    )
    wanted = {
        (people[role], rule.kind): issued_on(report) + timedelta(days=rule.days)
        for rule in in_force.follow_ups
        if (assessed.risk_class or RiskClass.GENERAL) in rule.when
        for role in called_for(rule, people, assessed)
        if people[role] not in dead
    }
    visits = [row for row in known.values() if row.kind is FollowUpKind.EARLY_PREGNANCY and row.outcome]
    for early in visits:
        key = early.person_id, FollowUpKind.OUTCOME
        if wanted.pop(key, None) and (due_on := outcome_due_on(in_force, early)):
            wanted[key] = due_on
    return wanted


def outcome_due_on(in_force: FollowUpRules, early: FollowUp) -> date | None:
    """What the early visit says about the outcome: counted from the last menstrual period; where there is no
    pregnancy yet, from the earliest that the next visit may still find. None where there was none to the end."""
    outcome, visit = in_force.of(FollowUpKind.OUTCOME), in_force.of(FollowUpKind.EARLY_PREGNANCY)
    found = early.outcome or {}
    if outcome is None or visit is None:
        return None
    if found.get("result") == "pregnant":
        return date.fromisoformat(found["last_menstrual_period"]) + timedelta(days=outcome.days)
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
    if row is None or not _differs(row, due_on := outcome_due_on(in_force, early)):
        return
    _align(row, due_on)
    db.add(event_of(actor, row))
    await audit.record(db, actor, "move", "follow_up", row.id, people=[row.person_id])


def called_for(rule: FollowUpRule, people: Iterable[AppliesTo], assessed: Assessed) -> set[AppliesTo]:
    examined = set(people)
    if rule.who in ("wife", "husband"):
        return examined & {AppliesTo(rule.who)}
    if rule.who == "with_findings":
        return {finding.role for finding in assessed.findings if finding.risk_class in rule.when} or examined
    return examined


def _differs(row: FollowUp, due_on: date | None) -> bool:
    if row.status is FollowUpStatus.OPEN:
        return row.due_on != due_on
    return row.status is FollowUpStatus.OBSOLETE and due_on is not None


def _align(row: FollowUp, due_on: date | None) -> FollowUp:
    row.status = FollowUpStatus.OBSOLETE if due_on is None else FollowUpStatus.OPEN
    row.due_on = due_on or row.due_on
    return row


def _open(report: DiagnosticReport, person_id: uuid.UUID, kind: FollowUpKind, due_on: date) -> FollowUp:
    return FollowUp(
        id=new_id(),
        report_id=report.id,
        person_id=person_id,
        region_code=report.region_code,
        kind=kind,
        status=FollowUpStatus.OPEN,
        due_on=due_on,
        created_at=clock.now(),
    )


def event_of(actor: Actor, row: FollowUp) -> FollowUpEvent:
    return FollowUpEvent(
        follow_up_id=row.id, at=clock.now(), status=row.status, actor_role=actor.role, actor_id=actor.id
    )
