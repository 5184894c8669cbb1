"""Which rows of which table are about a person: a new table is one line here, or has its reason in the guard."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import Base
from app.models.appointments import Appointment, AppointmentEvent, AppointmentNote, Qualification
from app.models.audit import AuditEvent
from app.models.certificates import AttendanceCertificate
from app.models.closures import ClosureMove
from app.models.consents import Consent, ConsentNotice
from app.models.corrections import Correction
from app.models.disbursements import Disbursement, DisbursementEvent
from app.models.donations import Donation, GoodsDelivery, Pledge, ReceiptRequest
from app.models.follow_ups import FollowUp, FollowUpEvent, FollowUpNote
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import PENDING, Category, Couple, Household, Membership, Person
from app.models.identity import CITIZEN_DOOR, ResidentAccount, SignIn
from app.models.life_events import LifeEvent
from app.models.messages import InboxMessage, MessageCredit, SubscriptionMessage
from app.models.moves import Move
from app.models.payments import PaymentOrder, Refund
from app.models.results import DiagnosticReport, Observation, ReportAttachment, ReportVersion, RiskAssessment
from app.models.rights import Erasure
from app.models.rosters import RosterMember, TrainingCertificate
from app.models.rotations import RotationStep, RotationTurn
from app.models.supplies import SupplyHandOut, SupplyPlan
from app.models.surveys import SurveyResponse
from app.models.waitlist import WaitlistEntry
from app.services import identity


@dataclass(frozen=True, slots=True)
class About:
    """Whose rows they are. Read first and passed as values: a list of ids is looked up in an index, a subquery beside
    an OR reads the whole table."""

    person: uuid.UUID
    known_as: list[uuid.UUID]
    accounts: list[uuid.UUID]
    homes: list[uuid.UUID]
    #: Every household that one belonged to, and until when.
    belonged: list[tuple[uuid.UUID, datetime | None]]


@dataclass(frozen=True, slots=True)
class Held:
    """Rows of one table about a person."""

    model: type[Base]
    zh: str
    en: str
    of: Callable[[About], ColumnElement[bool]]


def about_account(account: uuid.UUID) -> About:
    """Of somebody of whom no more is known: for `OF_AN_ACCOUNT`."""
    return About(uuid.UUID(int=0), [], [account], [], [])


async def about(db: AsyncSession, person: uuid.UUID) -> About:
    accounts = select(ResidentAccount.id).where(ResidentAccount.person_id == person)
    belonged = list(
        await db.execute(
            select(Membership.household_id, Membership.valid_to).where(Membership.person_id == person)
        )
    )
    return About(
        person, list(await db.scalars(identity.known_as(person))), list(await db.scalars(accounts)),
        [household for household, last in belonged if last is None],
        [(household, None if last is None else _after(last)) for household, last in belonged],
    )  # fmt: skip


def _after(last: date) -> datetime:
    """When this day was over."""
    return clock.midnight(last + timedelta(days=1))


def appointments_of(about: About) -> Any:
    mine = or_(Appointment.person_id == about.person, Appointment.spouse_id == about.person)
    return select(Appointment.id).where(mine)


def reports_of(about: About) -> Any:
    subject = or_(DiagnosticReport.person_id == about.person, DiagnosticReport.spouse_id == about.person)
    return select(DiagnosticReport.id).where(subject)


def _steps_of(about: About) -> ColumnElement[bool]:
    """Of the households one belonged to, while one did; what is about another member is in that one's file."""
    return or_(
        HouseholdEvent.person_id.in_(about.known_as),
        *(
            and_(
                HouseholdEvent.household_id == household,
                HouseholdEvent.person_id.is_(None),
                true() if until is None else HouseholdEvent.at < until,
            )
            for household, until in about.belonged
        ),
    )


def _details_of(about: About) -> ColumnElement[bool]:
    steps = select(HouseholdEvent.detail_id).where(_steps_of(about), HouseholdEvent.detail_id.is_not(None))
    own = select(HandbookDetail.id).where(HandbookDetail.person_id == about.person)
    nobody_else_s = or_(HandbookDetail.person_id == about.person, HandbookDetail.person_id.is_(None))
    return and_(HandbookDetail.id.in_(own.union(steps)), nobody_else_s)


