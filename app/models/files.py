"""Files that people bring and fetch, sealed in pieces: every process of ours reaches them."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class StoredFile(Base):
    """An uploaded list, or one made for download. After `expires_at` its content is deleted and this row stays, as
    does what refers to it. It belongs to another record (an import, an export): who sees that one sees the file."""

    __tablename__ = "stored_file"
    __table_args__ = (
        Index("ix_stored_file_expires_at", "expires_at", postgresql_where=text("purged_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name_sealed: Mapped[bytes]
    name = Sealed()
    size: Mapped[int]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    purged_at: Mapped[datetime | None]


class StoredFileChunk(Base):
    """One MiB of a file, sealed for its place: pieces cannot be swapped unnoticed."""

    __tablename__ = "stored_file_chunk"

    file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("stored_file.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data_sealed: Mapped[bytes]
