"""Moves between villages: a household, or some of its members, handed over from one to the other."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class MoveStatus(StrEnum):
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class MoveSide(StrEnum):
    """Which village began it: the one that the family leaves, or the one where it has arrived."""

    RELEASING = "releasing"
    RECEIVING = "receiving"


class Move(Base):
    """One at a time for a household. Without `members` the whole household moves; else those named leave it, each
    with the relation to the head of the household that they join or found; `head_id` then heads those who
    stay. The regions' names are as they were then."""

    __tablename__ = "household_move"
    __table_args__ = (
        Index(
            "uq_household_move_household_id_proposed",
            "household_id",
            unique=True,
            postgresql_where=text("status = 'proposed'"),
        ),
        Index("ix_household_move_household_id", "household_id"),
        Index("ix_household_move_to_household_id", "to_household_id"),
        # A village reads its few by region, a county its many newest first.
        Index("ix_household_move_from_region_code", "from_region_code", "id"),
        Index("ix_household_move_to_region_code", "to_region_code", "id"),
        Index("ix_household_move_created_at", "created_at", "id"),
        Index("ix_household_move_status", "status", "created_at", "id"),
        CheckConstraint("status <> 'accepted' OR decided_at IS NOT NULL", name="decided"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    household_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("household.id"))
    members: Mapped[list[dict[str, Any]]]
    to_household_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    head_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    from_region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    from_region_name: Mapped[str]
    to_region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    to_region_name: Mapped[str]
    moved_on: Mapped[date]
    address_sealed: Mapped[bytes | None]
    address = Sealed()
    status: Mapped[MoveStatus]
    begun_by: Mapped[MoveSide]
    proposed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_at: Mapped[datetime | None]
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}
