"""Clinics, slots, who qualifies, appointments and each of their steps (FHIR R4 nouns)."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class Clinic(Base):
    """A place of a partner organization where services are given."""

    __tablename__ = "clinic"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organization.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    name: Mapped[str]
    address: Mapped[str]
    phone: Mapped[str]
    created_at: Mapped[datetime]


class SlotStatus(StrEnum):
    """A slot whose `opens_at` lies ahead is scheduled: a moment, not a state that a job could be late to set."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


NOT_CANCELLED = text("status <> 'cancelled'")


class Slot(Base):
    """Places at one time. For a couple one place serves both."""

    __tablename__ = "slot"
    __table_args__ = (
        Index(
            "uq_slot_clinic_service_starts_practitioner_room_kept",
            "clinic_id",
            "service_id",
            "starts_at",
            "practitioner_id",
            "room_id",
            unique=True,
            postgresql_where=NOT_CANCELLED,
            postgresql_nulls_not_distinct=True,
        ),
        # One at a time in a room, and with a practitioner.
        *(
            ExcludeConstraint(
                (column, "="),
                (text("tstzrange(starts_at, ends_at)"), "&&"),
                name=f"ex_slot_{column}",
                using="gist",
                where=text(f"status <> 'cancelled' AND {column} IS NOT NULL"),
            )
            for column in ("room_id", "practitioner_id")
        ),
        CheckConstraint("capacity >= 0", name="capacity"),
        CheckConstraint("booked BETWEEN 0 AND capacity", name="booked"),
        CheckConstraint("ends_at > starts_at", name="period"),
        Index("ix_slot_service_id_starts_at", "service_id", "starts_at", "id"),
        Index("ix_slot_starts_at", "starts_at", "id"),
        Index(
            "ix_slot_schedule_id",
            "schedule_id",
            "starts_at",
            postgresql_where=text("schedule_id IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    capacity: Mapped[int]
    booked: Mapped[int] = mapped_column(server_default="0")
    opens_at: Mapped[datetime]
    status: Mapped[SlotStatus]
    room_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("room.id"))
    practitioner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("practitioner.id"))
    schedule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("schedule.id"))
    # Of what people change by hand: a booking changes `booked` and leaves the version alone.
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]


class SlotEvent(Base):
    """What was changed of a slot by hand, from what to what, append-only. Its bookings are in their own events."""

    __tablename__ = "slot_event"
    __table_args__ = (Index("ix_slot_event_slot_id", "slot_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    slot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("slot.id"))
    at: Mapped[datetime]
    field: Mapped[str]
    old: Mapped[str | None]
    new: Mapped[str | None]
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]


class Qualification(Base):
    """Eligibility settled before the opening second: one row per person and service. Both spouses of a couple
    share subject and cycle, so either may book and the unique index counts them as one."""

    __tablename__ = "qualification"
    __table_args__ = (UniqueConstraint("service_id", "person_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    spouse_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    subject_id: Mapped[uuid.UUID]
    cycle: Mapped[str]
    region_code: Mapped[str]
    rule_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("rule_version.id"))
    facts: Mapped[dict[str, Any]]
    decided_at: Mapped[datetime]
    valid_until: Mapped[datetime]


class AppointmentStatus(StrEnum):
    HELD = "held"
    BOOKED = "booked"
    EXPIRED = "expired"
    ARRIVED = "arrived"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    ENTERED_IN_ERROR = "entered_in_error"


class Origin(StrEnum):
    """How an appointment came about: by oneself, offered from the waiting list or in place of a closed time, made by
    those who give the service when somebody walked in, or made by a worker."""

    RESIDENT = "resident"
    WAITLIST = "waitlist"
    CLOSURE = "closure"
    WALK_IN = "walk_in"
    STAFF = "staff"


class Appointment(Base):
    """`held`: a place kept for somebody until `hold_expires_at`, to accept or decline. `session` counts the dates of a
    course, whose appointments share `course_id`."""

    __tablename__ = "appointment"
    __table_args__ = (
        Index(
            "uq_appointment_subject_id_service_id_cycle_session_active",
            "subject_id",
            "service_id",
            "cycle",
            "session",
            unique=True,
            postgresql_where=text("status IN ('held', 'booked', 'arrived', 'fulfilled')"),
        ),
        CheckConstraint("places >= 1", name="places"),
        CheckConstraint("status <> 'held' OR hold_expires_at IS NOT NULL", name="hold_ends"),
        Index("ix_appointment_hold_expires_at", "hold_expires_at", postgresql_where=text("status = 'held'")),
        Index("ix_appointment_slot_id", "slot_id"),
        Index("ix_appointment_person_id", "person_id", "id"),
        Index("ix_appointment_spouse_id", "spouse_id", "id"),
        Index("ix_appointment_course_id", "course_id", postgresql_where=text("course_id IS NOT NULL")),
        Index("ix_appointment_clinic_id_starts_at", "clinic_id", "starts_at", "id"),
        Index("ix_appointment_clinic_id_changed_in", "clinic_id", "changed_in", "id"),
        # A day is a small part of an association's appointments: the region is filtered from it.
        Index("ix_appointment_starts_at", "starts_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    # These three are copied from the slot, which has the foreign keys. Here they would lock rows that every
    # booking of a rush shares, and one that every booking of a slot updates.
    slot_id: Mapped[uuid.UUID]
    clinic_id: Mapped[uuid.UUID]
    service_id: Mapped[uuid.UUID]
    subject_id: Mapped[uuid.UUID]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    spouse_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    # Nobody's where a worker or the hospital made it.
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("resident_account.id"))
    region_code: Mapped[str]
    cycle: Mapped[str]
    session: Mapped[int] = mapped_column(server_default="1")
    course_id: Mapped[uuid.UUID | None]
    places: Mapped[int] = mapped_column(server_default="1")
    origin: Mapped[Origin] = mapped_column(server_default="resident")
    code: Mapped[str] = mapped_column(unique=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    status: Mapped[AppointmentStatus]
    hold_expires_at: Mapped[datetime | None]
    # The transaction that last changed what a hospital sees of it (services/appointments/changes).
    changed_in: Mapped[int] = mapped_column(server_default=text("(pg_current_xact_id()::text)::bigint"))
    created_at: Mapped[datetime]


class AppointmentLeft(Base):
    """An appointment that was moved away from a clinic: a hospital that polls hears of it."""

    __tablename__ = "appointment_left"
    __table_args__ = (Index("ix_appointment_left_clinic_id", "clinic_id", "changed_in", "appointment_id"),)

    clinic_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"), primary_key=True)
    changed_in: Mapped[int]


class AppointmentNote(Base):
    """What somebody wrote at a step in free words. Emptied in an erasure, while the step stays."""

    __tablename__ = "appointment_note"
    __table_args__ = (Index("ix_appointment_note_appointment_id", "appointment_id", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"))
    note_sealed: Mapped[bytes | None]
    note = Sealed()


class AppointmentEvent(Base):
    """Each step of an appointment, append-only. `slot_id` where the step moved it to another time; `reason` is one of
    a list, or the system's: what people write is in the note."""

    __tablename__ = "appointment_event"
    __table_args__ = (Index("ix_appointment_event_appointment_id", "appointment_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"))
    at: Mapped[datetime]
    status: Mapped[AppointmentStatus]
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    reason: Mapped[str | None]
    note_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("appointment_note.id"))
    slot_id: Mapped[uuid.UUID | None]
