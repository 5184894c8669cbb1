"""Receipts (公益事业捐赠票据): what was asked for, and the numbers that the finance department's system gave."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.hospital_files import Answer, Commit, FileVerdict, told
from app.api.sheets import UPLOAD, XLSX, sheet
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.donations import ReceiptStatus
from app.services.donations import receipt_files, receipts
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.imports import FileRefused
from app.services.payments.refunds import RefundUnderWay

router = APIRouter(tags=["捐赠 donations"])
Read = Annotated[Actor, staff_may(Permission.DONATION_READ)]
Record = Annotated[Actor, staff_may(Permission.DONATION_RECORD)]
TWICE = (IdempotencyKeyReused, IdempotencyKeyTaken)


class ReceiptLine(View):
    """What is to be issued; payers are in the workbook."""

    id: uuid.UUID
    donation_id: uuid.UUID
    number: str
    amount_fen: int
    status: str
    receipt_number: str | None
    requested_at: datetime
    version: int


class ReceiptState(View):
    """How it stands, without the payer: nobody had to say what for."""

    id: uuid.UUID
    status: ReceiptStatus
    receipt_code: str | None
    receipt_number: str | None
    check_code: str | None
    issued_on: date | None
    reason: str | None
    requested_at: datetime
    version: int


class ReceiptView(ReceiptState):
    """With the payer in full."""

    payer: str | None
    payer_number: str | None


class IssueReceipt(Versioned):
    model_config = example(
        version=1,
        issued={
            "receipt_code": "64060126", "receipt_number": "0000012345", "check_code": "a1b2c3",
            "issued_on": "2026-11-21",
        },
    )  # fmt: skip

    issued: receipts.Issued


class WithReason(Versioned):
    model_config = example(version=1, reason="抬头与捐赠人不一致")

    reason: Note


@router.get("/receipt-requests", summary="票据申请 Receipts asked for", response_model=Listing[ReceiptLine])
async def receipt_requests(
    db: Db, actor: Read, page: Paging, status: ReceiptStatus = ReceiptStatus.REQUESTED
) -> dict[str, Any]:
    """Of one status, the oldest first."""
    after = page.after_one(uuid.UUID)
    rows = await receipts.listed(db, actor, status=status, after=after, limit=page.limit + 1)
    answer = listing(rows, page, lambda row: (row[0].id,))
    answer["items"] = [
        {
            "id": row.id, "donation_id": gift.id, "number": gift.number,
            "amount_fen": gift.amount_fen - gift.refunded_fen, "status": row.status,
            "receipt_number": row.receipt_number, "requested_at": row.requested_at, "version": row.version,
        }
        for row, gift in answer["items"]
    ]  # fmt: skip
    return answer


@router.get(
    "/receipt-requests/workbook", summary="下载票据申请表 Receipts to issue", response_class=Response,
    responses=XLSX,
)  # fmt: skip
async def receipt_workbook(db: Db, actor: Record, purpose: Purpose) -> Response:
    """For the finance department's system, payers in full: recorded for each. Fill in the last four columns and upload
    it again."""
    return sheet(await receipt_files.workbook(db, actor, purpose=purpose), "捐赠票据申请表.xlsx")


@router.post(
    "/receipt-files", summary="上传票据号码 Upload receipt numbers",
    responses=problems(FileRefused), response_model=FileVerdict, openapi_extra=UPLOAD,
)  # fmt: skip
async def upload_receipts(
    db: Db, actor: Record, request: Request, commit: Commit = False, answer: Answer = "json"
) -> Any:
    """The workbook with the numbers filled in. First without `commit`; then the same file with it."""
    taken = await receipt_files.take(db, actor, data=await request.body(), commit=commit)
    return await told(*taken, commit=commit, answer=answer)


@router.post(
    "/donations/{id}/receipt-requests", status_code=201, summary="代为申请票据 Ask for a receipt",
    responses=problems(NotFound, receipts.ReceiptAlreadyAsked, receipts.NoReceiptForThis, *TWICE),
)  # fmt: skip
async def ask_receipt_for(
    db: Db, actor: Record, id: uuid.UUID, key: IdempotencyKey, body: receipts.Payer
) -> ReceiptState:
    """For a donor who asked in writing."""
    row = await receipts.request(db, actor, key=key, donation_id=id, payer=body)
    return ReceiptState.model_validate(row)


@router.post(
    "/receipt-requests/{id}/issue", summary="登记票据号码 Enter the number of a receipt",
    responses=problems(
        Invalid, NotFound, StaleVersion, WrongState, RefundUnderWay, receipts.ReceiptNumberTaken,
        receipts.NoReceiptForThis,
    ),
)  # fmt: skip
async def issue_receipt(db: Db, actor: Record, id: uuid.UUID, body: IssueReceipt) -> ReceiptState:
    """As the finance department's system issued it; the donor is told."""
    row = await receipts.issue(db, actor, id=id, version=body.version, issued=body.issued)
    return ReceiptState.model_validate(row)


@router.post(
    "/receipt-requests/{id}/refuse", summary="不予开具 Refuse a receipt",
    responses=problems(NotFound, StaleVersion, WrongState),
)  # fmt: skip
async def refuse_receipt(db: Db, actor: Record, id: uuid.UUID, body: WithReason) -> ReceiptState:
    """The donor is told, sees the reason, and may ask anew."""
    row = await receipts.refuse(db, actor, id=id, version=body.version, reason=body.reason)
    return ReceiptState.model_validate(row)


@router.post(
    "/receipt-requests/{id}/reverse", summary="登记票据红冲 Reverse a receipt",
    responses=problems(NotFound, StaleVersion, WrongState),
)  # fmt: skip
async def reverse_receipt(db: Db, actor: Record, id: uuid.UUID, body: WithReason) -> ReceiptState:
    """After the finance department's system has reversed it."""
    row = await receipts.reverse(db, actor, id=id, version=body.version, reason=body.reason)
    return ReceiptState.model_validate(row)
