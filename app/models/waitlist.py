"""Waiting lists: who waits for a place of a service at a clinic, in order."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class WaitlistStatus(StrEnum):
    WAITING = "waiting"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class WaitlistEntry(Base):
    """Somebody waits for a place between two days. A place that comes free goes to the first in line that it suits, as
    a held appointment; `appointment_id` is the latest offered. The line is by `priority`, then by `number`: those whose
    time was closed, and for whom no other was free, come first."""

    __tablename__ = "waitlist_entry"
    __table_args__ = (
        CheckConstraint("to_on >= from_on", name="period"),
        CheckConstraint("places >= 1", name="places"),
        CheckConstraint("priority BETWEEN 0 AND 1", name="priority"),
        CheckConstraint(
            "(status IN ('offered', 'accepted')) <= (appointment_id IS NOT NULL)", name="offered"
        ),
        Index(
            "uq_waitlist_entry_subject_id_service_id_clinic_id_live",
            "subject_id",
            "service_id",
            "clinic_id",
            unique=True,
            postgresql_where=text("status IN ('waiting', 'offered')"),
        ),
        Index(
            "ix_waitlist_entry_clinic_id_service_id_waiting",
            "clinic_id",
            "service_id",
            "priority",
            "number",
            # Not for the order: whoever waits for other days is passed over without a look at the row.
            "from_on",
            "to_on",
            postgresql_where=text("status = 'waiting'"),
        ),
        Index("ix_waitlist_entry_person_id", "person_id", "id"),
        Index("ix_waitlist_entry_spouse_id", "spouse_id", "id"),
        Index("ix_waitlist_entry_appointment_id", "appointment_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Identity(always=True), unique=True)
    priority: Mapped[int] = mapped_column(server_default="1")
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    subject_id: Mapped[uuid.UUID]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    spouse_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    # Nobody's where it stands for an appointment that a worker or the hospital had made.
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("resident_account.id"))
    region_code: Mapped[str]
    from_on: Mapped[date]
    to_on: Mapped[date]
    places: Mapped[int] = mapped_column(server_default="1")
    status: Mapped[WaitlistStatus]
    appointment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("appointment.id"))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
