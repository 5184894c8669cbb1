"""Proof of attendance: who came to a training, with a number that anybody may check."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class AttendanceCertificate(Base):
    """One for each who attended. One whose appointment was entered in error is revoked and stays."""

    __tablename__ = "attendance_certificate"
    __table_args__ = (
        UniqueConstraint("appointment_id", "person_id"),
        Index("ix_attendance_certificate_person_id", "person_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    issued_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
