"""Follow-ups (随访): what must happen after a result, by when, and what came of it."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class FollowUpKind(StrEnum):
    RESULT_TOLD = "result_told"
    COUNSELLING = "counselling"
    REFERRAL = "referral"
    EARLY_PREGNANCY = "early_pregnancy"
    OUTCOME = "outcome"


class FollowUpStatus(StrEnum):
    """Overdue is computed from `due_on`, not a state."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    OBSOLETE = "obsolete"


class FollowUp(Base):
    """Derived by rule from a report and re-derived when it is amended; a human verdict is never overwritten."""

    __tablename__ = "follow_up"
    __table_args__ = (
        UniqueConstraint("report_id", "person_id", "kind"),
        # A village reads its few by region, a county its many in the order of the due date.
        Index("ix_follow_up_region_code", "region_code", "due_on", "id"),
        Index(
            "ix_follow_up_due_on_live",
            "due_on",
            "id",
            postgresql_where=text("status IN ('open', 'in_progress')"),
        ),
        Index("ix_follow_up_person_id", "person_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("diagnostic_report.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    region_code: Mapped[str]
    kind: Mapped[FollowUpKind]
    status: Mapped[FollowUpStatus]
    due_on: Mapped[date]
    outcome: Mapped[dict[str, Any] | None]
    completed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    completed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class FollowUpEvent(Base):
    """Each step of a follow-up, append-only."""

    __tablename__ = "follow_up_event"
    __table_args__ = (Index("ix_follow_up_event_follow_up_id", "follow_up_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    follow_up_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("follow_up.id"))
    at: Mapped[datetime]
    status: Mapped[FollowUpStatus]
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
