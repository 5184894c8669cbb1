"""Reports of the worker's region: a masked list, and one sheet for a stated purpose."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, Purpose, listing, staff_may
from app.errors import NotFound, problems
from app.models.results import ReportStatus
from app.services.results import reading

router = APIRouter(tags=["结果 results"])
Read = Annotated[Actor, staff_may(Permission.REPORT_READ)]


@router.get(
    "/reports", summary="本辖区报告 Reports of the region", response_model=Listing[reading.ListedReport]
)
async def region_reports(
    db: Db, actor: Read, page: Paging, status: ReportStatus | None = None
) -> dict[str, Any]:
    """Newest first, names masked. What was found is on the sheet, for a stated purpose."""
    after = page.after(uuid.UUID)
    rows = await reading.list_reports(
        db, actor, after=after[0] if after else None, limit=page.limit + 1, status=status
    )
    return listing(rows, page, lambda row: (row.id,))


@router.get("/reports/{id}", summary="报告详情 A result sheet", responses=problems(NotFound))
async def region_report(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> reading.Sheet:
    """Recorded, with the purpose, in the file of each person examined."""
    return await reading.sheet(db, actor, report_id=id, purpose=purpose)
