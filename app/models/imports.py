"""Imports: a list as uploaded, the verdict on each of its lines, what became of it."""

import uuid
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class ImportStatus(StrEnum):
    CHECKING = "checking"
    CHECKED = "checked"
    COMMITTING = "committing"
    COMMITTED = "committed"
    UNDOING = "undoing"
    UNDONE = "undone"
    FAILED = "failed"
    DISCARDED = "discarded"


#: How long an import can be undone, and how long a verdict can be looked at.
KEPT = timedelta(days=90)
AT_WORK = (ImportStatus.CHECKING, ImportStatus.COMMITTING, ImportStatus.UNDOING)


class Verdict(StrEnum):
    """Ready and warning go in, known is in already, refused stays out."""

    READY = "ready"
    WARNING = "warning"
    KNOWN = "known"
    REFUSED = "refused"


class ImportBatch(Base):
    """One uploaded list. `version` counts what people decide; progress moves `rows_done` without it. `problem` says
    what hinders: why the file cannot be read, or what depends on the rows that were to be undone. A commit that was
    given up halfway leaves `committed_through`, up to which household it came: it can be taken up again, or undone."""

    __tablename__ = "import_batch"
    __table_args__ = (
        Index("ix_import_batch_region_code", "region_code", "id"),
        Index(
            "ix_import_batch_status",
            "status",
            postgresql_where=text("status IN ('checking', 'committing', 'undoing')"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("stored_file.id"))
    status: Mapped[ImportStatus]
    rows_total: Mapped[int | None]
    rows_done: Mapped[int] = mapped_column(server_default="0")
    counts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    problem: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    attempts: Mapped[int] = mapped_column(server_default="0")
    committed_through: Mapped[uuid.UUID | None]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    committed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    commit_began_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class ImportRow(Base):
    """A line with its verdict, and the row it becomes. `id` will be that of the person, of the membership and of
    the couple: sealed values carry their final place from the beginning. `person_id` is another for somebody known;
    `before` holds what the import changes of a person. `joins` is a household that exists already. Deleted when the
    batch is given up or can no longer be undone."""

    __tablename__ = "import_row"
    __table_args__ = (
        Index("ix_import_row_household_id", "batch_id", "household_id", "line"),
        Index("ix_import_row_document_index", "document_index", "batch_id"),
        Index("ix_import_row_id", "id"),
        # Of somebody new the two are the same: a first import writes nothing here.
        Index("ix_import_row_person_id_known", "person_id", postgresql_where=text("person_id <> id")),
        Index("ix_import_row_verdict", "batch_id", "verdict", "line"),
    )

    batch_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[Verdict]
    wrong: Mapped[list[dict[str, Any]]]
    id: Mapped[uuid.UUID]
    person_id: Mapped[uuid.UUID]
    household_id: Mapped[uuid.UUID | None]
    joins: Mapped[uuid.UUID | None]
    partner_id: Mapped[uuid.UUID | None]
    head_line: Mapped[int | None]
    region_code: Mapped[str | None]
    local_number: Mapped[str | None]
    address_sealed: Mapped[bytes | None]
    relation: Mapped[str | None]
    name: Mapped[str | None]
    pinyin: Mapped[str | None]
    initials: Mapped[str | None]
    sex: Mapped[str | None]
    birth_date: Mapped[date | None]
    document_kind: Mapped[str | None]
    document_number_sealed: Mapped[bytes | None]
    document_index: Mapped[bytes | None]
    phone_sealed: Mapped[bytes | None]
    phone_index: Mapped[bytes | None]
    hukou_region_code: Mapped[str | None]
    hukou_type: Mapped[str | None]
    resident_since: Mapped[date | None]
    married_since: Mapped[date | None]
    plans_pregnancy: Mapped[bool | None]
    categories: Mapped[list[dict[str, Any]]]
    before: Mapped[dict[str, Any] | None]