def _notices_of(about: About) -> ColumnElement[bool]:
    mine = or_(Consent.person_id == about.person, Consent.guardian_id == about.person)
    return ConsentNotice.id.in_(select(Consent.notice_id).where(mine))


def gifts_of(about: About) -> Any:
    return select(Donation.id).where(Donation.account_id.in_(about.accounts))


#: What is found by the account alone: all there is of somebody who gives and is registered nowhere.
OF_AN_ACCOUNT: tuple[Held, ...] = (
    Held(ResidentAccount, "微信账号", "WeChat account", lambda a: ResidentAccount.id.in_(a.accounts)),
    Held(
        SignIn, "登录记录", "Sign-ins",
        lambda a: and_(SignIn.door == CITIZEN_DOOR, SignIn.account_id.in_(a.accounts)),
    ),
    Held(Donation, "捐款", "Gifts", lambda a: Donation.account_id.in_(a.accounts)),
    Held(PaymentOrder, "捐款支付", "Gifts, payments", lambda a: PaymentOrder.account_id.in_(a.accounts)),
    Held(Refund, "捐款退款", "Gifts, refunds", lambda a: Refund.donation_id.in_(gifts_of(a))),
    Held(
        GoodsDelivery, "捐赠物资发放", "Gifts, goods handed out",
        lambda a: GoodsDelivery.donation_id.in_(gifts_of(a)),
    ),
    Held(Pledge, "认捐", "Pledges", lambda a: Pledge.account_id.in_(a.accounts)),
    Held(
        ReceiptRequest, "捐赠票据申请", "Gifts, receipts",
        lambda a: ReceiptRequest.donation_id.in_(gifts_of(a)),
    ),
    Held(
        SubscriptionMessage, "微信消息", "Messages by WeChat",
        lambda a: SubscriptionMessage.account_id.in_(a.accounts),
    ),
    Held(
        MessageCredit, "消息授权", "Messages agreed to",
        lambda a: MessageCredit.account_id.in_(a.accounts),
    ),
)  # fmt: skip
HELD: tuple[Held, ...] = (
    Held(Person, "个人信息", "Person", lambda a: Person.id.in_(a.known_as)),
    Held(
        Household, "家庭", "Household",
        lambda a: or_(
            Household.id.in_(a.homes),
            and_(Household.account_id.in_(a.accounts), Household.status.in_(PENDING)),
        ),
    ),
    Held(Membership, "家庭成员关系", "Memberships", lambda a: Membership.person_id == a.person),
    Held(Couple, "婚姻", "Marriages", lambda a: or_(Couple.wife_id == a.person, Couple.husband_id == a.person)),
    Held(
        Category, "人员和家庭类别", "Categories",
        lambda a: or_(Category.person_id == a.person, Category.household_id.in_(a.homes)),
    ),
    Held(HouseholdEvent, "家庭手册", "Handbook", _steps_of),
    Held(HandbookDetail, "家庭手册明细", "Handbook, details", _details_of),
    Held(
        Consent, "同意记录", "Consents",
        lambda a: or_(Consent.person_id == a.person, Consent.guardian_id == a.person),
    ),
    Held(ConsentNotice, "告知书", "Notices agreed to", _notices_of),
    Held(Qualification, "资格审核", "Eligibility", lambda a: Qualification.person_id.in_(a.known_as)),
    Held(Appointment, "预约", "Appointments", lambda a: Appointment.id.in_(appointments_of(a))),
    Held(
        AppointmentEvent, "预约过程", "Appointments, steps",
        lambda a: AppointmentEvent.appointment_id.in_(appointments_of(a)),
    ),
    Held(
        AppointmentNote, "预约说明", "Appointments, notes",
        lambda a: AppointmentNote.appointment_id.in_(appointments_of(a)),
    ),
    Held(
        AttendanceCertificate, "培训证明", "Attendance certificates",
        lambda a: AttendanceCertificate.person_id == a.person,
    ),
    Held(
        WaitlistEntry, "候补", "Waiting lists",
        lambda a: or_(WaitlistEntry.person_id == a.person, WaitlistEntry.spouse_id == a.person),
    ),
    Held(
        ClosureMove, "停诊改约", "Appointments that a closure moved",
        lambda a: ClosureMove.appointment_id.in_(appointments_of(a)),
    ),
    Held(DiagnosticReport, "检查报告", "Reports", lambda a: DiagnosticReport.id.in_(reports_of(a))),
    Held(
        ReportVersion, "检查报告版本", "Reports, versions",
        lambda a: ReportVersion.report_id.in_(reports_of(a)),
    ),
    Held(
        ReportAttachment, "检查报告附件", "Reports, documents",
        lambda a: ReportAttachment.report_id.in_(reports_of(a)),
    ),
    Held(Observation, "检查结果", "Observations", lambda a: Observation.person_id.in_(a.known_as)),
    Held(
        RiskAssessment, "风险评估", "Risk assessments",
        lambda a: RiskAssessment.report_id.in_(reports_of(a)),
    ),
    Held(FollowUp, "随访", "Follow-ups", lambda a: FollowUp.person_id == a.person),
    Held(
        FollowUpEvent, "随访过程", "Follow-ups, steps",
        lambda a: FollowUpEvent.follow_up_id.in_(select(FollowUp.id).where(FollowUp.person_id == a.person)),
    ),
    Held(
        FollowUpNote, "随访记录", "Follow-ups, notes",
        lambda a: FollowUpNote.follow_up_id.in_(select(FollowUp.id).where(FollowUp.person_id == a.person)),
    ),
    Held(SupplyPlan, "叶酸等发放计划", "Supplies planned", lambda a: SupplyPlan.person_id == a.person),
    Held(
        SupplyHandOut, "叶酸等发放记录", "Supplies handed out",
        lambda a: SupplyHandOut.plan_id.in_(select(SupplyPlan.id).where(SupplyPlan.person_id == a.person)),
    ),
    Held(RotationTurn, "轮查安排", "Turns in rotations", lambda a: RotationTurn.person_id == a.person),
    Held(
        RotationStep, "轮查邀请和答复", "Turns in rotations, steps",
        lambda a: RotationStep.turn_id.in_(
            select(RotationTurn.id).where(RotationTurn.person_id == a.person)
        ),
    ),
    *OF_AN_ACCOUNT,
    Held(Disbursement, "资金发放", "Payments to you", lambda a: Disbursement.person_id == a.person),
    Held(
        DisbursementEvent, "资金发放过程", "Payments to you, steps",
        lambda a: DisbursementEvent.disbursement_id.in_(
            select(Disbursement.id).where(Disbursement.person_id == a.person)
        ),
    ),
    Held(InboxMessage, "消息", "Messages", lambda a: InboxMessage.person_id == a.person),
    Held(
        Correction, "更正申请", "Corrections",
        lambda a: or_(Correction.person_id == a.person, Correction.household_id.in_(a.homes)),
    ),
    Held(Erasure, "注销申请", "Erasure requests", lambda a: Erasure.person_id == a.person),
    Held(
        LifeEvent, "生命事件", "Life events",
        lambda a: or_(
            LifeEvent.person_id.in_(a.known_as),
            and_(LifeEvent.person_id.is_(None), LifeEvent.household_id.in_(a.homes)),
        ),
    ),
    Held(
        Move, "迁移", "Moves",
        lambda a: or_(Move.household_id.in_(a.homes), Move.to_household_id.in_(a.homes)),
    ),
    Held(SurveyResponse, "需求调查", "Survey answers", lambda a: SurveyResponse.household_id.in_(a.homes)),
    Held(RosterMember, "花名册", "Rosters", lambda a: RosterMember.person_id == a.person),
    Held(
        TrainingCertificate, "培训证书", "Training certificates",
        lambda a: TrainingCertificate.member_id.in_(
            select(RosterMember.id).where(RosterMember.person_id == a.person)
        ),
    ),
    Held(
        AuditEvent, "访问记录", "Who did or saw what",
        lambda a: AuditEvent.person_id.in_(a.known_as),
    ),
)  # fmt: skip
