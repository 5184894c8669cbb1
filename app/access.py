"""Who may do what, and who sees which rows: the whole policy on one page.

At the door a route names the permission it needs (401, 403). In a query rows are reached only through
`fetch` or `visible`: what an actor cannot see does not exist for that actor (404).
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app import clock
from app.db import Base
from app.errors import Forbidden, NotFound
from app.models.appointments import Appointment, Clinic, ServiceItem, Slot, SlotStatus
from app.models.certificates import AttendanceCertificate
from app.models.closures import Closure
from app.models.consents import Consent
from app.models.corrections import Correction
from app.models.disbursements import ApprovalLimit, BankFile, Disbursement
from app.models.donations import (
    Donation,
    DonationFile,
    GoodsDelivery,
    OrganizationDonor,
    Pledge,
    ReceiptRequest,
)
from app.models.duplicates import Merge, Suspicion
from app.models.follow_ups import FollowUp
from app.models.funds import BudgetLine, Campaign, CampaignStatus, Fund
from app.models.households import PENDING, Household, HouseholdStatus, Membership, Person
from app.models.identity import CITIZEN_DOOR, STAFF_DOOR, STAFF_ROLES, ResidentAccount, Role, SignIn
from app.models.imports import ImportBatch
from app.models.ledger import LedgerAccount, LedgerPeriod, Transfer
from app.models.life_events import LifeEvent
from app.models.messages import InboxMessage
from app.models.moves import Move
from app.models.partners import Organization
from app.models.payments import PaymentOrder, Refund
from app.models.reconciliation import BillFile, ReconciliationDifference
from app.models.regions import RegionSuccession
from app.models.results import DiagnosticReport
from app.models.rights import Erasure
from app.models.rosters import RosterMember, TrainingCertificate
from app.models.rotations import Rotation, RotationTurn, TurnStatus
from app.models.schedules import Practitioner, Room, Schedule
from app.models.search import RegistryExport, SavedFilter
from app.models.settlements import Settlement
from app.models.staff import StaffAccount
from app.models.stations import Station
from app.models.supplies import SupplyPlan
from app.models.surveys import SurveyResponse, SurveyTemplate
from app.models.waitlist import WaitlistEntry


class Permission(StrEnum):
    OWN_ACCOUNT = "own_account"  # one's own sign-ins, binding, consents, file access log
    HOUSEHOLD_REGISTER = "household_register"
    HOUSEHOLD_READ = "household_read"
    HOUSEHOLD_VERIFY = "household_verify"
    REGISTRY_SEARCH = "registry_search"
    REGISTRY_COUNT = "registry_count"
    REGISTRY_IMPORT = "registry_import"
    REGISTRY_EXPORT = "registry_export"  # masked; unmasked only together with PERSON_UNMASK_MANY
    PERSON_UNMASK_MANY = "person_unmask_many"
    LIFE_EVENT_RECORD = "life_event_record"
    HOUSEHOLD_MOVE = "household_move"
    CORRECTION_REQUEST = "correction_request"
    CORRECTION_APPROVE = "correction_approve"
    DUPLICATE_DECIDE = "duplicate_decide"
    PERSON_MERGE = "person_merge"
    ERASURE_DECIDE = "erasure_decide"
    SURVEY_ANSWER = "survey_answer"
    SURVEY_PUBLISH = "survey_publish"
    REGION_MANAGE = "region_manage"
    STATION_MANAGE = "station_manage"
    ROSTER_READ = "roster_read"
    ROSTER_MANAGE = "roster_manage"
    PERSON_UNMASK = "person_unmask"
    SLOT_READ = "slot_read"
    SLOT_PUBLISH = "slot_publish"
    CLINIC_OPEN = "clinic_open"
    CALENDAR_EDIT = "calendar_edit"
    APPOINTMENT_BOOK = "appointment_book"
    APPOINTMENT_READ = "appointment_read"
    APPOINTMENT_ATTEND = "appointment_attend"  # check in, fulfil, no-show, walk-in
    APPOINTMENT_ARRANGE = "appointment_arrange"  # for a resident: book, cancel, walk-in
    APPOINTMENT_OVERRIDE = "appointment_override"  # beyond the capacity, without qualifying
    APPOINTMENT_ANNUL = "appointment_annul"  # entered in error
    REPORT_POST = "report_post"
    REPORT_READ = "report_read"
    CATALOGUE_MANAGE = "catalogue_manage"  # items that a division adds to a service
    FOLLOW_UP_READ = "follow_up_read"
    FOLLOW_UP_COMPLETE = "follow_up_complete"
    REFERRAL_ANSWER = "referral_answer"  # of the hospital that is to see somebody
    ROTATION_COUNT = "rotation_count"  # how many, never who; small numbers hidden
    ROTATION_READ = "rotation_read"
    ROTATION_ANSWER = "rotation_answer"  # who was invited how, and what was answered
    ROTATION_MANAGE = "rotation_manage"
    SUPPLY_READ = "supply_read"
    SUPPLY_HAND_OUT = "supply_hand_out"
    SETTLEMENT_READ = "settlement_read"
    SETTLEMENT_CONFIRM = "settlement_confirm"  # of the hospital
    SETTLEMENT_DECIDE = "settlement_decide"  # of the association: accept, or return
    PRICE_SET = "price_set"
    HOSPITAL_FILE = "hospital_file"  # a hospital's lists of attendance and results as a file
    FUND_READ = "fund_read"  # funds, campaigns, budgets and how they stand
    FUND_MANAGE = "fund_manage"
    DONATION_GIVE = "donation_give"
    DONATION_READ = "donation_read"
    DONATION_RECORD = "donation_record"  # bank, cash, platforms, goods, organisations, pledges, receipts
    REFUND_APPROVE = "refund_approve"
    DISBURSEMENT_READ = "disbursement_read"
    DISBURSEMENT_SUBMIT = "disbursement_submit"
    DISBURSEMENT_APPROVE = "disbursement_approve"  # up to the limit of the role
    DISBURSEMENT_PAY = "disbursement_pay"
    APPROVAL_LIMIT_SET = "approval_limit_set"
    LEDGER_READ = "ledger_read"
    LEDGER_CLOSE = "ledger_close"
    RECONCILE = "reconcile"  # bills, differences
    WRITE_OFF_APPROVE = "write_off_approve"
    STAFF_MANAGE = "staff_manage"
    PARTNER_MANAGE = "partner_manage"
    AUDIT_READ = "audit_read"


AGE_OF_OWN_CONSENT = 14

P = Permission
_READS = {
    P.OWN_ACCOUNT, P.HOUSEHOLD_READ, P.REGISTRY_SEARCH, P.REGISTRY_COUNT, P.ROSTER_READ, P.SLOT_READ,
    P.APPOINTMENT_READ, P.FOLLOW_UP_READ, P.SUPPLY_READ, P.ROTATION_COUNT,
}  # fmt: skip
_CASEWORK = _READS | {
    P.HOUSEHOLD_VERIFY, P.PERSON_UNMASK, P.REPORT_READ, P.FOLLOW_UP_COMPLETE, P.SUPPLY_HAND_OUT, P.LIFE_EVENT_RECORD,
    P.HOUSEHOLD_MOVE, P.CORRECTION_REQUEST, P.DUPLICATE_DECIDE, P.SURVEY_ANSWER, P.REGISTRY_EXPORT,
    P.APPOINTMENT_ARRANGE, P.ROTATION_READ, P.ROTATION_ANSWER,
}  # fmt: skip
# Of a town or above: what touches many at once, or a second pair of eyes.
_OFFICE = _CASEWORK | {
    P.REGISTRY_IMPORT, P.CORRECTION_APPROVE, P.PERSON_MERGE, P.STATION_MANAGE, P.ROSTER_MANAGE,
    P.APPOINTMENT_OVERRIDE, P.ROTATION_MANAGE, P.FUND_READ, P.DISBURSEMENT_READ, P.DISBURSEMENT_SUBMIT,
    P.DISBURSEMENT_APPROVE,
}  # fmt: skip

GRANTS: dict[Role, frozenset[Permission]] = {
    role: frozenset(permissions)
    for role, permissions in {
        Role.RESIDENT: {
            P.OWN_ACCOUNT, P.HOUSEHOLD_REGISTER, P.HOUSEHOLD_READ, P.SLOT_READ, P.APPOINTMENT_BOOK,
            P.APPOINTMENT_READ, P.REPORT_READ, P.FOLLOW_UP_READ, P.SUPPLY_READ, P.CORRECTION_REQUEST, P.SURVEY_ANSWER,
            P.ROTATION_READ, P.ROTATION_ANSWER, P.DONATION_GIVE,
        },
        Role.VILLAGE_WORKER: _CASEWORK,
        Role.TOWNSHIP_OFFICER: _OFFICE,
        Role.COUNTY_ADMINISTRATOR: _OFFICE | {
            P.APPOINTMENT_ANNUL,
            P.PERSON_UNMASK_MANY, P.ERASURE_DECIDE, P.SURVEY_PUBLISH, P.SLOT_PUBLISH, P.CLINIC_OPEN,
            P.CALENDAR_EDIT, P.CATALOGUE_MANAGE, P.PARTNER_MANAGE, P.SETTLEMENT_READ, P.SETTLEMENT_DECIDE, P.PRICE_SET,
            P.HOSPITAL_FILE, P.FUND_MANAGE, P.DONATION_READ, P.REFUND_APPROVE, P.LEDGER_READ, P.WRITE_OFF_APPROVE,
        },
        # Who handles the money neither decides about it nor reads people's files.
        Role.ACCOUNTANT: {
            P.OWN_ACCOUNT, P.FUND_READ, P.DONATION_READ, P.DONATION_RECORD, P.DISBURSEMENT_READ, P.DISBURSEMENT_PAY,
            P.LEDGER_READ, P.LEDGER_CLOSE, P.RECONCILE,
        },
        Role.SUPERVISOR: _READS | {
            P.SETTLEMENT_READ, P.FUND_READ, P.DISBURSEMENT_READ, P.DISBURSEMENT_APPROVE, P.APPROVAL_LIMIT_SET,
            P.LEDGER_READ,
        },
        Role.AUDITOR: {P.OWN_ACCOUNT, P.AUDIT_READ, P.FUND_READ, P.DISBURSEMENT_READ, P.LEDGER_READ},
        # Separate duties (GB/T 22239-2019 8.1.4.2): who runs the system does not read people's files.
        Role.SYSTEM_ADMINISTRATOR: {P.OWN_ACCOUNT, P.STAFF_MANAGE, P.PARTNER_MANAGE, P.REGION_MANAGE},
        Role.PARTNER: {
            P.SLOT_READ, P.SLOT_PUBLISH, P.APPOINTMENT_READ, P.APPOINTMENT_ATTEND, P.REPORT_POST, P.REPORT_READ,
            P.REFERRAL_ANSWER, P.SETTLEMENT_READ, P.SETTLEMENT_CONFIRM, P.HOSPITAL_FILE,
        },
        Role.SYSTEM: set(Permission),
    }.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `id` is the account of a resident or worker, the organization of a hospital. Without a region
    nothing lies within it."""

    role: Role
    id: uuid.UUID | None = None
    region_code: str = ""
    sign_in_id: uuid.UUID | None = None
    key_id: uuid.UUID | None = None
    name: str = ""

    @classmethod
    def system(cls, name: str) -> Self:
        return cls(Role.SYSTEM, name=name)

    def may(self, permission: Permission) -> bool:
        return permission in GRANTS[self.role]

    @property
    def account_id(self) -> uuid.UUID:
        if self.id is None:
            raise Forbidden
        return self.id


