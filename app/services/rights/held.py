"""Which rows of which table are about a person: a new table is one line here, or has its reason in the guard."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import aliased

from app.db import Base
from app.models.appointments import Appointment, AppointmentEvent, Qualification
from app.models.audit import AuditEvent
from app.models.consents import Consent, ConsentNotice
from app.models.corrections import Correction
from app.models.follow_ups import FollowUp, FollowUpEvent
from app.models.households import (
    PENDING,
    Category,
    Couple,
    HandbookDetail,
    Household,
    HouseholdEvent,
    Membership,
    Person,
)
from app.models.identity import CITIZEN_DOOR, ResidentAccount, SignIn
from app.models.life_events import LifeEvent
from app.models.messages import MessageCredit, SubscriptionMessage
from app.models.moves import Move
from app.models.results import DiagnosticReport, Observation, ReportVersion, RiskAssessment
from app.models.rights import Erasure
from app.models.rosters import RosterMember, TrainingCertificate
from app.models.surveys import SurveyResponse
from app.services import identity


@dataclass(frozen=True, slots=True)
class Held:
    """Rows of one table about a person."""

    model: type[Base]
    zh: str
    en: str
    of: Callable[[uuid.UUID], ColumnElement[bool]]


def account_of(person: uuid.UUID) -> Any:
    return select(ResidentAccount.id).where(ResidentAccount.person_id == person)


def home_of(person: uuid.UUID) -> Any:
    return select(Membership.household_id).where(
        Membership.person_id == person, Membership.valid_to.is_(None)
    )


def appointments_of(person: uuid.UUID) -> Any:
    return select(Appointment.id).where(or_(Appointment.person_id == person, Appointment.spouse_id == person))


def reports_of(person: uuid.UUID) -> Any:
    subject = or_(DiagnosticReport.person_id == person, DiagnosticReport.spouse_id == person)
    return select(DiagnosticReport.id).where(subject)


def _steps_of(person: uuid.UUID) -> ColumnElement[bool]:
    """Of the households one belonged to, while one did; what is about another member is in that one's file."""
    belonged = aliased(Membership)
    while_there = select(belonged.id).where(
        belonged.household_id == HouseholdEvent.household_id,
        belonged.person_id == person,
        or_(belonged.valid_to.is_(None), func.date(HouseholdEvent.at) <= belonged.valid_to),
    )
    return or_(
        HouseholdEvent.person_id.in_(identity.known_as(person)),
        and_(HouseholdEvent.person_id.is_(None), while_there.exists()),
    )


def _notices_of(person: uuid.UUID) -> ColumnElement[bool]:
    agreed = select(Consent.notice_id).where(or_(Consent.person_id == person, Consent.guardian_id == person))
    return ConsentNotice.id.in_(agreed)


HELD: tuple[Held, ...] = (
    Held(Person, "个人信息", "Person", lambda p: Person.id.in_(identity.known_as(p))),
    Held(
        Household, "家庭", "Household",
        lambda p: or_(
            Household.id.in_(home_of(p)),
            and_(Household.account_id.in_(account_of(p)), Household.status.in_(PENDING)),
        ),
    ),
    Held(Membership, "家庭成员关系", "Memberships", lambda p: Membership.person_id == p),
    Held(Couple, "婚姻", "Marriages", lambda p: or_(Couple.wife_id == p, Couple.husband_id == p)),
    Held(
        Category, "人员和家庭类别", "Categories",
        lambda p: or_(Category.person_id == p, Category.household_id.in_(home_of(p))),
    ),
    Held(HouseholdEvent, "家庭手册", "Handbook", _steps_of),
    Held(
        HandbookDetail, "家庭手册明细", "Handbook, details",
        lambda p: or_(
            HandbookDetail.person_id == p,
            and_(
                HandbookDetail.person_id.is_(None),
                HandbookDetail.id.in_(select(HouseholdEvent.detail_id).where(_steps_of(p))),
            ),
        ),
    ),
    Held(Consent, "同意记录", "Consents", lambda p: or_(Consent.person_id == p, Consent.guardian_id == p)),
    Held(ConsentNotice, "告知书", "Notices agreed to", _notices_of),
    Held(Qualification, "资格审核", "Eligibility", lambda p: Qualification.person_id == p),
    Held(Appointment, "预约", "Appointments", lambda p: Appointment.id.in_(appointments_of(p))),
    Held(
        AppointmentEvent, "预约过程", "Appointments, steps",
        lambda p: AppointmentEvent.appointment_id.in_(appointments_of(p)),
    ),
    Held(DiagnosticReport, "检查报告", "Reports", lambda p: DiagnosticReport.id.in_(reports_of(p))),
    Held(
        ReportVersion, "检查报告版本", "Reports, versions",
        lambda p: ReportVersion.report_id.in_(reports_of(p)),
    ),
    Held(Observation, "检查结果", "Observations", lambda p: Observation.person_id == p),
    Held(
        RiskAssessment, "风险评估", "Risk assessments",
        lambda p: RiskAssessment.report_id.in_(reports_of(p)),
    ),
    Held(FollowUp, "随访", "Follow-ups", lambda p: FollowUp.person_id == p),
    Held(
        FollowUpEvent, "随访过程", "Follow-ups, steps",
        lambda p: FollowUpEvent.follow_up_id.in_(select(FollowUp.id).where(FollowUp.person_id == p)),
    ),
    Held(ResidentAccount, "微信账号", "WeChat account", lambda p: ResidentAccount.person_id == p),
    Held(
        SignIn, "登录记录", "Sign-ins",
        lambda p: and_(SignIn.door == CITIZEN_DOOR, SignIn.account_id.in_(account_of(p))),
    ),
    Held(
        SubscriptionMessage, "消息", "Messages",
        lambda p: SubscriptionMessage.account_id.in_(account_of(p)),
    ),
    Held(
        MessageCredit, "消息授权", "Messages agreed to",
        lambda p: MessageCredit.account_id.in_(account_of(p)),
    ),
    Held(
        Correction, "更正申请", "Corrections",
        lambda p: or_(Correction.person_id == p, Correction.household_id.in_(home_of(p))),
    ),
    Held(Erasure, "注销申请", "Erasure requests", lambda p: Erasure.person_id == p),
    Held(
        LifeEvent, "生命事件", "Life events",
        lambda p: or_(
            LifeEvent.person_id == p,
            and_(LifeEvent.person_id.is_(None), LifeEvent.household_id.in_(home_of(p))),
        ),
    ),
    Held(
        Move, "迁移", "Moves",
        lambda p: or_(Move.household_id.in_(home_of(p)), Move.to_household_id.in_(home_of(p))),
    ),
    Held(SurveyResponse, "需求调查", "Survey answers", lambda p: SurveyResponse.household_id.in_(home_of(p))),
    Held(RosterMember, "花名册", "Rosters", lambda p: RosterMember.person_id == p),
    Held(
        TrainingCertificate, "培训证书", "Training certificates",
        lambda p: TrainingCertificate.member_id.in_(
            select(RosterMember.id).where(RosterMember.person_id == p)
        ),
    ),
    Held(
        AuditEvent, "访问记录", "Who did or saw what",
        lambda p: AuditEvent.person_id.in_(identity.known_as(p)),
    ),
)  # fmt: skip
