"""Versioned notices and who agreed to them (PIPL arts. 14–17, 23, 28–31)."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Purpose(StrEnum):
    """What a notice asks consent for; each is separate consent."""

    HEALTH_DATA = "health_data"
    SHARE_WITH_HOSPITAL = "share_with_hospital"


class ConsentNotice(Base):
    """A text as it was shown. Retiring a version ends what was agreed to it: the purpose needs new consent."""

    __tablename__ = "consent_notice"
    __table_args__ = (
        UniqueConstraint("purpose", "version"),
        Index(
            "uq_consent_notice_current", "purpose", unique=True, postgresql_where=text("retired_at IS NULL")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    purpose: Mapped[Purpose]
    version: Mapped[int]
    title_zh: Mapped[str]
    title_en: Mapped[str]
    body_zh: Mapped[str]
    body_en: Mapped[str]
    content_hash: Mapped[bytes]
    published_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Consent(Base):
    """Given and perhaps withdrawn; withdrawal does not undo what was lawfully done before (art. 15)."""

    __tablename__ = "consent"
    __table_args__ = (
        Index(
            "uq_consent_person_id_notice_id_live",
            "person_id",
            "notice_id",
            unique=True,
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
        Index("ix_consent_person_id", "person_id"),
        Index("ix_consent_guardian_id", "guardian_id", postgresql_where=text("guardian_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    notice_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("consent_notice.id"))
    guardian_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    given_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
