"""The handbook of a family (家庭手册): its steps, and what is personal in them."""

import uuid
from datetime import date, datetime

from sqlalchemy import ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class HouseholdEvent(Base):
    """Each step of a household, append-only: the beginning of its handbook (家庭手册)."""

    __tablename__ = "household_event"
    __table_args__ = (
        Index("ix_household_event_household_id", "household_id", "id"),
        Index("ix_household_event_person_id", "person_id", postgresql_where=text("person_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    household_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("household.id"))
    at: Mapped[datetime]
    kind: Mapped[str]
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    note: Mapped[str | None]
    person_id: Mapped[uuid.UUID | None]
    happened_on: Mapped[date | None]
    detail_id: Mapped[uuid.UUID | None]


class HandbookDetail(Base):
    """What is personal in a step of the handbook: old and new values, evidence. A table of its own, because the
    event stays for ever and this can be erased (PIPL art. 47)."""

    __tablename__ = "handbook_detail"
    __table_args__ = (Index("ix_handbook_detail_person_id", "person_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    content_sealed: Mapped[bytes | None]
    content = Sealed()
