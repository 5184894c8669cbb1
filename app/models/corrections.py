"""Requests to correct what was verified, with old and new value, sealed (PIPL art. 46)."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base
from app.models.identity import Role


class CorrectionField(StrEnum):
    """What may be corrected: all of a person but the address, which is the household's."""

    NAME = "name"
    SEX = "sex"
    BIRTH_DATE = "birth_date"
    DOCUMENT = "document"
    PHONE = "phone"
    HUKOU_REGION_CODE = "hukou_region_code"
    HUKOU_TYPE = "hukou_type"
    RESIDENT_SINCE = "resident_since"
    ADDRESS = "address"


class CorrectionStatus(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Correction(Base):
    """One field of one person or household, from its value when asked to the one asked for. One open request for a
    field at a time. `region_code` is where the person or household is counted, or was last. What is sealed is emptied
    when the person is erased."""

    __tablename__ = "correction"
    __table_args__ = (
        CheckConstraint("num_nonnulls(person_id, household_id) = 1", name="one_subject"),
        Index(
            "uq_correction_person_id_field_open",
            "person_id",
            "field",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index(
            "uq_correction_household_id_field_open",
            "household_id",
            "field",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_correction_status", "status", "requested_at", "id"),
        Index("ix_correction_region_code", "region_code", "status", "requested_at", "id"),
        Index("ix_correction_person_id", "person_id"),
        Index("ix_correction_household_id", "household_id"),
        Index("ix_correction_requested_by", "requested_by", "requested_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    household_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    field: Mapped[CorrectionField]
    status: Mapped[CorrectionStatus]
    old_sealed: Mapped[bytes | None]
    old = Sealed()
    new_sealed: Mapped[bytes | None]
    new = Sealed()
    evidence_sealed: Mapped[bytes | None]
    evidence = Sealed()
    requester_role: Mapped[Role]
    requested_by: Mapped[uuid.UUID]
    requested_at: Mapped[datetime]
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    decided_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
