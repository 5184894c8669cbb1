"""Orders with WeChat Pay, the notices it sends, and refunds."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class OrderStatus(StrEnum):
    """created → prepaid → paid → part_refunded → refunded; created | prepaid → closed; closed → paid: a late notice
    wins, for the money has come."""

    CREATED = "created"
    PREPAID = "prepaid"
    PAID = "paid"
    PART_REFUNDED = "part_refunded"
    REFUNDED = "refunded"
    CLOSED = "closed"


#: Neither paid nor closed.
PAYABLE = (OrderStatus.CREATED, OrderStatus.PREPAID)


class PaymentOrder(Base):
    """The payment of a gift through WeChat Pay. It has the id of the donation."""

    __tablename__ = "payment_order"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount_fen"),
        Index("uq_payment_order_transaction_id", "transaction_id", unique=True),
        Index("ix_payment_order_account_id", "account_id", "id"),
        Index(
            "ix_payment_order_open",
            "next_query_at",
            postgresql_where=text("status IN ('created', 'prepaid')"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(ForeignKey("donation.id"), primary_key=True)
    #: 32 hex digits of the id.
    out_trade_no: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("resident_account.id"))
    amount_fen: Mapped[int]
    status: Mapped[OrderStatus]
    prepay_id: Mapped[str | None]
    transaction_id: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    #: When WeChat is asked again what became of it.
    next_query_at: Mapped[datetime]
    #: When the donor's phone had WeChat asked last.
    asked_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]


class PaymentNotice(Base):
    """A notice of WeChat Pay as it came, once its signature was found good; append-only. `outcome`: what it did."""

    __tablename__ = "payment_notice"
    __table_args__ = (Index("ix_payment_notice_received_at", "received_at"),)

    #: As WeChat numbers it: repeated deliveries have the same.
    id: Mapped[str] = mapped_column(primary_key=True)
    event_type: Mapped[str]
    #: Decrypted, without the payer.
    content: Mapped[dict[str, Any]]
    digest: Mapped[bytes]
    key_id: Mapped[str]
    outcome: Mapped[str]
    received_at: Mapped[datetime]


class RefundReason(StrEnum):
    """Chosen, not written: WeChat shows it to the payer."""

    DONOR_ASKED = "donor_asked"
    WRONG_AMOUNT = "wrong_amount"
    GIVEN_TWICE = "given_twice"
    WRONG_GOAL = "wrong_goal"  # meant for another fund or campaign
    NOT_ACCEPTABLE = "not_acceptable"  # the association may not or will not take it


class RefundStatus(StrEnum):
    """requested → approved → processing → succeeded | closed | abnormal; requested → rejected; abnormal →
    processing."""

    REQUESTED = "requested"
    REJECTED = "rejected"
    APPROVED = "approved"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    ABNORMAL = "abnormal"


#: Neither refused nor ended.
UNDER_WAY = text("status IN ('requested', 'approved', 'processing', 'abnormal')")


class Refund(Base):
    """Money back to who paid it, of a gift or out of suspense. Who asks does not approve; approving holds the money in
    the ledger, success posts it."""

    __tablename__ = "refund"
    __table_args__ = (
        CheckConstraint("amount_fen > 0 AND amount_fen <= paid_fen", name="amount_fen"),
        CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="four_eyes"),
        CheckConstraint("num_nonnulls(donation_id, difference_id) = 1", name="one_origin"),
        Index("uq_refund_donation_id_live", "donation_id", unique=True, postgresql_where=UNDER_WAY),
        Index("uq_refund_difference_id_live", "difference_id", unique=True, postgresql_where=UNDER_WAY),
        Index("ix_refund_donation_id", "donation_id"),
        Index("ix_refund_requested_at", "requested_at", "id"),
        Index(
            "ix_refund_open", "next_query_at",
            postgresql_where=text("status IN ('approved', 'processing')"),
        ),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The same at every try.
    out_refund_no: Mapped[str] = mapped_column(unique=True)
    donation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("donation.id"))
    #: Whose money in suspense it is.
    difference_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("reconciliation_difference.id"))
    #: 微信订单号 of the payment that it is of, and how much that was.
    transaction_id: Mapped[str]
    paid_fen: Mapped[int]
    amount_fen: Mapped[int]
    reason: Mapped[RefundReason]
    status: Mapped[RefundStatus]
    wechat_refund_id: Mapped[str | None]
    #: WeChat's word for why it did not take it.
    error_code: Mapped[str | None]
    requested_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    approved_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    #: Each approval holds anew: closed by WeChat and asked for again is another hold.
    hold_id: Mapped[uuid.UUID | None]
    next_query_at: Mapped[datetime | None]
    requested_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
