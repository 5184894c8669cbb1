"""Administrative divisions: GB/T 2260 counties and the statistical codes of towns and villages below them."""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Region(Base):
    """A 12-digit zero-padded code. Levels are skipped in places (东莞, 仙桃): walk `parent_code`."""

    __tablename__ = "region"
    __table_args__ = (
        CheckConstraint("code ~ '^[0-9]{12}$'", name="code"),
        CheckConstraint("level BETWEEN 1 AND 5", name="level"),
        Index("ix_region_parent_code", "parent_code", "code"),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[int]
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    name: Mapped[str]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    source: Mapped[str]
