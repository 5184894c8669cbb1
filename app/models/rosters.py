"""Rosters of those who do the work: staff, village workers, members, volunteers; and their certificates."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class RosterKind(StrEnum):
    """工作人员, 村级服务人员, 会员, 志愿者."""

    STAFF = "staff"
    VILLAGE_WORKER = "village_worker"
    MEMBER = "member"
    VOLUNTEER = "volunteer"


class RosterMember(Base):
    """Somebody in one capacity. Who leaves stays on the roster with the day of leaving."""

    __tablename__ = "roster_member"
    __table_args__ = (
        CheckConstraint("left_on >= joined_on", name="period"),
        Index("ix_roster_member_region_code", "region_code", "id"),
        Index("ix_roster_member_person_id", "person_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[RosterKind]
    name: Mapped[str]
    phone_sealed: Mapped[bytes | None]
    phone = Sealed()
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    post: Mapped[str | None]
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    staff_account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    joined_on: Mapped[date]
    left_on: Mapped[date | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class TrainingCertificate(Base):
    """Earned by somebody on a roster. One entered by mistake is withdrawn and stays."""

    __tablename__ = "training_certificate"
    __table_args__ = (
        CheckConstraint("expires_on > issued_on", name="period"),
        Index("ix_training_certificate_member_id", "member_id", "id"),
        Index(
            "ix_training_certificate_expires_on_valid",
            "expires_on",
            "id",
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("roster_member.id"))
    title: Mapped[str]
    issuer: Mapped[str]
    number: Mapped[str | None]
    issued_on: Mapped[date]
    expires_on: Mapped[date | None]
    withdrawn_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
