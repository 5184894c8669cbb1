"""What happened in a family: births, deaths, marriages, divorces, and what was recorded by mistake."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class LifeEventKind(StrEnum):
    BIRTH = "birth"
    DEATH = "death"
    MARRIAGE = "marriage"
    DIVORCE = "divorce"
    ADOPTION = "adoption"
    JOINED = "joined"
    CATEGORY_GAINED = "category_gained"
    CATEGORY_ENDED = "category_ended"
    HEAD_CHANGED = "head_changed"
    ANNULMENT = "annulment"


class LifeEvent(Base):
    """One event as recorded in a household, append-only; one that was recorded by mistake is annulled by another.

    `changes` are the values that it changed, old and new: ids, dates and states, nothing that identifies anybody.
    Evidence is in the handbook. `person_id` is whom it happened to, of two the one who was named first."""

    __tablename__ = "life_event"
    __table_args__ = (
        Index("ix_life_event_household_id", "household_id", "recorded_at", "id"),
        Index("ix_life_event_person_id", "person_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[LifeEventKind]
    household_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("household.id"))
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    happened_on: Mapped[date]
    changes: Mapped[list[dict[str, Any]]]
    annuls_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("life_event.id"), unique=True)
    recorded_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    recorded_at: Mapped[datetime]
