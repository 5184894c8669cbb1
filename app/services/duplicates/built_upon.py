"""What was written since a merge about rows that it moved: undoing it would part them."""

import uuid
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.duplicates import Merge
from app.models.follow_ups import FollowUp
from app.models.results import DiagnosticReport, Observation
from app.services.duplicates.changes import Changes, place

REFERENCES = ("person_id", "spouse_id")


async def built_upon(db: AsyncSession, row: Merge, changes: Changes) -> list[dict[str, Any]]:
    """Reports of appointments that moved, values and follow-ups of reports that moved: what names the one who is kept
    and did not move itself has come since."""
    kept = row.kept_person_id
    if kept is None:
        return []
    reports, appointments = _moved(changes, "diagnostic_report"), _moved(changes, "appointment")
    own = or_(DiagnosticReport.person_id == kept, DiagnosticReport.spouse_id == kept)
    posted = select(DiagnosticReport.id).where(
        own, DiagnosticReport.appointment_id.in_(appointments), DiagnosticReport.id.not_in(reports)
    )
    # A value never moves.
    measured = (
        select(Observation.report_id)
        .where(Observation.person_id == kept, Observation.report_id.in_(reports))
        .distinct()
    )
    opened = select(FollowUp.id).where(
        FollowUp.person_id == kept, FollowUp.report_id.in_(reports),
        FollowUp.id.not_in(_moved(changes, "follow_up")),
    )  # fmt: skip
    return [
        *[place("diagnostic_report", id, "person_id") for id in await db.scalars(posted)],
        *[place("diagnostic_report", id, "current_version") for id in await db.scalars(measured)],
        *[place("follow_up", id, "person_id") for id in await db.scalars(opened)],
    ]


def _moved(changes: Changes, table: str) -> list[uuid.UUID]:
    return [
        uuid.UUID(one["key"][0]) for one in changes if one["table"] == table and one["column"] in REFERENCES
    ]
