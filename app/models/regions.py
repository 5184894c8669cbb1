"""Administrative divisions: GB/T 2260 counties and the statistical codes of towns and villages below them."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base

#: Levels; 1 is a province, 2 a prefecture.
COUNTY, TOWN, VILLAGE = 3, 4, 5


class Region(Base):
    """A 12-digit zero-padded code. Levels are skipped in places (东莞, 仙桃): walk `parent_code`. A row never
    vanishes: old papers name it."""

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


class SuccessionKind(StrEnum):
    """更名: the name alone; 变更代码: one takes the place of one; 合并: of several; 拆分: several of one."""

    RENAMED = "renamed"
    MOVED = "moved"
    MERGED = "merged"
    SPLIT = "split"


class RegionSuccession(Base):
    """What takes a division's place, and from which day. The parts of a split are a row each. `old_name` is how
    the division was called until then."""

    __tablename__ = "region_succession"
    __table_args__ = (
        UniqueConstraint("old_code", "new_code", "effective_on"),
        CheckConstraint("new_code ~ '^[0-9]{12}$'", name="new_code"),
        CheckConstraint("(old_code = new_code) = (kind = 'renamed')", name="codes"),
        Index(
            "uq_region_succession_old_code_whole",
            "old_code",
            unique=True,
            postgresql_where=text("kind IN ('moved', 'merged')"),
        ),
        Index("ix_region_succession_new_code", "new_code"),
        Index("ix_region_succession_effective_on", "effective_on", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[SuccessionKind]
    old_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    # Without a foreign key: a new division begins on the day itself.
    new_code: Mapped[str]
    old_name: Mapped[str]
    new_name: Mapped[str | None]
    effective_on: Mapped[date]
    source: Mapped[str]
    applied_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
