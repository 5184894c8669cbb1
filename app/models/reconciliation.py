"""The payment provider's daily bills, line by line, and what does not agree with the books."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class BillType(StrEnum):
    """交易账单: payments and refunds; 资金账单: what moved on the merchant's balance, pay-outs to the bank among it."""

    TRADE = "trade"
    FUND_FLOW = "fund_flow"


class BillFile(Base):
    """A day's bill, its hash verified unless somebody uploaded it, and its totals. `reconciled_at`: when it was matched
    with the books."""

    __tablename__ = "bill_file"
    __table_args__ = (UniqueConstraint("bill_date", "bill_type"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    bill_date: Mapped[date]
    bill_type: Mapped[BillType]
    #: SHA-1 of the uncompressed file, as WeChat states it; None: WeChat says that the day has no bill.
    sha1: Mapped[str | None]
    lines: Mapped[int]
    #: Of 资金账单: all that came in, and all that went out.
    paid_fen: Mapped[int]
    refunded_fen: Mapped[int]
    fee_fen: Mapped[int]
    #: 账户结余 after the last line of 资金账单: what WeChat holds for us.
    balance_fen: Mapped[int | None]
    uploaded_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    fetched_at: Mapped[datetime]
    reconciled_at: Mapped[datetime | None]


class LineKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    REVOKED = "revoked"
    FEE = "fee"
    PAYOUT = "payout"
    OTHER = "other"


class BillLine(Base):
    """A line of a bill without the payer, append-only. `transfer_id` and `fee_transfer_id`: what it is in the ledger,
    there yet or not; told by somebody else it has the same id."""

    __tablename__ = "bill_line"
    __table_args__ = (
        UniqueConstraint("file_id", "line"),
        Index("ix_bill_line_transfer_id", "transfer_id", postgresql_where=text("transfer_id IS NOT NULL")),
        Index("ix_bill_line_transaction_id", "transaction_id"),
        Index("ix_bill_line_out_refund_no", "out_refund_no", postgresql_where=text("out_refund_no IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bill_file.id"))
    line: Mapped[int]
    at: Mapped[datetime]
    kind: Mapped[LineKind]
    #: 微信订单号; of 资金账单 资金流水单号 and 业务凭证号 (out_trade_no).
    transaction_id: Mapped[str]
    out_trade_no: Mapped[str]
    out_refund_no: Mapped[str | None]
    refund_id: Mapped[str | None]
    #: 交易状态 or 退款状态; of 资金账单 收支类型.
    status: Mapped[str]
    #: What was paid, refunded or moved; never negative.
    amount_fen: Mapped[int]
    #: Charged for a payment; negative: given back with a refund.
    fee_fen: Mapped[int]
    transfer_id: Mapped[uuid.UUID | None]
    fee_transfer_id: Mapped[uuid.UUID | None]


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    STATUS = "status"
    FEE = "fee"
    UNEXPLAINED = "unexplained"  # money moved at WeChat, by no payment or refund
    BILL = "bill"  # one that was refused, or another for a day that has one


class DifferenceStatus(StrEnum):
    """open → matched (a later bill or notice explains it) | investigating → resolved | written_off (approved);
    investigating → refunding → resolved, or investigating if it does not go back; resolved | written_off →
    investigating, if what was booked is reversed."""

    OPEN = "open"
    MATCHED = "matched"
    INVESTIGATING = "investigating"
    REFUNDING = "refunding"
    RESOLVED = "resolved"
    WRITTEN_OFF = "written_off"


class ReconciliationDifference(Base):
    """Something on which the bill and the books do not agree, until somebody or a later day explains it. The amounts
    are what it does to 100901: a refund is less than nothing. `transfer_id`: put the money in suspense."""

    __tablename__ = "reconciliation_difference"
    __table_args__ = (
        UniqueConstraint("reference", "kind"),
        CheckConstraint("approved_by IS NULL OR approved_by <> proposed_by", name="four_eyes"),
        CheckConstraint("(status = 'written_off') = (approved_by IS NOT NULL)", name="approved_by"),
        CheckConstraint("approved_by IS NULL OR proposed_by IS NOT NULL", name="proposed_by"),
        CheckConstraint(
            "(status IN ('open', 'investigating', 'refunding')) = (resolved_at IS NULL)", name="resolved_at"
        ),
        Index("ix_reconciliation_difference_status", "status", "bill_date", "id"),
        Index("ix_reconciliation_difference_bill_date", "bill_date", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    bill_date: Mapped[date]
    kind: Mapped[DifferenceKind]
    status: Mapped[DifferenceStatus]
    #: Number at WeChat: of a transaction, out_refund_no, of a movement; or which bill.
    reference: Mapped[str]
    ours_fen: Mapped[int]
    theirs_fen: Mapped[int]
    transfer_id: Mapped[uuid.UUID | None]
    #: What it was: somebody may write who paid.
    note_sealed: Mapped[bytes | None]
    note = Sealed()
    #: That it be written off.
    proposed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    approved_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
