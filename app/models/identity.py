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
    ACCOUNTANT = "accountant"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    SYSTEM_ADMINISTRATOR = "system_administrator"
    PARTNER = "partner"
    SYSTEM = "system"


ROLE_NAMES: dict[Role, tuple[str, str]] = {
    Role.RESIDENT: ("居民", "Resident"),
    Role.VILLAGE_WORKER: ("村（居）委会工作人员", "Village worker"),
    Role.TOWNSHIP_OFFICER: ("乡镇（街道）工作人员", "Township officer"),
    Role.COUNTY_ADMINISTRATOR: ("县级管理员", "County administrator"),
    Role.ACCOUNTANT: ("财务人员", "Accountant"),
    Role.SUPERVISOR: ("督查人员", "Supervisor"),
    Role.AUDITOR: ("审计人员", "Auditor"),
    Role.SYSTEM_ADMINISTRATOR: ("系统管理员", "System administrator"),
    Role.PARTNER: ("医疗机构", "Hospital"),
    Role.SYSTEM: ("系统自动处理", "The system itself"),
}

# The doors at which one signs in: a sign-in and its tokens are good at theirs only.
CITIZEN_DOOR, STAFF_DOOR = "/citizen/v1", "/staff/v1"

STAFF_ROLES = (
    Role.VILLAGE_WORKER,
    Role.TOWNSHIP_OFFICER,
    Role.COUNTY_ADMINISTRATOR,
    Role.ACCOUNTANT,
    Role.SUPERVISOR,
    Role.AUDITOR,
    Role.SYSTEM_ADMINISTRATOR,
)


#: How the WeChat id of an account begins that is nobody's any more.
ERASED = "erased-"


class ResidentAccount(Base):
    """A WeChat user. Bound to at most one person, and a person to at most one account."""

    __tablename__ = "resident_account"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    openid: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"), unique=True)
    bound_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class SignIn(Base):
    """A family of refresh tokens: one device signed in once. No token is kept, only how many times they were
    exchanged; presenting an older one means that somebody copied it, and revokes the family."""

    __tablename__ = "sign_in"
    __table_args__ = (Index("ix_sign_in_account_id", "account_id", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    door: Mapped[str]
    generation: Mapped[int]
    device: Mapped[str]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