def region_bounds(code: str) -> tuple[str, str]:
    """The codes of a region and all below it lie between these two: 640100000000 → 640100000000–640199999999."""
    if not re.fullmatch("[0-9]{12}", code):
        raise ValueError("a region code has 12 digits")
    for length in (0, 2, 4, 6, 9):
        if set(code[length:]) <= {"0"}:
            return code, code[:length].ljust(12, "9")
    return code, code


def within(column: InstrumentedAttribute[str] | ColumnElement[str], region_code: str) -> ColumnElement[bool]:
    return column.between(*region_bounds(region_code))


def own_person(actor: Actor) -> Any:
    return select(ResidentAccount.person_id).where(ResidentAccount.id == actor.account_id).scalar_subquery()


def own_household(actor: Actor) -> Any:
    return (
        select(Membership.household_id)
        .where(Membership.person_id == own_person(actor), Membership.valid_to.is_(None))
        .scalar_subquery()
    )


def under_guardian() -> ColumnElement[bool]:
    """Whose consent this is, is still so young that a guardian gives it (PIPL art. 31)."""
    child = aliased(Person)  # a query around it may have people of its own
    return exists().where(
        child.id == Consent.person_id, child.birth_date > clock.years_ago(AGE_OF_OWN_CONSENT)
    )


