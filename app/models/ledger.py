"""The ledger: accounts, their balances, and one row for each transfer between two of them. Written by the functions in
`sql/` alone: the application's database role may read these tables and call the functions."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class AccountClass(StrEnum):
    """The elements of 民间非营利组织会计制度: assets and costs grow by debit, the others by credit."""

    ASSET = "asset"
    LIABILITY = "liability"
    NET_ASSETS = "net_assets"
    INCOME = "income"
    COST = "cost"


class LedgerAccount(Base):
    """One account, append-only. Those with the same `limit_id`, a fund's money or its goods, together never fall below
    nothing. A busy one keeps its balance in many `shards`, so that payments that meet need not wait for one another."""

    __tablename__ = "ledger_account"
    __table_args__ = (
        CheckConstraint("shards BETWEEN 1 AND 64", name="shards"),
        Index("ix_ledger_account_fund_id", "fund_id"),
        Index("ix_ledger_account_limit_id", "limit_id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    #: As an accountant writes it: 1002, 100901, 410101-CARE.
    code: Mapped[str] = mapped_column(unique=True)
    zh: Mapped[str]
    en: Mapped[str]
    account_class: Mapped[AccountClass]
    currency: Mapped[str]
    fund_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("fund.id"))
    limit_id: Mapped[uuid.UUID | None]
    shards: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]


class AccountBalance(Base):
    """A part of an account's balance. `pending`: held, not yet posted or voided; it counts against the fund's limit."""

    __tablename__ = "account_balance"
    __table_args__ = (
        CheckConstraint("debits >= 0 AND credits >= 0 AND pending >= 0", name="not_negative"),
        {"postgresql_with": {"fillfactor": 50}},
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("ledger_account.id"), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    debits: Mapped[int] = mapped_column(server_default="0")
    credits: Mapped[int] = mapped_column(server_default="0")
    pending: Mapped[int] = mapped_column(server_default="0")


class TransferKind(StrEnum):
    DONATION = "donation"
    IN_KIND = "in_kind"
    UNMATCHED = "unmatched"  # money that nothing explains yet, in suspense
    MATCHED = "matched"  # out of suspense
    REFUND = "refund"
    FEE = "fee"
    SETTLEMENT = "settlement"  # from the payment provider to the bank
    DISBURSEMENT = "disbursement"
    DELIVERY = "delivery"  # goods handed out
    REVERSAL = "reversal"
    LEFTOVER = "leftover"  # what a closed campaign leaves, to another fund
    CLOSING = "closing"  # income and costs of a year into net assets


class Phase(StrEnum):
    """A hold reserves; it is posted, for no more than was held, or voided, once, by a second row naming it."""

    SINGLE = "single"
    HOLD = "hold"
    POST = "post"
    VOID = "void"


class Transfer(Base):
    """Money from one account to another, append-only: corrections are reversals. `group_id` joins the parts of one
    event. `commitment`: a salted hash of what must not be public, so that it can be proved and forgotten."""

    __tablename__ = "transfer"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount_fen"),
        CheckConstraint("debit_account_id <> credit_account_id", name="two_accounts"),
        CheckConstraint("(pending_id IS NOT NULL) = (phase IN ('post', 'void'))", name="pending_id"),
        CheckConstraint("(reverses_id IS NOT NULL) = (kind = 'reversal')", name="reverses_id"),
        Index("uq_transfer_pending_id", "pending_id", unique=True, postgresql_where=text("pending_id IS NOT NULL")),
        Index(
            "uq_transfer_reverses_id", "reverses_id", unique=True, postgresql_where=text("reverses_id IS NOT NULL")
        ),
        Index("ix_transfer_debit_account_id", "debit_account_id", "effective_on", "recorded_at", "id"),
        Index("ix_transfer_credit_account_id", "credit_account_id", "effective_on", "recorded_at", "id"),
        Index("ix_transfer_group_id", "group_id", postgresql_where=text("group_id IS NOT NULL")),
        Index("ix_transfer_effective_on", "effective_on", "recorded_at", "id"),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    # No foreign keys here: the balances updated with it prove that the accounts exist.
    debit_account_id: Mapped[int]
    credit_account_id: Mapped[int]
    amount_fen: Mapped[int]
    currency: Mapped[str]
    kind: Mapped[TransferKind]
    phase: Mapped[Phase]
    group_id: Mapped[uuid.UUID | None]
    pending_id: Mapped[uuid.UUID | None]
    reverses_id: Mapped[uuid.UUID | None]
    fingerprint: Mapped[bytes]
    #: The order, disbursement, bill line … that it is about: a table and an id, nothing personal.
    reference: Mapped[str]
    commitment: Mapped[bytes | None]
    #: The business date in Shanghai that the books count it to.
    effective_on: Mapped[date]
    recorded_at: Mapped[datetime]


class RefusedTransfer(Base):
    """A transfer that was refused for want of money, append-only: under the same id it is refused again."""

    __tablename__ = "refused_transfer"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    reason: Mapped[str]
    recorded_at: Mapped[datetime]


class ReversalReason(StrEnum):
    WRONG_ACCOUNT = "wrong_account"
    WRONG_AMOUNT = "wrong_amount"
    ENTERED_TWICE = "entered_twice"
    NOT_RECEIVED = "not_received"  # the money never came
    RETURNED = "returned"  # the bank sent it back


class Reversal(Base):
    """Why a transfer was reversed and by whom, append-only. `id`: the transfer that reverses it."""

    __tablename__ = "reversal"
    __table_args__ = (UniqueConstraint("transfer_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    transfer_id: Mapped[uuid.UUID]
    reason: Mapped[ReversalReason]
    reversed_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    reversed_at: Mapped[datetime]


class LedgerPeriod(Base):
    """A month whose books are closed, append-only: nothing is dated into it any more, nor into those before it."""

    __tablename__ = "ledger_period"
    __table_args__ = (
        UniqueConstraint("month"),
        CheckConstraint("EXTRACT(day FROM month) = 1", name="month"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    month: Mapped[date]
    closed_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    closed_at: Mapped[datetime]


class LedgerTurnover(Base):
    """What moved on an account in a closed month, append-only: added up once, when it was closed."""

    __tablename__ = "ledger_turnover"

    month: Mapped[date] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("ledger_account.id"), primary_key=True)
    kind: Mapped[TransferKind] = mapped_column(primary_key=True)
    debits: Mapped[int]
    credits: Mapped[int]
