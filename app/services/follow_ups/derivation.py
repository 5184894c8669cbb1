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
from app.models.results import DiagnosticReport, RiskClass
from app.models.rules import RuleKind
from app.services import audit, rules
from app.services.plain import Body
from app.services.results.risk import Assessed


class FollowUpRule(Body):
    """`with_findings`: those with a finding of a class in `when`; everybody examined where there is none, as
    when only the hospital states the class."""

    kind: FollowUpKind
    days: Annotated[int, Field(ge=1, le=1000)]
    when: frozenset[RiskClass]
    who: Literal["wife", "husband", "both", "with_findings"]


class FollowUpRules(Body):
    follow_ups: tuple[FollowUpRule, ...]


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
    wanted = await _wanted(db, report, people, assessed)
    query = select(FollowUp).where(FollowUp.report_id == report.id).with_for_update()
    rows = await db.scalars(query.execution_options(populate_existing=True))
    known = {(row.person_id, row.kind): row for row in rows}
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


async def _wanted(
    db: AsyncSession,
    report: DiagnosticReport,
    people: Mapping[AppliesTo, uuid.UUID],
    assessed: Assessed | None,
) -> dict[tuple[uuid.UUID, FollowUpKind], date]:
    if assessed is None:
        return {}
    code = await db.scalar(select(HealthcareService.code).where(HealthcareService.id == report.service_id))
    issued_on = report.issued_at.astimezone(clock.SHANGHAI).date()
    row = await rules.in_force(db, kind=RuleKind.FOLLOW_UP, code=code or "", on=issued_on)
    if row is None:
        return {}
    return {
        (people[role], rule.kind): issued_on + timedelta(days=rule.days)
        for rule in FollowUpRules.model_validate(row.body).follow_ups
        if (assessed.risk_class or RiskClass.GENERAL) in rule.when
        for role in called_for(rule, people, assessed)
    }


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
