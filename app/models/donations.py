"""What was given, by whom if they want to be known, what was promised, and the papers about it."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class Channel(StrEnum):
    WECHAT = "wechat"
    BANK = "bank"
    CASH = "cash"
    PLATFORM = "platform"
    IN_KIND = "in_kind"


class ShownAs(StrEnum):
    """What the public sees of a donor (慈善法 art. 82, PIPL art. 25): nothing unless they agree."""

    ANONYMOUS = "anonymous"
    INITIAL = "initial"
    NAME = "name"


class DonationStatus(StrEnum):
    """pending → received → part_refunded → refunded; pending → abandoned; abandoned → received, if the money comes
    late; received → reversed, if it was entered in error."""

    PENDING = "pending"
    ABANDONED = "abandoned"
    RECEIVED = "received"
    PART_REFUNDED = "part_refunded"
    REFUNDED = "refunded"
    REVERSED = "reversed"


#: What the public list shows and its totals count.
SHOWN = text("status IN ('received', 'part_refunded')")


class OrganizationDonor(Base):
    """A company or other body that gives. Its name is public if it says so; who answers for it is not."""

    __tablename__ = "organization_donor"
    __table_args__ = (Index("ix_organization_donor_region_code", "region_code", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    name: Mapped[str]
    #: 统一社会信用代码 (GB 32100).
    credit_code: Mapped[str | None] = mapped_column(unique=True)
    contact_sealed: Mapped[bytes | None]
    contact = Sealed()
    phone_sealed: Mapped[bytes | None]
    phone = Sealed()
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class Donation(Base):
    """A gift, received or on its way. `amount_fen` of a gift in kind is its valuation. `salt` opens the commitment in
    the public log: without it nobody can tell any more what was committed to, and every proof still holds."""

    __tablename__ = "donation"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount_fen"),
        CheckConstraint("refunded_fen BETWEEN 0 AND amount_fen", name="refunded_fen"),
        CheckConstraint("(channel = 'in_kind') = (goods IS NOT NULL)", name="goods"),
        CheckConstraint("num_nonnulls(account_id, organization_donor_id) <= 1", name="one_donor"),
        CheckConstraint("(status IN ('pending', 'abandoned')) = (transfer_id IS NULL)", name="transfer_id"),
        UniqueConstraint("transfer_id"),
        # A line of a bank statement or of a platform's file is taken once, and anew if it was entered in error.
        Index(
            "uq_donation_source", "channel", "source", unique=True,
            postgresql_where=text("source IS NOT NULL AND status <> 'reversed'"),
        ),
        Index("ix_donation_source", "source", postgresql_where=text("source IS NOT NULL")),
        # The list that workers see, newest first.
        Index("ix_donation_created_at", "created_at", "id"),
        Index("ix_donation_fund_id", "fund_id", "created_at", "id"),
        Index(
            "ix_donation_not_thanked", "id",
            postgresql_where=text("status = 'received' AND account_id IS NOT NULL AND thanked_at IS NULL"),
        ),
        Index(
            "ix_donation_abandoned_name", "created_at",
            postgresql_where=text("status = 'abandoned' AND donor_name_sealed IS NOT NULL"),
        ),
        Index(
            "ix_donation_campaign_id", "campaign_id", "created_at", "id",
            postgresql_where=text("campaign_id IS NOT NULL"),
        ),
        Index("ix_donation_campaign_id_goods", "campaign_id", postgresql_where=text("channel = 'in_kind'")),
        Index("ix_donation_account_id", "account_id", "id", postgresql_where=text("account_id IS NOT NULL")),
        Index("ix_donation_organization_donor_id", "organization_donor_id", "created_at", "id"),
        Index("ix_donation_file_id", "file_id", postgresql_where=text("file_id IS NOT NULL")),
        # The public list, newest first, and its totals, read from here alone.
        Index(
            "ix_donation_fund_id_shown", "fund_id", "donated_at", "transfer_id", postgresql_where=SHOWN,
            postgresql_include=["amount_fen", "refunded_fen"],
        ),
        Index(
            "ix_donation_campaign_id_shown", "campaign_id", "donated_at", "transfer_id",
            postgresql_where=text(f"{SHOWN} AND campaign_id IS NOT NULL"),
            postgresql_include=["amount_fen", "refunded_fen"],
        ),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: On the certificate; says nothing about the donor.
    number: Mapped[str] = mapped_column(unique=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    campaign_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("campaign.id"))
    channel: Mapped[Channel]
    amount_fen: Mapped[int]
    refunded_fen: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[DonationStatus]
    donated_at: Mapped[datetime]
    transfer_id: Mapped[uuid.UUID | None]
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("resident_account.id"))
    organization_donor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organization_donor.id"))
    pledge_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("pledge.id"))
    shown_as: Mapped[ShownAs]
    #: As the public list shows it, made from the name and `shown_as`; None: 爱心人士.
    public_name: Mapped[str | None]
    donor_name_sealed: Mapped[bytes | None]
    donor_name = Sealed()
    salt: Mapped[bytes | None]
    commitment: Mapped[bytes]
    #: What, how many, how valued by whom.
    goods: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Number at the bank or platform.
    source: Mapped[str | None]
    file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("donation_file.id"))
    recorded_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    #: When the donor's inbox was told that it came.
    thanked_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class DonationFile(Base):
    """A file of gifts from a bank or platform that was taken in, with what became of its lines."""

    __tablename__ = "donation_file"
    __table_args__ = (UniqueConstraint("fund_id", "digest"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    channel: Mapped[Channel]
    digest: Mapped[bytes]
    lines: Mapped[int]
    amount_fen: Mapped[int]
    uploaded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    uploaded_at: Mapped[datetime]


class GoodsDelivery(Base):
    """Goods of a gift handed out, append-only: no more than were given. `amount_fen`: their part of the valuation."""

    __tablename__ = "goods_delivery"
    __table_args__ = (
        CheckConstraint("quantity > 0 AND amount_fen > 0", name="quantity"),
        Index("ix_goods_delivery_donation_id", "donation_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    donation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("donation.id"))
    quantity: Mapped[int]
    amount_fen: Mapped[int]
    #: For what. To whom is in the papers of that, and yet somebody may write it here.
    purpose_sealed: Mapped[bytes]
    purpose = Sealed()
    delivered_on: Mapped[date]
    transfer_id: Mapped[uuid.UUID]
    recorded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    recorded_at: Mapped[datetime]


class PledgeStatus(StrEnum):
    OPEN = "open"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"


class Pledge(Base):
    """A promise to give by a day (捐赠协议). Not money: nothing of it is in the ledger until it comes."""

    __tablename__ = "pledge"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="amount_fen"),
        CheckConstraint("received_fen >= 0", name="received_fen"),
        CheckConstraint("num_nonnulls(account_id, organization_donor_id) = 1", name="one_donor"),
        Index("ix_pledge_fund_id", "fund_id", "created_at", "id"),
        Index("ix_pledge_account_id", "account_id", "id", postgresql_where=text("account_id IS NOT NULL")),
        Index("ix_pledge_due_on", "due_on", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("resident_account.id"))
    organization_donor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organization_donor.id"))
    amount_fen: Mapped[int]
    received_fen: Mapped[int] = mapped_column(server_default="0")
    due_on: Mapped[date]
    status: Mapped[PledgeStatus]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class ReceiptStatus(StrEnum):
    REQUESTED = "requested"
    ISSUED = "issued"
    REVERSED = "reversed"  # 红冲
    REFUSED = "refused"


class ReceiptRequest(Base):
    """A 公益事业捐赠票据 asked for. The finance department's system issues it; here is its number and its state."""

    __tablename__ = "receipt_request"
    __table_args__ = (
        Index(
            "uq_receipt_request_donation_id_live", "donation_id", unique=True,
            postgresql_where=text("status IN ('requested', 'issued')"),
        ),
        Index("uq_receipt_request_number", "receipt_code", "receipt_number", unique=True),
        Index("ix_receipt_request_status", "status", "requested_at", "id"),
        Index("ix_receipt_request_donation_id", "donation_id", "id"),
        CheckConstraint(
            "(status IN ('issued', 'reversed')) = (receipt_number IS NOT NULL)", name="receipt_number"
        ),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    donation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("donation.id"))
    status: Mapped[ReceiptStatus]
    payer_sealed: Mapped[bytes | None]
    payer = Sealed()
    #: Credit code of a body; of a person the identity number, if they want it there.
    payer_number_sealed: Mapped[bytes | None]
    payer_number = Sealed()
    receipt_code: Mapped[str | None]
    receipt_number: Mapped[str | None]
    check_code: Mapped[str | None]
    issued_on: Mapped[date | None]
    #: Why it was refused or reversed.
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    version: Mapped[int] = mapped_column(server_default="1")
    requested_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}
