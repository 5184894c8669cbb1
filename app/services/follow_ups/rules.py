"""What a result calls for, by when: the rule tables of follow-ups, which are data (app/data/rules/follow_up_*)."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Unfit
from app.models.catalogue import AppliesTo, HealthcareService
from app.models.follow_ups import FollowUpKind, ReferralStep
from app.models.results import DiagnosticReport, RiskClass
from app.models.rules import RuleKind
from app.services import calendar, rules
from app.services.plain import Body, Line
from app.services.results.risk import Assessed, Finding

Days = Annotated[int, Field(ge=1, le=1000)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{0,60}$")]

#: The way of a referral; a rule says which of its steps may be skipped, and from where it may end otherwise.
WAY = (
    ReferralStep.FLAGGED, ReferralStep.INFORMED, ReferralStep.REFERRED, ReferralStep.SEEN, ReferralStep.DIAGNOSED,
    ReferralStep.OUTCOME,
)  # fmt: skip
ENDS = frozenset({ReferralStep.OUTCOME, ReferralStep.DECLINED, ReferralStep.LOST})


class FollowUpRule(Body):
    """`days` from the issue of the report (working days where it says so), or from the last menstrual period once that
    is known. What did not come about is tried again after `retry_days`, and no more when `until_days` after the issue
    are over. Overdue by `escalate_days`, it is the township's concern too.

    It holds for a report of a class in `when`; where `findings` names items, with a finding of a class in `when` about
    one of these, whatever the class of the whole. `with_findings`: those in whom it was found; everybody examined
    where nothing was, as when only the hospital states the class.

    A referral has a limit for each of its `steps`, counted from the step before, and `skips` that are allowed. A
    recheck ends with a later report of the same service, or of one of `items`. The outcome of a pregnancy is due
    `after_birth_days` after a birth, `after_other_days` after another end."""

    kind: FollowUpKind
    topic: Code = ""
    days: Days
    workdays: bool = False
    retry_days: Days
    until_days: Days | None = None
    escalate_days: Days | None = None
    when: frozenset[RiskClass]
    findings: frozenset[Code] = frozenset()
    who: Literal["wife", "husband", "both", "with_findings"]
    items: tuple[Code, ...] = ()
    steps: dict[ReferralStep, Days] = Field(default_factory=dict)
    skips: tuple[tuple[ReferralStep, ReferralStep], ...] = ()
    after_birth_days: Days | None = None
    after_other_days: Days | None = None
    source: Line

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind is FollowUpKind.REFERRAL and set(self.steps) != set(WAY[2:]):
            raise Unfit(
                "转诊规则须给出每一步的期限", "a referral rule has a limit for each step after the first"
            )
        for at, to in self.skips:
            if at in ENDS or not (to in ENDS or to in WAY[WAY.index(at) + 1 :]):
                raise Unfit("转诊步骤只能向前跳过", "a step is skipped forwards only")
        return self

    def may_step(self, at: ReferralStep, to: ReferralStep) -> bool:
        following = WAY[WAY.index(at) + 1] if at not in ENDS else None
        return to is following or (at, to) in self.skips


class FollowUpRules(Body):
    """`contact_days`: from the issue of an abnormal result to the first contact about it."""

    contact_days: Days = 7
    follow_ups: tuple[FollowUpRule, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({(rule.kind, rule.topic) for rule in self.follow_ups}) < len(self.follow_ups):
            raise Unfit("同类随访须以 topic 区分", "a topic tells several rules of a kind apart")
        return self

    def of(self, kind: FollowUpKind, topic: str = "") -> FollowUpRule | None:
        return next((rule for rule in self.follow_ups if (rule.kind, rule.topic) == (kind, topic)), None)


def issued_on(report: DiagnosticReport) -> date:
    return clock.day_of(report.issued_at)


async def rules_of(db: AsyncSession, report: DiagnosticReport) -> FollowUpRules:
    """Those in force on the day of issue."""
    code = await db.scalar(select(HealthcareService.code).where(HealthcareService.id == report.service_id))
    row = await rules.in_force(db, kind=RuleKind.FOLLOW_UP, code=code or "", on=issued_on(report))
    return FollowUpRules.model_validate(row.body if row else {})


def called_for(rule: FollowUpRule, people: Iterable[AppliesTo], assessed: Assessed) -> set[AppliesTo]:
    """Which of those examined a rule is about; nobody where it does not hold."""
    examined, of_class = set(people), [one for one in assessed.findings if one.risk_class in rule.when]
    if rule.findings:
        concerned = _roles(one for one in of_class if one.code in rule.findings) & examined
        holds = bool(concerned)
    else:
        concerned = _roles(of_class) & examined or examined
        holds = (assessed.risk_class or RiskClass.GENERAL) in rule.when
    if not holds:
        return set()
    if rule.who in ("wife", "husband"):
        return examined & {AppliesTo(rule.who)}
    return concerned if rule.who == "with_findings" else examined


def abnormal(people: Iterable[AppliesTo], assessed: Assessed | None) -> set[AppliesTo]:
    """For whom the result is abnormal: those with a finding; everybody examined where the hospital alone says so."""
    if assessed is None or assessed.risk_class in (None, RiskClass.GENERAL):
        return set()
    examined = set(people)
    return _roles(assessed.findings) & examined or examined


def _roles(findings: Iterable[Finding]) -> set[AppliesTo]:
    return {one.role for one in findings}


async def after(db: AsyncSession, start: date, days: int, *, workdays: bool = False) -> date:
    """The last day of a limit that begins the day after `start`."""
    if not workdays:
        return start + timedelta(days=days)
    # The longest holidays are nine days; a limit in working days is short.
    enough = start + timedelta(days=2 * days + 20)
    return (await calendar.workdays(db, start + timedelta(days=1), enough))[days - 1]
