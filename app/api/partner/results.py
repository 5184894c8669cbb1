"""Reports: a hospital posts them with their documents, and asks what became of them and what may be reported."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from app import errors
from app.access import Actor, Permission
from app.api.deps import Db, partner_may
from app.api.results import ItemView
from app.errors import BodyTooLarge, NotFound, Problem, problems
from app.services.results import attachments, catalogue, forms, receipts, reports
from app.services.results.foetal_sex import FoetalSexRefused
from app.services.results.pdf import ActivePdf, NotAPdf
from app.services.results.posted import PostedReport

router = APIRouter(tags=["结果 results"])


@router.post(
    "/reports",
    status_code=201,
    summary="上传报告 Post a report",
    response_model=reports.Accepted,
    responses=problems(
        NotFound, reports.NotAttended, reports.ReportConflict, reports.IllegalReportStatus, FoetalSexRefused
    )
    | {200: {"model": reports.Accepted, "description": "已收到过 The very same version came before"}},
)
async def post_report(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.REPORT_POST)],
    request: Request,
    response: Response,
    report: PostedReport,
) -> Any:
    """One version of a report. Your number, the version and the content make it idempotent, so that no
    Idempotency-Key is needed: the same bytes again answer 200. A correction is a new version; versions may
    arrive in any order."""
    answer = await reports.accept(
        db, actor, report=report, raw=await request.body(), signature=signed_by(request)
    )
    if isinstance(answer, Problem):
        return errors.response(request, answer)
    if answer.state == "replayed":
        response.status_code = 200
    return answer


def signed_by(request: Request) -> str:
    """The signature covers message id and timestamp too: without them it proves nothing later."""
    headers = request.headers
    return f"{headers['webhook-id']}.{headers['webhook-timestamp']} {headers['webhook-signature']}"


@router.get(
    "/reports/{external_id}", summary="报告接收状态 What became of a report", responses=problems(NotFound)
)
async def report_receipt(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.REPORT_READ)],
    external_id: Annotated[str, Path(pattern="^[A-Za-z0-9._-]{1,64}$")],
) -> receipts.Receipt:
    """Everything received under your number, newest first, with the reason where it is in quarantine."""
    return await receipts.receipt(db, actor, external_id=external_id)


@router.post(
    "/report-attachments",
    status_code=201,
    summary="上传报告附件（PDF） Send the PDF of a report",
    response_model=attachments.Attached,
    responses=problems(
        NotFound,
        BodyTooLarge,
        attachments.NoAttachmentStated,
        attachments.OtherAttachment,
        attachments.ExaminedErased,
        NotAPdf,
        ActivePdf,
    )
    | {200: {"model": attachments.Attached, "description": "已收到过 The very same file came before"}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {attachments.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def post_attachment(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.REPORT_POST)],
    request: Request,
    response: Response,
    external_id: Annotated[str, Query(pattern="^[A-Za-z0-9._-]{1,64}$")],
    version: Annotated[int, Query(ge=1, le=1_000_000)],
) -> attachments.Attached:
    """The body is the PDF itself, signed like every request, after the report that states its SHA-256. It is kept
    whole or not at all. Scripts, files inside and encryption are refused. The couple reads it: no foetal sex."""
    answer = await attachments.accept(
        db, actor, external_id=external_id, version=version, data=await request.body(), signature=signed_by(request)
    )  # fmt: skip
    if answer.state == "replayed":
        response.status_code = 200
    return answer


@router.get(
    "/appointments/{id}/record-forms",
    summary="表单完成情况 Which record forms are complete",
    responses=problems(NotFound),
)
async def record_forms(
    db: Db, actor: Annotated[Actor, partner_may(Permission.REPORT_READ)], id: uuid.UUID
) -> forms.Forms:
    """The 17 forms of the national system: 0 empty, 1 unfinished, 2 finished, with the codes still missing."""
    return await forms.of_appointment(db, actor, appointment_id=id)


@router.get(
    "/services/{id}/items",
    summary="检查项目目录 What a clinic may report",
    response_model=list[ItemView],
    responses=problems(NotFound),
)
async def service_items(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.REPORT_READ)],
    id: uuid.UUID,
    clinic_id: uuid.UUID,
) -> list[ItemView]:
    """The items of everywhere and those that the divisions of the clinic have added, with codes and units."""
    items = await catalogue.of_clinic(db, actor, service_id=id, clinic_id=clinic_id)
    return [ItemView.of(one) for one in items]
