"""What workers keep of their searches, the lists they take away, and how many there are of what where."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class SearchKind(StrEnum):
    PEOPLE = "people"
    HOUSEHOLDS = "households"


class SavedFilter(Base):
    """A search that a worker makes often, under a name of its own. Sealed, because one may search by name or phone."""

    __tablename__ = "saved_filter"
    __table_args__ = (UniqueConstraint("created_by", "name", name="uq_saved_filter_created_by_name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    name: Mapped[str]
    criteria_sealed: Mapped[bytes]
    criteria = Sealed()
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class ExportStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class RegistryExport(Base):
    """A list taken out of the registry: what was asked for, by whom and why, how far it is, and its file."""

    __tablename__ = "registry_export"
    __table_args__ = (Index("ix_registry_export_created_by", "created_by", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    kind: Mapped[SearchKind]
    criteria_sealed: Mapped[bytes]
    criteria = Sealed()
    unmasked: Mapped[bool]
    purpose: Mapped[str]
    status: Mapped[ExportStatus]
    rows_total: Mapped[int | None]
    rows_done: Mapped[int] = mapped_column(server_default="0")
    problem: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("stored_file.id"))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RegionStatistic(Base):
    """How many there are in a region and below it, as of one moment for all regions."""

    __tablename__ = "region_statistic"

    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"), primary_key=True)
    figures: Mapped[dict[str, int]] = mapped_column(JSONB)
    as_of: Mapped[datetime]
