"""Requests to be erased, and what became of them (PIPL art. 47)."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base
from app.models.identity import Role


class ErasureStatus(StrEnum):
    """`held`: granted, but a duty to keep stands against it; meanwhile nothing is done with the data but storing."""

    OPEN = "open"
    HELD = "held"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    DONE = "done"


class Erasure(Base):
    """A person has one request under way at a time. `holds` are those found at the last decision: codes, reasons,
    end dates. `region_code` is where it is decided: a person who is erased is counted nowhere."""

    __tablename__ = "erasure"
    __table_args__ = (
        Index(
            "uq_erasure_person_id_under_way",
            "person_id",
            unique=True,
            postgresql_where=text("status IN ('open', 'held')"),
        ),
        Index("ix_erasure_status", "status", "requested_at", "id"),
        Index("ix_erasure_person_id", "person_id"),
        Index("ix_erasure_requested_by", "requested_by"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    status: Mapped[ErasureStatus]
    why_sealed: Mapped[bytes | None]
    why = Sealed()
    requester_role: Mapped[Role]
    requested_by: Mapped[uuid.UUID]
    requested_at: Mapped[datetime]
    holds: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    decided_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
