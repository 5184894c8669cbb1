"""Reports: a hospital posts them, and asks what became of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from app import errors
from app.access import Actor, Permission
from app.api.deps import Db, partner_may
from app.errors import NotFound, Problem, problems
from app.services.results import receipts, reports
from app.services.results.posted import FoetalSexRefused, PostedReport

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
    # The signature covers message id and timestamp too: without them it proves nothing later.
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']} {headers['webhook-signature']}"
    answer = await reports.accept(db, actor, report=report, raw=await request.body(), signature=signed)
    if isinstance(answer, Problem):
        return errors.response(request, answer)
    if answer.state == "replayed":
        response.status_code = 200
    return answer


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
