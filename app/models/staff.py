"""Association workers: one account a person, one role in one region, password and TOTP."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base
from app.models.identity import STAFF_ROLES, Role


class StaffAccount(Base):
    __tablename__ = "staff_account"
    __table_args__ = (
        Index("ix_staff_account_region_code", "region_code", "id"),
        CheckConstraint(f"role IN ({', '.join(repr(r.value) for r in STAFF_ROLES)})", name="staff_role"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[Role]
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    password_hash: Mapped[str]
    totp_secret_sealed: Mapped[bytes | None]
    totp_secret = Sealed()
    totp_enrolled_at: Mapped[datetime | None]
    totp_last_step: Mapped[int | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class SignInThrottle(Base):
    """Failures to sign in under a username since the last success, whether there is such an account or not:
    who tries names must not learn which exist."""

    __tablename__ = "sign_in_throttle"
    __table_args__ = (Index("ix_sign_in_throttle_failed_at", "failed_at"),)

    username_hash: Mapped[bytes] = mapped_column(primary_key=True)
    failures: Mapped[int]
    failed_at: Mapped[datetime]


class RecoveryCode(Base):
    """Ten single-use codes for a lost authenticator; only hashes are kept."""

    __tablename__ = "recovery_code"
    __table_args__ = (Index("ix_recovery_code_staff_id", "staff_id"),)

    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    staff_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    used_at: Mapped[datetime | None]
