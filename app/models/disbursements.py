"""Spending: from a draft to what the payee acknowledged, under four eyes and more; and the bank's files."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base
from app.models.identity import Role


class DisbursementStatus(StrEnum):
    """draft → submitted → approved → paid → acknowledged; submitted → rejected; approved → voided | expired;
    paid → voided, when the bank sent it back."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    REJECTED = "rejected"
    APPROVED = "approved"
    PAID = "paid"
    ACKNOWLEDGED = "acknowledged"
    VOIDED = "voided"
    EXPIRED = "expired"


class PayeeKind(StrEnum):
    PERSON = "person"
    ORGANIZATION = "organization"


class Disbursement(Base):
    """Money out of a fund to one payee. Approving holds it in the ledger; paying posts no more than was held. Whoever
    submits does not approve, and neither of them pays. `source` and `source_id`: what of another domain it pays for,
    once (a grant, a premium)."""

    __tablename__ = "disbursement"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount_fen"),
        CheckConstraint("paid_fen IS NULL OR paid_fen BETWEEN 1 AND amount_fen", name="paid_fen"),
        CheckConstraint("approved_by IS NULL OR approved_by <> submitted_by", name="submitter_approver"),
        CheckConstraint("paid_by IS NULL OR paid_by NOT IN (submitted_by, approved_by)", name="payer"),
        Index(
            "uq_disbursement_source_live", "source", "source_id", unique=True,
            postgresql_where=text("source IS NOT NULL AND status NOT IN ('rejected', 'voided', 'expired')"),
        ),
        Index("ix_disbursement_fund_id", "fund_id", "id"),
        Index("ix_disbursement_region_code", "region_code", "status", "created_at"),
        Index("ix_disbursement_created_at", "created_at", "id"),
        Index("ix_disbursement_bank_file_id", "bank_file_id"),
        Index("ix_disbursement_person_id", "person_id", postgresql_where=text("person_id IS NOT NULL")),
        Index("ix_disbursement_expires_at", "expires_at", postgresql_where=text("status = 'approved'")),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: On the bank's file.
    number: Mapped[str] = mapped_column(unique=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    budget_line_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("budget_line.id"))
    campaign_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("campaign.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    amount_fen: Mapped[int]
    paid_fen: Mapped[int | None]
    #: For the public: 紧急救助金; never about whom.
    purpose: Mapped[str]
    payee_kind: Mapped[PayeeKind]
    payee_sealed: Mapped[bytes | None]
    payee = Sealed()
    bank_name: Mapped[str]
    bank_account_sealed: Mapped[bytes | None]
    bank_account = Sealed()
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    source: Mapped[str | None]
    source_id: Mapped[uuid.UUID | None]
    status: Mapped[DisbursementStatus]
    submitted_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    approved_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    paid_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    #: The hold in the ledger.
    hold_id: Mapped[uuid.UUID | None]
    #: The file with the bank that it is in, or that paid it.
    bank_file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("bank_file.id"))
    expires_at: Mapped[datetime | None]
    acknowledged_on: Mapped[date | None]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class DisbursementEvent(Base):
    """A step of a disbursement: who, when, why; append-only. A bank file that takes it up or gives it back is told of
    beside the state that it stays in."""

    __tablename__ = "disbursement_event"
    __table_args__ = (Index("ix_disbursement_event_disbursement_id", "disbursement_id", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    disbursement_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("disbursement.id"))
    at: Mapped[datetime]
    status: Mapped[DisbursementStatus]
    actor_role: Mapped[Role]
    actor_id: Mapped[uuid.UUID | None]
    bank_file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("bank_file.id"))
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()


class BankFileStatus(StrEnum):
    """Open until the bank has answered every line; cancelled: what it had not answered is free for another file."""

    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"


class BankFile(Base):
    """A list of approved disbursements for the bank. Its answer comes back as a file and says of each paid or not."""

    __tablename__ = "bank_file"
    __table_args__ = (Index("ix_bank_file_region_code", "region_code", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    lines: Mapped[int]
    amount_fen: Mapped[int]
    status: Mapped[BankFileStatus]
    made_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    made_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class LineOutcome(StrEnum):
    PAID = "paid"
    FAILED = "failed"
    RELEASED = "released"  # the file was cancelled before the bank answered


class BankFileLine(Base):
    """A disbursement in a bank file, and what the bank said of it. One that waits for an answer is in one file only."""

    __tablename__ = "bank_file_line"
    __table_args__ = (
        Index(
            "uq_bank_file_line_disbursement_id_waiting", "disbursement_id", unique=True,
            postgresql_where=text("outcome IS NULL"),
        ),
    )  # fmt: skip

    bank_file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bank_file.id"), primary_key=True)
    disbursement_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("disbursement.id"), primary_key=True)
    outcome: Mapped[LineOutcome | None]


class ApprovalLimit(Base):
    """Up to how much a role may approve at once. A role without a row approves nothing."""

    __tablename__ = "approval_limit"
    __table_args__ = (
        UniqueConstraint("region_code", "role"),
        CheckConstraint("limit_fen > 0", name="limit_fen"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    role: Mapped[Role]
    limit_fen: Mapped[int]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
