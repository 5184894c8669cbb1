"""What becomes of reports when people move."""

import uuid
from collections.abc import Collection

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.results import DiagnosticReport


async def hand_over(db: AsyncSession, people: Collection[uuid.UUID], region_code: str) -> None:
    """The village that follows up reads the reports; the one that no longer does reads them no more."""
    theirs = update(DiagnosticReport).where(DiagnosticReport.person_id.in_(people))
    await db.execute(theirs.values(region_code=region_code).execution_options(synchronize_session=False))
