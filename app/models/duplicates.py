"""People who may be registered twice, and the merges of people and households, each of which can be undone."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class SuspicionStatus(StrEnum):
    OPEN = "open"
    DISMISSED = "dismissed"
    CONFIRMED = "confirmed"


class Suspicion(Base):
    """Two people who may be one: a pair is found once, and a "not the same" stays. `reasons` are codes of what
    agrees, `score` their sum, from 0 to 100."""

    __tablename__ = "suspicion"
    __table_args__ = (
        UniqueConstraint("person_a", "person_b"),
        CheckConstraint("person_a < person_b", name="ordered"),
        Index("ix_suspicion_person_b", "person_b"),
        Index("ix_suspicion_open", "score", "id", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_a: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    person_b: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    score: Mapped[int]
    reasons: Mapped[list[str]]
    status: Mapped[SuspicionStatus]
    found_at: Mapped[datetime]
    decided_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_at: Mapped[datetime | None]
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()


class ComparedThrough(Base):
    """How far the search for duplicates among new people has come."""

    __tablename__ = "compared_through"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    person_id: Mapped[uuid.UUID]


class Merge(Base):
    """One of two people or households is kept, the other points to it. `changes` are all values that the merge
    changed, old and new, with their places: undoing writes the old ones back."""

    __tablename__ = "merge"
    __table_args__ = (
        CheckConstraint("num_nonnulls(kept_person_id, kept_household_id) = 1", name="one_kind"),
        CheckConstraint(
            "(kept_person_id IS NULL) = (lost_person_id IS NULL) "
            "AND (kept_household_id IS NULL) = (lost_household_id IS NULL)",
            name="pair",
        ),
        CheckConstraint("kept_person_id <> lost_person_id", name="two_people"),
        CheckConstraint("kept_household_id <> lost_household_id", name="two_households"),
        Index("ix_merge_kept_person_id", "kept_person_id"),
        Index("ix_merge_lost_person_id", "lost_person_id"),
        Index("ix_merge_kept_household_id", "kept_household_id"),
        Index("ix_merge_lost_household_id", "lost_household_id"),
        Index("ix_merge_merged_at", "merged_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kept_person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    lost_person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    kept_household_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    lost_household_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    changes_sealed: Mapped[bytes]
    changes = Sealed()
    merged_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    merged_at: Mapped[datetime]
    undone_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    undone_at: Mapped[datetime | None]
    undo_reason_sealed: Mapped[bytes | None]
    undo_reason = Sealed()
