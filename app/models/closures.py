"""Closures: a clinic gives no service for some hours, and what became of everyone who had a place then."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class ClosureReason(StrEnum):
    """Why, as those affected are told: never whose illness."""

    STAFF_ABSENT = "staff_absent"
    EQUIPMENT = "equipment"
    UTILITIES = "utilities"
    WEATHER = "weather"
    EPIDEMIC = "epidemic"
    OTHER = "other"


class ClosureStatus(StrEnum):
    CLOSING = "closing"
    DONE = "done"


class Closure(Base):
    """A clinic, or one service of it, is closed between two moments. `closing`: a job still moves those affected."""

    __tablename__ = "closure"
    __table_args__ = (
        CheckConstraint("to_at > from_at", name="period"),
        Index("ix_closure_clinic_id", "clinic_id", "id"),
        Index("ix_closure_closing", "id", postgresql_where=text("status = 'closing'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    service_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("healthcare_service.id"))
    from_at: Mapped[datetime]
    to_at: Mapped[datetime]
    reason: Mapped[ClosureReason]
    slots: Mapped[int]
    status: Mapped[ClosureStatus]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]


class ClosureMove(Base):
    """One appointment that a closure cancelled: the one held in its place, or the entry of the waiting list; neither
    where there was nothing to offer."""

    __tablename__ = "closure_move"
    __table_args__ = (
        CheckConstraint("offered_id IS NULL OR waitlist_entry_id IS NULL", name="one_way"),
        Index("ix_closure_move_closure_id", "closure_id"),
    )

    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"), primary_key=True)
    closure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("closure.id"))
    offered_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("appointment.id"))
    waitlist_entry_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("waitlist_entry.id"))
