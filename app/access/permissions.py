"""Who may do what, at the door."""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from app.errors import Forbidden
from app.models.identity import Role


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
