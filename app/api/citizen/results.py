"""The couple's joint sheets."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.errors import NotFound, problems
from app.models.results import ReportStatus
from app.services.results import reading

router = APIRouter(tags=["结果 results"])
ReadReport = Annotated[Actor, resident_may(Permission.REPORT_READ)]


class OwnReport(View):
    id: uuid.UUID
    service_id: uuid.UUID
    appointment_id: uuid.UUID
    status: ReportStatus
    issued_at: datetime


@router.get("/reports", summary="我的报告 My reports", response_model=Listing[OwnReport])
async def my_reports(db: Db, actor: ReadReport, page: Paging) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await reading.list_reports(db, actor, after=after[0] if after else None, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/reports/{id}", summary="检查结果 The joint result sheet", responses=problems(NotFound))
async def my_report(db: Db, actor: ReadReport, id: uuid.UUID) -> reading.Sheet:
    """Each spouse sees the joint sheet of the couple's check. Each reading is recorded in both files."""
    return await reading.sheet(db, actor, report_id=id)
