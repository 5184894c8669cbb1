"""Bills of WeChat Pay against the books: the bills, the work list of differences, and why the clearing is not zero."""

import uuid
from calendar import monthrange
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from app.access import Actor, Permission
from app.api.deps import Day, Db, Listing, Paging, Versioned, View, listing, staff_may
from app.api.sheets import UPLOAD, XLSX, sheet
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.reconciliation import BillType, DifferenceKind, DifferenceStatus
from app.services.ledger.periods import BooksOfWholeAssociation
from app.services.ledger.posting import FundInsufficient
from app.services.reconciliation import differences, fetching, report, workbook
from app.services.reconciliation.bills import BillRefused
from app.services.reconciliation.suspense import NothingInSuspense

router = APIRouter(prefix="/reconciliation", tags=["对账 reconciliation"])
Read = Annotated[Actor, staff_may(Permission.LEDGER_READ)]
Reconcile = Annotated[Actor, staff_may(Permission.RECONCILE)]
Approve = Annotated[Actor, staff_may(Permission.WRITE_OFF_APPROVE)]
STEP = problems(NotFound, StaleVersion, WrongState, BooksOfWholeAssociation)
Period = Annotated[
    str, Path(pattern="^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$", description="A day, 2026-11-20, or a month, 2026-11")
]


class BillView(View):
    """`sha1` is null where the day has no bill. Of a fund-flow bill: all that came in, all that went out."""

    id: uuid.UUID
    bill_date: date
    bill_type: BillType
    sha1: str | None
    lines: int
    paid_fen: int
    refunded_fen: int
    fee_fen: int
    balance_fen: int | None
    uploaded_by: uuid.UUID | None
    fetched_at: datetime
    reconciled_at: datetime | None


class DifferenceView(View):
    """The amounts are what it does to 100901: a refund is less than nothing."""

    id: uuid.UUID
    bill_date: date
    kind: DifferenceKind
    status: DifferenceStatus
    reference: str
    ours_fen: int
    theirs_fen: int
    in_suspense: bool
    note: str | None
    proposed_by: uuid.UUID | None
    approved_by: uuid.UUID | None
    created_at: datetime
    resolved_at: datetime | None
    version: int


class DifferenceDetail(DifferenceView):
    lines: list[differences.Line]


def _view(row: Any) -> DifferenceView:
    """In suspense until the difference ends."""
    waiting = row.transfer_id is not None and row.status in differences.LIVE
    return DifferenceView.model_validate({**vars(row), "note": row.note, "in_suspense": waiting})


@router.get("/bills", summary="账单 Bills", response_model=Listing[BillView])
async def list_bills(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Newest day first."""
    before = page.after(date.fromisoformat, BillType)
    rows = await fetching.listing(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.bill_date, row.bill_type))


@router.post(
    "/bills",
    summary="上传账单 Upload a bill",
    responses=problems(BillRefused, fetching.BillDiffers, BooksOfWholeAssociation),
    openapi_extra=UPLOAD,
)
async def upload_bill(
    request: Request, actor: Reconcile, day: Day, bill_type: Annotated[BillType, Query(alias="type")]
) -> BillView:
    """The body is the file as downloaded from WeChat's merchant page. Taken whole or not at all; matched by a job. The
    same file again changes nothing."""
    content = await request.body()
    return BillView.model_validate(await fetching.upload(actor, day=day, kind=bill_type, content=content))


@router.get("/differences", summary="差异清单 Differences", response_model=Listing[DifferenceView])
async def list_differences(
    db: Db, actor: Read, page: Paging, status: DifferenceStatus | None = None
) -> dict[str, Any]:
    """The work list, the oldest day first."""
    after = page.after_one(uuid.UUID)
    rows = await differences.listing(db, actor, status=status, after=after, limit=page.limit + 1)
    shown = listing(rows, page, lambda row: (row.id,))
    shown["items"] = [_view(row) for row in shown["items"]]
    return shown


@router.get("/differences/{id}", summary="差异详情 A difference", responses=problems(NotFound))
async def read_difference(db: Db, actor: Read, id: uuid.UUID) -> DifferenceDetail:
    """With the lines of bills that speak of it."""
    row, lines = await differences.detail(db, actor, id)
    return DifferenceDetail(**_view(row).model_dump(), lines=lines)


@router.post("/differences/{id}/investigate", summary="开始核查 Look into it", responses=STEP)
async def investigate_difference(db: Db, actor: Reconcile, id: uuid.UUID, body: Versioned) -> DifferenceView:
    return _view(await differences.investigate(db, actor, id=id, version=body.version))


@router.post(
    "/differences/{id}/resolve",
    summary="处理差异 Resolve",
    responses=STEP | problems(
        NotFound, StaleVersion, WrongState, NothingInSuspense, differences.MoneyInSuspense, FundInsufficient,
    ),
)  # fmt: skip
async def resolve_difference(
    db: Db, actor: Reconcile, id: uuid.UUID, body: differences.Resolve
) -> DifferenceView:
    """What it was: money in suspense is a fund's, or our own; or there is none, and the note explains it. What is to go
    back to who paid it is refunded (`…/refunds`); done on WeChat's merchant page, the next bill explains it."""
    return _view(await differences.resolve(db, actor, id=id, body=body))


@router.post("/differences/{id}/propose", summary="申请核销 Propose to write off", responses=STEP)
async def propose_write_off(
    db: Db, actor: Reconcile, id: uuid.UUID, body: differences.Propose
) -> DifferenceView:
    """Somebody else approves it."""
    return _view(await differences.propose(db, actor, id=id, body=body))


@router.post(
    "/differences/{id}/approve",
    summary="批准核销 Approve the write-off",
    responses=problems(NotFound, StaleVersion, WrongState, BooksOfWholeAssociation, differences.OwnProposal),
)
async def approve_write_off(db: Db, actor: Approve, id: uuid.UUID, body: Versioned) -> DifferenceView:
    """Booked with the fundraising costs (5301), if there is money in it."""
    return _view(await differences.approve(db, actor, id=id, version=body.version))


@router.post("/differences/{id}/decline", summary="不同意核销 Decline the write-off", responses=STEP)
async def decline_write_off(db: Db, actor: Approve, id: uuid.UUID, body: Versioned) -> DifferenceView:
    """It is looked into further."""
    return _view(await differences.decline(db, actor, id=id, version=body.version))


def _days(period: str) -> tuple[date, date]:
    try:
        first = date.fromisoformat(period if len(period) == 10 else f"{period}-01")
    except ValueError as error:
        raise Invalid.at("#path/period", "应为日期或月份", "a day or a month") from error
    if not 2000 <= first.year <= 2200:
        raise Invalid.at("#path/period", "应为日期或月份", "a day or a month")
    if len(period) == 10:
        return first, first
    return first, first.replace(day=monthrange(first.year, first.month)[1])


@router.get("/reports/{period}", summary="对账报告 The report of a day or month")
async def clearing_report(db: Db, actor: Read, period: Period) -> report.ClearingReport:
    """What was paid, refunded, charged, paid out; what is on 100901, and to the fen why it is not zero."""
    first, last = _days(period)
    return await report.report(db, actor, first=first, last=last)


@router.get(
    "/reports/{period}/workbook",
    summary="下载对账报告 The report as a sheet",
    response_class=Response,
    responses=XLSX,
)
async def clearing_workbook(db: Db, actor: Read, period: Period) -> Response:
    """In yuan."""
    first, last = _days(period)
    file = await workbook.clearing_workbook(db, actor, first=first, last=last)
    return sheet(file, f"reconciliation-{period}.xlsx")
