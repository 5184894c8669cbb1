"""The couple's joint sheets, the hospital's own documents, and one's values over time."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.api.results import HTML_HEADERS, PDF, PDF_HEADERS, SVG, Code
from app.errors import NotFound, problems
from app.models.results import ReportStatus
from app.services.files import FileGone
from app.services.identity import NotBound
from app.services.results import attachments, drawing, page, reading, trends

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
    after = page.after_one(uuid.UUID)
    rows = await reading.list_reports(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/reports/{id}", summary="检查结果 The joint result sheet", responses=problems(NotFound))
async def my_report(db: Db, actor: ReadReport, id: uuid.UUID) -> reading.Sheet:
    """Each spouse sees the joint sheet of the couple's check. Each reading is recorded in both files."""
    return await reading.sheet(db, actor, report_id=id)


@router.get(
    "/reports/{id}/page",
    summary="结果告知书（打印） The joint sheet to print",
    response_class=HTMLResponse,
    responses=problems(NotFound),
)
async def my_report_page(db: Db, actor: ReadReport, id: uuid.UUID) -> HTMLResponse:
    """Recorded like a reading of the sheet."""
    return HTMLResponse(await page.page(db, actor, report_id=id), headers=HTML_HEADERS)


@router.get(
    "/reports/{id}/attachment",
    summary="下载医院报告（PDF） The hospital's own document",
    response_class=Response,
    responses=problems(NotFound, FileGone) | PDF,
)
async def my_attachment(db: Db, actor: ReadReport, id: uuid.UUID) -> Response:
    """Of the current version, where the hospital sent one. Recorded in both files."""
    data = await attachments.download(db, actor, report_id=id)
    return Response(data, media_type=attachments.MEDIA_TYPE, headers=PDF_HEADERS)


@router.get(
    "/results/trends",
    summary="指标变化图 My values over time",
    response_class=Response,
    responses=problems(NotFound, NotBound) | SVG,
)
async def my_trend(db: Db, actor: ReadReport, code: Code) -> Response:
    """A picture (SVG) of one's own numbers under a code, each with its laboratory's range; at most the newest 24."""
    trend = await trends.own(db, actor, code=code)
    return Response(drawing.svg(trend), media_type="image/svg+xml", headers=HTML_HEADERS)
