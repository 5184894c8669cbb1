"""Supplies for the time before and in early pregnancy (folic acid): who is to have them, and what was handed out."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class SupplyItem(StrEnum):
    FOLIC_ACID = "folic_acid"


class SupplyStatus(StrEnum):
    ACTIVE = "active"
    DONE = "done"
    ENDED = "ended"


class SupplyEnd(StrEnum):
    """Why a plan ended before all was handed out."""

    DECLINED = "declined"
    NO_LONGER_NEEDED = "no_longer_needed"
    MEDICAL_REASON = "medical_reason"
    MOVED_AWAY = "moved_away"


class SupplyPlan(Base):
    """One person is to have an item for so many months; the next is due on `next_due_on`, and who is to have it was
    told so where `reminded_for` is that day. One active plan for a
    person and item: making one locks the person. The village is where the person is counted."""

    __tablename__ = "supply_plan"
    __table_args__ = (
        CheckConstraint("months BETWEEN 1 AND 24", name="months"),
        CheckConstraint("months_given BETWEEN 0 AND months", name="months_given"),
        CheckConstraint("(status = 'ended') = (end_reason IS NOT NULL)", name="end_reason"),
        Index("ix_supply_plan_person_id", "person_id", "id"),
        Index(
            "ix_supply_plan_next_due_on_active", "next_due_on", "id",
            postgresql_where=text("status = 'active'"),
        ),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    item: Mapped[SupplyItem]
    months: Mapped[int]
    months_given: Mapped[int] = mapped_column(server_default="0")
    starts_on: Mapped[date]
    next_due_on: Mapped[date]
    reminded_for: Mapped[date | None]
    status: Mapped[SupplyStatus]
    end_reason: Mapped[SupplyEnd | None]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class SupplyHandOut(Base):
    """What was handed out, when and of which batch, append-only."""

    __tablename__ = "supply_hand_out"
    __table_args__ = (
        CheckConstraint("months >= 1", name="months"),
        CheckConstraint("quantity >= 1", name="quantity"),
        Index("ix_supply_hand_out_plan_id", "plan_id", "id"),
        Index("ix_supply_hand_out_batch", "batch"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("supply_plan.id"))
    given_on: Mapped[date]
    months: Mapped[int]
    quantity: Mapped[int]
    batch: Mapped[str]
    given_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    recorded_at: Mapped[datetime]
