"""What becomes of the documents of reports in an erasure (PIPL art. 47)."""

import uuid

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.files import StoredFile, StoredFileChunk
from app.models.results import DiagnosticReport, ReportAttachment


async def erase_attachments(db: AsyncSession, person_id: uuid.UUID) -> None:
    """They name whom they are about, so that their content goes. The values stay, about nobody."""
    theirs = or_(DiagnosticReport.person_id == person_id, DiagnosticReport.spouse_id == person_id)
    query = (
        select(ReportAttachment.file_id)
        .join(DiagnosticReport, DiagnosticReport.id == ReportAttachment.report_id)
        .where(theirs)
    )
    ids = list(await db.scalars(query))
    await db.execute(update(StoredFile).where(StoredFile.id.in_(ids)).values(purged_at=clock.now()))
    await db.execute(delete(StoredFileChunk).where(StoredFileChunk.file_id.in_(ids)))
