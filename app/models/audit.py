"""Who did or saw what, append-only; and the keys under which requests were made."""

import uuid
from datetime import datetime

from sqlalchemy import Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.models.identity import Role


class AuditEvent(Base):
    """One write, or one read of a person's detail. A trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_person_id", "person_id", "id"),
        Index("ix_audit_event_actor_id", "actor_id", "id"),
        Index(
            "ix_audit_event_actor_id_missed",
            "actor_id",
            "at",
            postgresql_where=text("action IN ('bind_refused', 'find_missed')"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    actor_role: Mapped[Role]
    actor_id: Mapped[uuid.UUID | None]
    action: Mapped[str]
    entity: Mapped[str]
    entity_id: Mapped[uuid.UUID | None]
    person_id: Mapped[uuid.UUID | None]
    purpose: Mapped[str | None]
    request_id: Mapped[str]


class IdempotencyKey(Base):
    """The key of a creating request is the id of the row it makes; the fingerprint is of method, path, body."""

    __tablename__ = "idempotency_key"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    actor_id: Mapped[uuid.UUID]
    fingerprint: Mapped[bytes]
    created_at: Mapped[datetime]
