"""Follow-ups (随访): what must happen after a result, by when, who does it, and what came of it."""

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class FollowUpKind(StrEnum):
    RESULT_TOLD = "result_told"
    COUNSELLING = "counselling"
    REFERRAL = "referral"
    RECHECK = "recheck"
    EARLY_PREGNANCY = "early_pregnancy"
    OUTCOME = "outcome"


class FollowUpStatus(StrEnum):
    """Overdue is computed from `due_on`, not a state."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    OBSOLETE = "obsolete"


class ReferralStep(StrEnum):
    """How far a referral is. The last three end it."""

    FLAGGED = "flagged"
    INFORMED = "informed"
    REFERRED = "referred"
    SEEN = "seen"
    DIAGNOSED = "diagnosed"
    OUTCOME = "outcome"
    DECLINED = "declined"
    LOST = "lost"


class FollowUpAction(StrEnum):
    """What a step of a follow-up was. `doubted`: a later version of the report no longer calls for what somebody has
    begun; a person decides whether it is `dropped` or `kept`."""

    CHANGED = "changed"
    OPENED = "opened"
    MOVED = "moved"
    TAKEN_BACK = "taken_back"
    REOPENED = "reopened"
    DOUBTED = "doubted"
    KEPT = "kept"
    DROPPED = "dropped"
    STARTED = "started"
    ATTEMPTED = "attempted"
    COMPLETED = "completed"
    STEPPED = "stepped"
    ASSIGNED = "assigned"
    HANDED_OVER = "handed_over"
    ESCALATED = "escalated"
    CLOSED_BY_REPORT = "closed_by_report"


_LIVE = "status IN ('open', 'in_progress')"


class FollowUp(Base):
    """Derived by rule from a report and re-derived when it is amended; a human verdict is never overwritten. `topic`
    tells several of a kind apart. The result was abnormal for this person where `flagged_on` says when it was issued:
    then the first contact is due by `contact_by`. `escalated_for`: the deadline whose passing the township was told."""

    __tablename__ = "follow_up"
    __table_args__ = (
        UniqueConstraint("report_id", "person_id", "kind", "topic"),
        # A village reads its few by region, a county its many in the order of the due date.
        Index("ix_follow_up_region_code", "region_code", "due_on", "id"),
        Index("ix_follow_up_due_on_live", "due_on", "id", postgresql_where=text(_LIVE)),
        Index("ix_follow_up_kind_live", "kind", "due_on", "id", postgresql_where=text(_LIVE)),
        Index("ix_follow_up_assignee_id_live", "assignee_id", "due_on", "id", postgresql_where=text(_LIVE)),
        Index(
            "ix_follow_up_due_on_unassigned", "due_on", "id",
            postgresql_where=text(f"{_LIVE} AND assignee_id IS NULL"),
        ),
        Index(
            "ix_follow_up_due_on_escalated", "due_on", "id",
            postgresql_where=text(f"{_LIVE} AND escalated_for = due_on"),
        ),
        Index(
            "ix_follow_up_due_on_doubted",
            "due_on",
            "id",
            postgresql_where=text(f"{_LIVE} AND doubted_at IS NOT NULL"),
        ),
        Index(
            "ix_follow_up_due_on_finished",
            "due_on",
            "id",
            postgresql_where=text("status IN ('done', 'obsolete')"),
        ),
        Index("ix_follow_up_flagged_on", "flagged_on", postgresql_where=text("flagged_on IS NOT NULL")),
        Index("ix_follow_up_person_id", "person_id", "id"),
        Index("ix_follow_up_referred_to", "referred_to", "due_on", "id"),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("diagnostic_report.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    region_code: Mapped[str]
    kind: Mapped[FollowUpKind]
    topic: Mapped[str] = mapped_column(server_default="")
    status: Mapped[FollowUpStatus]
    due_on: Mapped[date]
    assignee_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    flagged_on: Mapped[date | None]
    contact_by: Mapped[date | None]
    escalate_days: Mapped[int | None]
    escalated_for: Mapped[date | None]
    doubted_at: Mapped[datetime | None]
    # Of a referral: how far it is, since when, and which hospital receives it.
    step: Mapped[ReferralStep | None]
    stepped_on: Mapped[date | None]
    referred_to: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organization.id"))
    # Of an outcome: when the child was born, where the registry says so.
    born_on: Mapped[date | None]
    # Of a recheck: which items a later report must measure (none: any of the same service), and which report did.
    recheck_items: Mapped[list[str]] = mapped_column(server_default="[]")
    closed_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("diagnostic_report.id"))
    outcome: Mapped[dict[str, Any] | None]
    completed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    completed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class FollowUpNote(Base):
    """What somebody wrote at a step: where it was, and in free words. Emptied in an erasure, while the step stays."""

    __tablename__ = "follow_up_note"
    __table_args__ = (Index("ix_follow_up_note_follow_up_id", "follow_up_id", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    follow_up_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("follow_up.id"))
    place_sealed: Mapped[bytes | None]
    place = Sealed()
    note_sealed: Mapped[bytes | None]
    note = Sealed()


class FollowUpEvent(Base):
    """Each step of a follow-up, append-only. `happened_on`: the day of what it tells of; `contacted_on`: the day on
    which it brought somebody into contact with the person."""

    __tablename__ = "follow_up_event"
    __table_args__ = (Index("ix_follow_up_event_follow_up_id", "follow_up_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    follow_up_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("follow_up.id"))
    at: Mapped[datetime]
    status: Mapped[FollowUpStatus]
    action: Mapped[FollowUpAction] = mapped_column(server_default="changed")
    step: Mapped[ReferralStep | None]
    happened_on: Mapped[date | None]
    contacted_on: Mapped[date | None]
    assignee_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    note_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("follow_up_note.id"))
    actor_role: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]


class FirstContact(Base):
    """How many people with an abnormal result of a month were first reached after so many days (-1: not yet), of
    these how many within their limit and how many too late. Made anew by a job from the steps of follow-ups."""

    __tablename__ = "first_contact"

    region_code: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    days: Mapped[int] = mapped_column(primary_key=True)
    people: Mapped[int]
    within: Mapped[int]
    late: Mapped[int]
    as_of: Mapped[datetime]
