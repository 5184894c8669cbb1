"""The couple's joint sheets and what is to follow."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.errors import NotFound, problems
from app.models.follow_ups import FollowUpKind, FollowUpStatus
from app.models.results import ReportStatus, RiskClass
from app.services import follow_ups
from app.services.results import reading

router = APIRouter(tags=["结果 results"])
ReadReport = Annotated[Actor, resident_may(Permission.REPORT_READ)]
ReadFollowUp = Annotated[Actor, resident_may(Permission.FOLLOW_UP_READ)]


class OwnReport(View):
    id: uuid.UUID
    service_id: uuid.UUID
    appointment_id: uuid.UUID
    status: ReportStatus
    risk_class: RiskClass | None
    issued_at: datetime


class OwnFollowUp(View):
    id: uuid.UUID
    report_id: uuid.UUID
    kind: FollowUpKind
    status: FollowUpStatus
    due_on: date


@router.get("/reports", summary="我的报告 My reports", response_model=Listing[OwnReport])
async def my_reports(db: Db, actor: ReadReport, page: Paging) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await reading.list_reports(db, actor, after=after[0] if after else None, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/reports/{id}", summary="检查结果 The joint result sheet", responses=problems(NotFound))
async def my_report(db: Db, actor: ReadReport, id: uuid.UUID) -> reading.Sheet:
    """Each spouse sees the joint sheet of the couple's check. Each reading is recorded in both files."""
    return await reading.sheet(db, actor, report_id=id)


@router.get("/follow-ups", summary="我的随访 My follow-ups", response_model=Listing[OwnFollowUp])
async def my_follow_ups(db: Db, actor: ReadFollowUp, page: Paging) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await follow_ups.list_own(db, actor, after=after[0] if after else None, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))
