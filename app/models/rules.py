"""Rules as data: eligibility, risk, follow-up and ranges of reference, in versions that never change once used."""

import uuid
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class RuleKind(StrEnum):
    ELIGIBILITY = "eligibility"
    RISK = "risk"
    FOLLOW_UP = "follow_up"
    REFERENCE_RANGE = "reference_range"


class RuleVersion(Base):
    __tablename__ = "rule_version"
    __table_args__ = (UniqueConstraint("kind", "code", "version"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[RuleKind]
    code: Mapped[str]
    version: Mapped[int]
    body: Mapped[dict[str, Any]]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
