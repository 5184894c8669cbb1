"""Rotations (轮查): everybody of a group comes round within some years, planned by village and month."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class RotationStatus(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    ENDED = "ended"


class RotationWork(StrEnum):
    """How far the job that plans is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Rotation(Base):
    """A service for a group in a region, once for each within `years` calendar years. Invitations of the months up to
    `invited_through` have been sent out; who did not book by then is reminded `remind_rounds` times."""

    __tablename__ = "rotation"
    __table_args__ = (
        CheckConstraint("years BETWEEN 1 AND 5", name="years"),
        CheckConstraint("remind_days BETWEEN 7 AND 180", name="remind_days"),
        CheckConstraint("remind_rounds BETWEEN 0 AND 5", name="remind_rounds"),
        Index("ix_rotation_service_id", "service_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    first_year: Mapped[int]
    years: Mapped[int]
    remind_days: Mapped[int]
    remind_rounds: Mapped[int]
    status: Mapped[RotationStatus]
    work: Mapped[RotationWork]
    people: Mapped[int] = mapped_column(server_default="0")
    placed: Mapped[int] = mapped_column(server_default="0")
    planned_at: Mapped[datetime | None]
    invited_through: Mapped[date | None]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class RotationCapacity(Base):
    """How many a clinic takes in each month of a year, January first, of the villages that it serves. Without numbers
    they are those of the slots that it has published."""

    __tablename__ = "rotation_capacity"
    __table_args__ = (UniqueConstraint("rotation_id", "clinic_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    rotation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("rotation.id"))
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    serves_region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    monthly: Mapped[list[int] | None] = mapped_column(JSONB(none_as_null=True))


class TurnStatus(StrEnum):
    PLANNED = "planned"
    INVITED = "invited"
    BOOKED = "booked"
    ATTENDED = "attended"
    DECLINED = "declined"
    NOT_REACHED = "not_reached"
    DROPPED = "dropped"


#: Who may still come.
OPEN_TURNS = (TurnStatus.PLANNED, TurnStatus.INVITED, TurnStatus.BOOKED, TurnStatus.NOT_REACHED)


class TurnReason(StrEnum):
    """Why somebody declines, or is no longer of the group."""

    NO_TIME = "no_time"
    NOT_WISHED = "not_wished"
    HEALTH = "health"
    AWAY = "away"
    OTHER = "other"
    DIED = "died"
    MOVED_AWAY = "moved_away"
    NOT_ELIGIBLE = "not_eligible"


class InvitedHow(StrEnum):
    INBOX = "inbox"
    PHONE = "phone"
    VISIT = "visit"
    LETTER = "letter"


class RotationTurn(Base):
    """Somebody's turn in a rotation, in a month at a clinic; without a month no clinic had room. It may lie in the
    years `first_year` to `last_year`: not too soon after the year of the last check, nor when the person is of the
    group no more. `checked_on`: a check that was had elsewhere."""

    __tablename__ = "rotation_turn"
    __table_args__ = (
        UniqueConstraint("rotation_id", "person_id"),
        CheckConstraint("(month IS NULL) = (clinic_id IS NULL)", name="month"),
        CheckConstraint("extract(day FROM month) = 1", name="first_of_month"),
        CheckConstraint("status <> 'declined' OR reason IS NOT NULL", name="reason"),
        Index("ix_rotation_turn_person_id", "person_id", "id"),
        Index("ix_rotation_turn_rotation_id_region_code", "rotation_id", "region_code", "id"),
        Index("ix_rotation_turn_rotation_id_status", "rotation_id", "status", "region_code", "id"),
        Index("ix_rotation_turn_rotation_id_month", "rotation_id", "month", "region_code", "id"),
        Index("ix_rotation_turn_invited_at", "invited_at", "id", postgresql_where=text("status = 'invited'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    rotation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("rotation.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    region_code: Mapped[str]
    first_year: Mapped[int]
    last_year: Mapped[int]
    checked_year: Mapped[int | None]
    clinic_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("clinic.id"))
    month: Mapped[date | None]
    status: Mapped[TurnStatus]
    reason: Mapped[TurnReason | None]
    invited_at: Mapped[datetime | None]
    reminders: Mapped[int] = mapped_column(server_default="0")
    appointment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("appointment.id"))
    checked_on: Mapped[date | None]
    changed_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class RotationStep(Base):
    """Each step of a turn after it was planned, append-only: who invited whom, when and how, and what was answered."""

    __tablename__ = "rotation_step"
    __table_args__ = (Index("ix_rotation_step_turn_id", "turn_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    turn_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("rotation_turn.id"))
    at: Mapped[datetime]
    status: Mapped[TurnStatus]
    how: Mapped[InvitedHow | None]
    reason: Mapped[TurnReason | None]
    happened_on: Mapped[date | None]
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
