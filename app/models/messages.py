"""What residents are told: the inbox of each, what of it is sent as a WeChat subscription message, how many of those
somebody agreed to, and the shared access token."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class NoticeKind(StrEnum):
    """What somebody is told. The texts are data (app/data/messages.json) and never say a result."""

    APPOINTMENT_REMINDER = "appointment_reminder"
    APPOINTMENT_CANCELLED = "appointment_cancelled"
    APPOINTMENT_MOVED = "appointment_moved"
    PLACE_OFFERED = "place_offered"
    OFFER_EXPIRED = "offer_expired"
    CLOSED_ANOTHER_OFFERED = "closed_another_offered"
    CLOSED_NONE_FREE = "closed_none_free"
    WAITING_ENDED = "waiting_ended"
    INVITATION = "invitation"
    REPORT_RELEASED = "report_released"
    REPORT_CHANGED = "report_changed"
    CONTACT_REQUESTED = "contact_requested"
    SUPPLY_READY = "supply_ready"
    CERTIFICATE_READY = "certificate_ready"
    DONATION_RECEIVED = "donation_received"
    RECEIPT_UPDATED = "receipt_updated"


class InboxMessage(Base):
    """One notice to one person. `values` fill the text: what, where, when; never a name, a result or a diagnosis.
    `once` tells apart notices of one kind about one thing, each of which is told once."""

    __tablename__ = "inbox_message"
    __table_args__ = (
        UniqueConstraint("person_id", "kind", "entity_id", "once"),
        Index("ix_inbox_message_person_id", "person_id", "id"),
        # Of the nightly removal of what was told long ago.
        Index("ix_inbox_message_created_at", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    kind: Mapped[NoticeKind]
    entity: Mapped[str]
    entity_id: Mapped[uuid.UUID]
    once: Mapped[str] = mapped_column(server_default="")
    values: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]


class MessageStatus(StrEnum):
    """`dropped`: it was no longer worth sending, or no longer theirs."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    DROPPED = "dropped"


class SubscriptionMessage(Base):
    """A notice of the inbox on its way to one account by WeChat, sent at most once: a row left in `sending` by a crash
    stays there, because a second message is worse than none."""

    __tablename__ = "subscription_message"
    __table_args__ = (
        UniqueConstraint("inbox_message_id", "account_id"),
        Index("ix_subscription_message_account_id", "account_id"),
        Index(
            "ix_subscription_message_queued", "next_attempt_at", postgresql_where=text("status = 'queued'")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("resident_account.id"))
    inbox_message_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("inbox_message.id"))
    status: Mapped[MessageStatus]
    attempts: Mapped[int] = mapped_column(server_default="0")
    error_code: Mapped[int | None]
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class MessageCredit(Base):
    """How many messages of a WeChat template a resident has agreed to receive and not yet received."""

    __tablename__ = "message_credit"
    __table_args__ = (CheckConstraint("remaining >= 0", name="remaining"),)

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("resident_account.id"), primary_key=True)
    template_id: Mapped[str] = mapped_column(primary_key=True)
    remaining: Mapped[int]


class WechatToken(Base):
    """The stable_token that all processes share. `refreshing_until` is the lease of the one that renews it."""

    __tablename__ = "wechat_token"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_sealed: Mapped[bytes | None]
    token = Sealed()
    expires_at: Mapped[datetime]
    refreshing_until: Mapped[datetime]
