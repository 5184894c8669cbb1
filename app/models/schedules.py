"""The weekly templates that slots are made of, and the rooms and practitioners of a clinic."""

import uuid
from datetime import date, datetime, time
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base

IN_USE = text("retired_at IS NULL")


class Room(Base):
    """A room of a clinic: one slot at a time."""

    __tablename__ = "room"
    __table_args__ = (
        Index("uq_room_clinic_id_name_used", "clinic_id", "name", unique=True, postgresql_where=IN_USE),
        Index("ix_room_clinic_id", "clinic_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    name: Mapped[str]
    retired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class Practitioner(Base):
    """Who gives the service, as announced to those who choose: a name and a title (主任医师, 心理咨询师)."""

    __tablename__ = "practitioner"
    __table_args__ = (
        Index(
            "uq_practitioner_clinic_id_name_used", "clinic_id", "name", unique=True, postgresql_where=IN_USE
        ),
        Index("ix_practitioner_clinic_id", "clinic_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    name: Mapped[str]
    title: Mapped[str]
    retired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class ScheduleStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    ENDED = "ended"


class Schedule(Base):
    """A weekly template over a range of dates, without an end or with one. Its slots are released together at
    `release_at`, or each `days_ahead` days before its own at `release_time`. `pending`: changed since it was last
    published. `published_through`: the last day whose slots have been made."""

    __tablename__ = "schedule"
    __table_args__ = (
        CheckConstraint("until_on >= from_on", name="period"),
        CheckConstraint("swapped_weekday BETWEEN 1 AND 7", name="swapped_weekday"),
        CheckConstraint("days_ahead BETWEEN 0 AND 180", name="days_ahead"),
        CheckConstraint(
            "(release_at IS NULL) = (days_ahead IS NOT NULL) AND (days_ahead IS NULL) = (release_time IS NULL)",
            name="release",
        ),
        # Who does not know the end does not know the moment either.
        CheckConstraint("until_on IS NOT NULL OR days_ahead IS NOT NULL", name="endless"),
        Index("ix_schedule_clinic_id", "clinic_id", "id"),
        Index("ix_schedule_active", "id", postgresql_where=text("status = 'active'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    name: Mapped[str]
    from_on: Mapped[date]
    until_on: Mapped[date | None]
    follows_calendar: Mapped[bool]
    swapped_weekday: Mapped[int | None]
    release_at: Mapped[datetime | None]
    days_ahead: Mapped[int | None]
    release_time: Mapped[time | None]
    status: Mapped[ScheduleStatus]
    pending: Mapped[bool]
    published_through: Mapped[date | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]
    lines: Mapped[list["ScheduleLine"]] = relationship(
        lazy="raise", cascade="all, delete-orphan", order_by="ScheduleLine.number"
    )

    __mapper_args__ = {"version_id_col": version}


class ScheduleLine(Base):
    """Slots of so many minutes one after another, on one weekday (1 Monday … 7 Sunday), Shanghai time. A break is the
    gap between two lines."""

    __tablename__ = "schedule_line"
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 1 AND 7", name="weekday"),
        CheckConstraint("ends > begins", name="period"),
        CheckConstraint("minutes BETWEEN 5 AND 1440", name="minutes"),
        CheckConstraint("capacity >= 1", name="capacity"),
        Index("ix_schedule_line_room_id", "room_id"),
        Index("ix_schedule_line_practitioner_id", "practitioner_id"),
    )

    schedule_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("schedule.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    weekday: Mapped[int]
    begins: Mapped[time]
    ends: Mapped[time]
    minutes: Mapped[int]
    capacity: Mapped[int]
    room_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("room.id"))
    practitioner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("practitioner.id"))
