"""Referrals of people at high risk, step by step: flagged → informed → referred → seen → diagnosed → outcome, each with
its own limit. What may be skipped, and from where somebody may decline or be lost, the rule says."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Self

from pydantic import model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch_version, visible
from app.errors import Invalid, Unfit, WrongState
from app.models.consents import Purpose
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpKind, FollowUpStatus, ReferralStep
from app.models.households import Person
from app.models.identity import Role
from app.models.partners import Organization
from app.models.results import DiagnosticReport
from app.services import audit, consents
from app.services.follow_ups.events import LIVE, NotLive, live, record, refuse_foetal_sex, write
from app.services.follow_ups.rules import ENDS, WAY, FollowUpRule, issued_on, rules_of
from app.services.follow_ups.work import WITHOUT_RULE, report_of
from app.services.plain import Body, Day, Line, Note

#: What the hospital that receives a referral may say.
OF_HOSPITAL = (ReferralStep.SEEN, ReferralStep.DIAGNOSED)


class StepNotAllowed(WrongState):
    zh, en = "转诊不能这样变化", "A referral cannot take this step now"
    do_zh, do_en = (
        "请按已告知、已转诊、已就诊、已诊断、结局的顺序记录",
        "Informed, referred, seen, diagnosed, outcome, in this order",
    )


class NotAReferral(WrongState):
    zh, en = "该随访不是转诊", "This follow-up is not a referral"


class ReferralRecord(Body):
    """One step: when, where, and in words. A diagnosis says what it found, an outcome what became of it, and who
    declines says why. `organization_id`: the partner hospital that is to see her."""

    step: Literal["informed", "referred", "seen", "diagnosed", "outcome", "declined", "lost"]
    on: Day
    place: Line | None = None
    note: Note | None = None
    organization_id: uuid.UUID | None = None
    diagnosis: Literal["confirmed", "excluded", "uncertain"] | None = None
    outcome: (
        Literal["no_action_needed", "treated", "monitored", "pregnancy_deferred", "pregnancy_ended", "other"]
        | None
    ) = None
    reason: Literal["not_worried", "too_far", "cost", "goes_elsewhere", "family_objects", "other"] | None = (
        None
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, step in (("diagnosis", "diagnosed"), ("outcome", "outcome"), ("reason", "declined")):
            if (getattr(self, name) is not None) != (self.step == step):
                raise Unfit(
                    "诊断、结局、拒绝原因须与步骤相符", "a diagnosis, outcome or reason goes with its step"
                )
        if self.organization_id is not None and self.step != "referred":
            raise Unfit("仅转诊时填接诊医院", "only a referral names the hospital")
        return self


async def take_step(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, said: ReferralRecord
) -> FollowUp:
    """The next step of a referral, with the limit for the one after it. A hospital says that she was seen and what
    was diagnosed; everything else is the association's."""
    row = await fetch_version(db, actor, FollowUp, follow_up_id, version)
    if row.kind is not FollowUpKind.REFERRAL:
        raise NotAReferral
    if row.status not in LIVE:
        raise NotLive
    report, to = await report_of(db, row), ReferralStep(said.step)
    rule = (await rules_of(db, report)).of(row.kind, row.topic)
    await _check(db, actor, row, rule, said, earliest=row.stepped_on or issued_on(report))
    row.step, row.stepped_on = to, said.on
    row.outcome = (row.outcome or {}) | _said(said)
    if to in ENDS:
        row.status, row.completed_at = FollowUpStatus.DONE, clock.now()
        row.completed_by = actor.account_id
    else:
        row.status, row.due_on = FollowUpStatus.IN_PROGRESS, said.on + _limit(rule, to)
        row.assignee_id = row.assignee_id or (None if actor.role is Role.PARTNER else actor.account_id)
    written = await write(db, row, place=said.place, note=said.note)
    met = None if to is ReferralStep.LOST or actor.role is Role.PARTNER else said.on
    more = {"happened_on": said.on, "contacted_on": met}
    await record(db, actor, row, FollowUpAction.STEPPED, "step", note_id=written, **more)
    return row


def _said(said: ReferralRecord) -> dict[str, Any]:
    codes = said.model_dump(mode="json", include={"diagnosis", "outcome", "reason"}, exclude_none=True)
    return {"kind": FollowUpKind.REFERRAL, "reached": said.step, **codes}


def _limit(rule: FollowUpRule | None, at: ReferralStep) -> timedelta:
    following = WAY[WAY.index(at) + 1]
    return timedelta(days=rule.steps[following]) if rule else WITHOUT_RULE


async def _check(
    db: AsyncSession, actor: Actor, row: FollowUp, rule: FollowUpRule | None, said: ReferralRecord, *, earliest: date
) -> None:  # fmt: skip
    to = ReferralStep(said.step)
    if actor.role is Role.PARTNER and to not in OF_HOSPITAL:
        raise StepNotAllowed
    at = row.step or ReferralStep.FLAGGED
    following = WAY[WAY.index(at) + 1 : WAY.index(at) + 2]
    if not (rule.may_step(at, to) if rule else to in following):
        raise StepNotAllowed
    if not earliest <= said.on <= clock.today():
        raise Invalid.at(
            "/step/on", "不得早于上一步，也不得晚于今天", "not before the step before it, nor after today"
        )
    refuse_foetal_sex("/step", place=said.place, note=said.note)
    if said.organization_id is not None:
        row.referred_to = await _hospital(db, row, said.organization_id)


async def _hospital(db: AsyncSession, row: FollowUp, organization_id: uuid.UUID) -> uuid.UUID:
    """It learns who is to come: with her consent to that (PIPL art. 23)."""
    known = select(Organization.id).where(
        Organization.id == organization_id, Organization.disabled_at.is_(None)
    )
    if not await db.scalar(known):
        raise Invalid.at("/step/organization_id", "没有这家合作医院", "no such partner hospital")
    if not await db.scalar(select(consents.agreed(row.person_id, Purpose.SHARE_WITH_HOSPITAL))):
        raise consents.ConsentRequired
    return organization_id


@dataclass(frozen=True, slots=True)
class Referred:
    """Who is to be seen, for the hospital that receives the referral."""

    id: uuid.UUID
    name: str
    step: ReferralStep | None
    due_on: date
    risk_class: str | None
    version: int


async def list_referred(
    db: AsyncSession, actor: Actor, *, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[Referred]:
    """Referrals under way to this hospital, the most urgent first, of those who still agree to that. Each look goes
    into the person's file."""
    query = (
        select(FollowUp, Person.name, DiagnosticReport.risk_class)
        .join(Person, Person.id == FollowUp.person_id)
        .join(DiagnosticReport, DiagnosticReport.id == FollowUp.report_id)
        .where(visible(actor, FollowUp), live())
        .where(consents.agreed(FollowUp.person_id, Purpose.SHARE_WITH_HOSPITAL))
    )
    if after is not None:
        query = query.where(func.row(FollowUp.due_on, FollowUp.id) > func.row(*after))
    rows = (await db.execute(query.order_by(FollowUp.due_on, FollowUp.id).limit(limit))).all()
    if rows:
        people = [row.person_id for row, _, _ in rows]
        await audit.record(db, actor, "read", "follow_up", people=people, purpose="follow_up")
    return [Referred(row.id, name, row.step, row.due_on, risk, row.version) for row, name, risk in rows]