def _at_or_above(code: str) -> list[str]:
    return [code] + [code[:length].ljust(12, "0") for length in (2, 4, 6, 9)]


Scope = Callable[[Actor], ColumnElement[bool]]


def _rule(
    *, resident: Scope | None = None, worker: Scope | None = None, partner: Scope | None = None,
    system_administrator: Scope | None = None,
) -> Scope:  # fmt: skip
    def condition(actor: Actor) -> ColumnElement[bool]:
        if actor.role is Role.SYSTEM:
            return true()
        if actor.role is Role.SYSTEM_ADMINISTRATOR:
            chosen = system_administrator
        elif actor.role in STAFF_ROLES:
            chosen = worker
        else:
            chosen = {Role.RESIDENT: resident, Role.PARTNER: partner}.get(actor.role)
        return chosen(actor) if chosen else false()

    return condition


def _own(person: Any, spouse: Any) -> Scope:
    return lambda actor: or_(person == own_person(actor), spouse == own_person(actor))


def _region(column: Any) -> Scope:
    return lambda actor: within(column, actor.region_code)


def _clinic_in_region(clinic_id: Any) -> Scope:
    return lambda actor: clinic_id.in_(select(Clinic.id).where(within(Clinic.region_code, actor.region_code)))


def _own_clinic(clinic_id: Any) -> Scope:
    return lambda actor: clinic_id.in_(select(Clinic.id).where(Clinic.organization_id == actor.id))


