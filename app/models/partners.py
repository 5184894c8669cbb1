"""Partner hospitals: who they are, the keys they sign with."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class Algorithm(StrEnum):
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SM3 = "hmac-sm3"


class Organization(Base):
    """A hospital or clinic operator that residents are booked with. So many requests a minute it may send, and so many
    at once after a pause."""

    __tablename__ = "organization"
    __table_args__ = (
        CheckConstraint("requests_per_minute BETWEEN 6 AND 60000", name="requests_per_minute"),
        CheckConstraint("burst BETWEEN 4 AND 10000", name="burst"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    algorithm: Mapped[Algorithm]
    requests_per_minute: Mapped[int] = mapped_column(server_default="1200")
    burst: Mapped[int] = mapped_column(server_default="600")
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class PartnerKey(Base):
    """A signing secret. Two may live at once, so that a hospital can change over without a pause."""

    __tablename__ = "partner_key"
    __table_args__ = (Index("ix_partner_key_organization_id", "organization_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organization.id"))
    secret_sealed: Mapped[bytes]
    secret = Sealed()
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class PartnerNonce(Base):
    """Every accepted (partner, message id, timestamp), kept for longer than a timestamp is good for:
    the same signed request is never accepted twice, by whichever process."""

    __tablename__ = "partner_nonce"
    __table_args__ = (Index("ix_partner_nonce_sent_at", "sent_at"),)

    organization_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    sent_at: Mapped[datetime] = mapped_column(primary_key=True)


class PartnerAllowance(Base):
    """How many requests a hospital may send just now. Unlogged: a request must not wait for the disk for its sake, and
    after a crash all begin afresh."""

    __tablename__ = "partner_allowance"
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}}

    organization_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    remaining: Mapped[float]
    at: Mapped[datetime]
