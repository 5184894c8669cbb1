"""Who can act, residents' accounts, and the sign-ins of residents and workers."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Role(StrEnum):
    RESIDENT = "resident"
    VILLAGE_WORKER = "village_worker"
    TOWNSHIP_OFFICER = "township_officer"
    COUNTY_ADMINISTRATOR = "county_administrator"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    SYSTEM_ADMINISTRATOR = "system_administrator"
    PARTNER = "partner"
    SYSTEM = "system"
    PUBLIC = "public"


STAFF_ROLES = (
    Role.VILLAGE_WORKER,
    Role.TOWNSHIP_OFFICER,
    Role.COUNTY_ADMINISTRATOR,
    Role.SUPERVISOR,
    Role.AUDITOR,
    Role.SYSTEM_ADMINISTRATOR,
)


class ResidentAccount(Base):
    """A WeChat user. Bound to at most one person, and a person to at most one account."""

    __tablename__ = "resident_account"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    openid: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"), unique=True)
    bound_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class SignIn(Base):
    """A family of refresh tokens: one device signed in once. Only the hash of the newest token is kept;
    presenting an older one means that somebody copied it, and revokes the family."""

    __tablename__ = "sign_in"
    __table_args__ = (Index("ix_sign_in_account_id", "account_id", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    door: Mapped[str]
    refresh_hash: Mapped[bytes]
    device: Mapped[str]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