def unrestricted(actor: Actor) -> ColumnElement[bool]:
    """With the data of who is to be erased once a duty to keep has ended nothing is done but storing: workers do not
    see the person meanwhile, but for those who decide about it (PIPL art. 47)."""
    if actor.role is Role.RESIDENT or actor.may(Permission.ERASURE_DECIDE):
        return true()
    return Person.restricted_at.is_(None)


def _lies_within(model: type[Person] | type[Household], id: Any, actor: Actor) -> ColumnElement[bool]:
    subject = aliased(model)  # a query around it may have people or households of its own
    return exists().where(subject.id == id, _region(subject.region_code)(actor))


def _kept_household(id: Any) -> Any:
    written = aliased(Household)
    kept = select(func.coalesce(written.merged_into, written.id)).where(written.id == id)
    return kept.correlate_except(written).scalar_subquery()


def _once_belonged_within(person: Any, actor: Actor) -> ColumnElement[bool]:
    membership, home = aliased(Membership), aliased(Household)
    return exists().where(
        membership.person_id == person,
        home.id == membership.household_id,
        _region(home.region_code)(actor),
    )


def _nobody_restricted(actor: Actor, *people: Any) -> ColumnElement[bool]:
    """What is about somebody restricted is as unseen as the person."""
    if actor.may(Permission.ERASURE_DECIDE):
        return true()
    hidden = [aliased(Person) for _ in people]
    return and_(
        *(
            ~exists().where(one.id == id, one.restricted_at.is_not(None))
            for one, id in zip(hidden, people, strict=True)
        )
    )


def _of_own_household(actor: Actor, person: Any) -> ColumnElement[bool]:
    housemate = aliased(Membership)
    return exists().where(
        housemate.person_id == person,
        housemate.valid_to.is_(None),
        housemate.household_id == own_household(actor),
    )


def _bound_since(actor: Actor, asked_at: Any) -> ColumnElement[bool]:
    """A binding that was released as wrong, or replaced, leaves nothing of what was asked for under it."""
    account = aliased(ResidentAccount)
    return exists().where(
        account.id == actor.account_id, account.person_id.is_not(None), account.bound_at <= asked_at
    )


def _fund_seen(actor: Actor) -> ColumnElement[bool]:
    """The funds of the own region and, as those are what one spends from, of the regions above."""
    above = Fund.region_code.in_(_at_or_above(actor.region_code))
    return or_(within(Fund.region_code, actor.region_code), above)


def _of_fund(fund_id: Any) -> Scope:
    return lambda actor: fund_id.in_(select(Fund.id).where(_fund_seen(actor)))


def _own_gift(donation_id: Any, actor: Actor) -> ColumnElement[bool]:
    gift = aliased(Donation)
    return exists().where(gift.id == donation_id, gift.account_id == actor.account_id)


def _gift_of_fund(donation_id: Any, actor: Actor) -> ColumnElement[bool]:
    gift = aliased(Donation)
    return exists().where(gift.id == donation_id, _of_fund(gift.fund_id)(actor))


SCOPE: dict[type[Base], Scope] = {
    Household: _rule(
        # One's own, and the form that one has under way; who has left a household sees it no more.
        resident=lambda a: or_(
            Household.id == own_household(a),
            and_(Household.account_id == a.account_id, Household.status.in_(PENDING)),
        ),
        # A draft is the resident's own until it is submitted.
        worker=lambda a: and_(
            within(Household.region_code, a.region_code), Household.status != HouseholdStatus.DRAFT
        ),
    ),
    Person: _rule(
        resident=lambda a: or_(
            Person.id == own_person(a),
            exists().where(
                Membership.person_id == Person.id,
                Membership.valid_to.is_(None),
                Membership.household_id == own_household(a),
            ),
        ),
        worker=lambda a: and_(_region(Person.region_code)(a), unrestricted(a)),
    ),
    Consent: _rule(
        resident=lambda a: or_(
            Consent.person_id == own_person(a),
            and_(Consent.guardian_id == own_person(a), under_guardian()),
        )
    ),
    Correction: _rule(
        resident=lambda a: or_(
            Correction.person_id == own_person(a),
            # What one asked for others, as long as one belongs to them.
            and_(
                Correction.requester_role == Role.RESIDENT,
                Correction.requested_by == a.account_id,
                or_(_of_own_household(a, Correction.person_id), Correction.household_id == own_household(a)),
            ),
        ),
        # Where the person or household is now: a request follows who moves.
        worker=lambda a: and_(
            _region(Correction.region_code)(a), _nobody_restricted(a, Correction.person_id)
        ),
    ),
    Erasure: _rule(
        resident=lambda a: or_(
            Erasure.person_id == own_person(a),
            and_(
                Erasure.requester_role == Role.RESIDENT,
                Erasure.requested_by == a.account_id,
                _bound_since(a, Erasure.requested_at),
            ),
        ),
        worker=_region(Erasure.region_code),
    ),
    # What is asked is no secret.
    SurveyTemplate: _rule(resident=lambda _: true(), worker=lambda _: true()),
    # Whoever sees one of the two knows of the suspicion; who sees both decides.
    Suspicion: _rule(
        worker=lambda a: or_(
            _lies_within(Person, Suspicion.person_a, a), _lies_within(Person, Suspicion.person_b, a)
        )
    ),
    # Also where they once belonged: whoever is kept may be counted nowhere since.
    Merge: _rule(
        worker=lambda a: or_(
            _lies_within(Person, Merge.kept_person_id, a),
            _once_belonged_within(Merge.kept_person_id, a),
            _lies_within(Household, Merge.kept_household_id, a),
            _lies_within(Household, Merge.lost_household_id, a),
        )
    ),
    # Where the household is now: its answers follow it.
    SurveyResponse: _rule(
        resident=lambda a: SurveyResponse.household_id == own_household(a),
        worker=lambda a: _lies_within(Household, SurveyResponse.household_id, a),
    ),
    # What the own region added, to be retired there. What may be reported is no secret (results/catalogue).
    ServiceItem: _rule(worker=_region(ServiceItem.region_code)),
    # Slots are no secret; drafts are their publisher's.
    Slot: _rule(
        resident=lambda _: Slot.status != SlotStatus.DRAFT,
        worker=_clinic_in_region(Slot.clinic_id),
        partner=_own_clinic(Slot.clinic_id),
    ),
    **{
        model: _rule(
            worker=_clinic_in_region(model.clinic_id),
            partner=_own_clinic(model.clinic_id),
        )
        for model in (Room, Practitioner, Schedule)
    },
    Clinic: _rule(
        resident=lambda _: true(),
        worker=_region(Clinic.region_code),
        partner=lambda a: Clinic.organization_id == a.id,
    ),
    Appointment: _rule(
        resident=_own(Appointment.person_id, Appointment.spouse_id),
        worker=lambda a: and_(
            _region(Appointment.region_code)(a),
            _nobody_restricted(a, Appointment.person_id, Appointment.spouse_id),
        ),
        partner=lambda a: Appointment.clinic_id.in_(select(Clinic.id).where(Clinic.organization_id == a.id)),
    ),
    AttendanceCertificate: _rule(resident=lambda a: AttendanceCertificate.person_id == own_person(a)),
    WaitlistEntry: _rule(
        resident=_own(WaitlistEntry.person_id, WaitlistEntry.spouse_id),
        worker=lambda a: and_(
            _region(WaitlistEntry.region_code)(a),
            _nobody_restricted(a, WaitlistEntry.person_id, WaitlistEntry.spouse_id),
        ),
    ),
    Closure: _rule(
        worker=lambda a: Closure.clinic_id.in_(
            select(Clinic.id).where(within(Clinic.region_code, a.region_code))
        ),
        partner=lambda a: Closure.clinic_id.in_(select(Clinic.id).where(Clinic.organization_id == a.id)),
    ),
    Settlement: _rule(
        worker=_clinic_in_region(Settlement.clinic_id), partner=_own_clinic(Settlement.clinic_id)
    ),
    DiagnosticReport: _rule(
        resident=_own(DiagnosticReport.person_id, DiagnosticReport.spouse_id),
        worker=lambda a: and_(
            _region(DiagnosticReport.region_code)(a),
            _nobody_restricted(a, DiagnosticReport.person_id, DiagnosticReport.spouse_id),
        ),
        partner=lambda a: DiagnosticReport.organization_id == a.id,
    ),
    FollowUp: _rule(
        resident=lambda a: FollowUp.person_id == own_person(a),
        worker=lambda a: and_(_region(FollowUp.region_code)(a), _nobody_restricted(a, FollowUp.person_id)),
        partner=lambda a: FollowUp.referred_to == a.id,
    ),
    # Where the person is counted now.
    SupplyPlan: _rule(
        resident=lambda a: SupplyPlan.person_id == own_person(a),
        worker=lambda a: and_(
            _lies_within(Person, SupplyPlan.person_id, a), _nobody_restricted(a, SupplyPlan.person_id)
        ),
    ),
    # The villages of a rotation see it, and whoever is above.
    Rotation: _rule(
        worker=lambda a: or_(
            within(Rotation.region_code, a.region_code), Rotation.region_code.in_(_at_or_above(a.region_code))
        )
    ),
    RotationTurn: _rule(
        # From the invitation on: a plan may change until then.
        resident=lambda a: and_(
            RotationTurn.person_id == own_person(a),
            RotationTurn.status.not_in([TurnStatus.PLANNED, TurnStatus.DROPPED]),
        ),
        worker=lambda a: and_(
            _region(RotationTurn.region_code)(a), _nobody_restricted(a, RotationTurn.person_id)
        ),
    ),
    InboxMessage: _rule(resident=lambda a: InboxMessage.person_id == own_person(a)),
    LifeEvent: _rule(
        # It goes with its household, and with the one into which that was merged.
        worker=lambda a: _lies_within(Household, _kept_household(LifeEvent.household_id), a),
    ),
    # Both villages: the one that hands over and the one that takes over.
    Move: _rule(
        worker=lambda a: or_(
            within(Move.from_region_code, a.region_code), within(Move.to_region_code, a.region_code)
        ),
    ),
    ImportBatch: _rule(worker=_region(ImportBatch.region_code)),
    Fund: _rule(resident=lambda _: true(), worker=_fund_seen),
    Campaign: _rule(
        resident=lambda _: Campaign.status != CampaignStatus.DRAFT, worker=_of_fund(Campaign.fund_id)
    ),
    BudgetLine: _rule(worker=_of_fund(BudgetLine.fund_id)),
    Donation: _rule(
        resident=lambda a: Donation.account_id == a.account_id, worker=_of_fund(Donation.fund_id)
    ),
    DonationFile: _rule(worker=_of_fund(DonationFile.fund_id)),
    OrganizationDonor: _rule(worker=_region(OrganizationDonor.region_code)),
    GoodsDelivery: _rule(worker=lambda a: _gift_of_fund(GoodsDelivery.donation_id, a)),
    Pledge: _rule(resident=lambda a: Pledge.account_id == a.account_id, worker=_of_fund(Pledge.fund_id)),
    ReceiptRequest: _rule(
        resident=lambda a: _own_gift(ReceiptRequest.donation_id, a),
        worker=lambda a: _gift_of_fund(ReceiptRequest.donation_id, a),
    ),
    PaymentOrder: _rule(
        resident=lambda a: PaymentOrder.account_id == a.account_id,
        worker=lambda a: _gift_of_fund(PaymentOrder.id, a),
    ),
    Refund: _rule(
        resident=lambda a: _own_gift(Refund.order_id, a), worker=lambda a: _gift_of_fund(Refund.order_id, a)
    ),
    Disbursement: _rule(worker=_region(Disbursement.region_code)),
    BankFile: _rule(worker=_region(BankFile.region_code)),
    # Those above bind whoever has no own.
    ApprovalLimit: _rule(
        worker=lambda a: or_(
            within(ApprovalLimit.region_code, a.region_code),
            ApprovalLimit.region_code.in_(_at_or_above(a.region_code)),
        )
    ),
    # One merchant number, one set of books.
    **{model: _rule(worker=lambda _: true()) for model in (BillFile, ReconciliationDifference)},
    # Nobody's name is in them: what was posted is public.
    **{model: _rule(worker=lambda _: true()) for model in (LedgerAccount, Transfer, LedgerPeriod)},
    Organization: _rule(
        worker=_region(Organization.region_code),
        partner=lambda a: Organization.id == a.id,
        system_administrator=_region(Organization.region_code),
    ),
    SavedFilter: _rule(worker=lambda a: SavedFilter.created_by == a.id),
    RegistryExport: _rule(worker=lambda a: RegistryExport.created_by == a.id),
    StaffAccount: _rule(
        worker=lambda a: StaffAccount.id == a.id, system_administrator=_region(StaffAccount.region_code)
    ),
    RegionSuccession: _rule(system_administrator=_region(RegionSuccession.old_code)),
    Station: _rule(worker=_region(Station.region_code)),
    RosterMember: _rule(worker=_region(RosterMember.region_code)),
    TrainingCertificate: _rule(
        worker=lambda a: TrainingCertificate.member_id.in_(
            select(RosterMember.id).where(within(RosterMember.region_code, a.region_code))
        )
    ),
    SignIn: _rule(
        # With the door: an administrator chooses the ids of workers, and may choose that of a resident.
        resident=lambda a: and_(SignIn.door == CITIZEN_DOOR, SignIn.account_id == a.id),
        worker=lambda a: and_(SignIn.door == STAFF_DOOR, SignIn.account_id == a.id),
        system_administrator=lambda a: and_(
            SignIn.door == STAFF_DOOR,
            SignIn.account_id.in_(
                select(StaffAccount.id).where(within(StaffAccount.region_code, a.region_code))
            ),
        ),
    ),
}


def visible(actor: Actor, model: type[Base]) -> ColumnElement[bool]:
    """The rows of a model that this actor may know of, as a WHERE condition."""
    return SCOPE[model](actor)


Row = TypeVar("Row", bound=Base)


async def fetch(
    db: AsyncSession, actor: Actor, model: type[Row], id: uuid.UUID, *, lock: bool = False
) -> Row:
    """One visible row, or NotFound. `lock` holds it until the transaction ends."""
    query = select(model).where(model.id == id, visible(actor, model))  # type: ignore[attr-defined]
    row = await db.scalar(query.with_for_update(of=model) if lock else query)
    if row is None:
        raise NotFound
    return row
