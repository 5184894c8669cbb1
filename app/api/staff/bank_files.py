"""Files for the bank and its answers."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.hospital_files import Answer as Shown
from app.api.hospital_files import Commit
from app.api.sheets import UPLOAD, XLSX, sheet
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.disbursements import BankFileStatus
from app.services import disbursements, hospital_files
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.imports import FileRefused

router = APIRouter(prefix="/bank-files", tags=["支出 spending"])
Pay = Annotated[Actor, staff_may(Permission.DISBURSEMENT_PAY)]


class BankFileView(View):
    id: uuid.UUID
    number: str
    fund_id: uuid.UUID
    region_code: str
    lines: int
    amount_fen: int
    status: BankFileStatus
    made_at: datetime
    version: int


class CancelBankFile(Versioned):
    model_config = example(version=1, reason="网银未受理")

    reason: Line


@router.post(
    "",
    status_code=201,
    summary="生成付款文件 Make a file for the bank",
    responses=problems(
        NotFound,
        disbursements.NotToPay,
        disbursements.PayerDecided,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def make_bank_file(
    db: Db, actor: Pay, key: IdempotencyKey, body: disbursements.NewBankFile
) -> BankFileView:
    """Of approved payments of one fund, all or none; each is in one file at a time."""
    return BankFileView.model_validate(await disbursements.make_bank_file(db, actor, key=key, new=body))


@router.get("", summary="付款文件 Files for the bank", response_model=Listing[BankFileView])
async def list_bank_files(
    db: Db, actor: Pay, page: Paging, status: Annotated[BankFileStatus | None, Query()] = None
) -> dict[str, Any]:
    """Of the own region, the newest first."""
    after = page.after_one(uuid.UUID)
    rows = await disbursements.bank_files(db, actor, status=status, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get(
    "/{id}/workbook",
    summary="下载付款文件 The sheet for the bank",
    response_class=Response,
    responses=problems(NotFound, WrongState) | XLSX,
)
async def bank_file_workbook(db: Db, actor: Pay, id: uuid.UUID, purpose: Purpose) -> Response:
    """Names and accounts in full, of what the bank has not answered. Its last columns take the answer."""
    number, made = await disbursements.bank_workbook(db, actor, id=id, purpose=purpose)
    return sheet(made, f"付款文件 {number}.xlsx")


@router.post(
    "/{id}/cancel", summary="撤销付款文件 Cancel a file", responses=problems(NotFound, StaleVersion, WrongState)
)  # fmt: skip
async def cancel_bank_file(db: Db, actor: Pay, id: uuid.UUID, body: CancelBankFile) -> BankFileView:
    """What the bank has not answered may go into another file. Only when it surely pays nothing of it any more."""
    file = await disbursements.cancel_bank_file(db, actor, id=id, version=body.version, reason=body.reason)
    return BankFileView.model_validate(file)


@router.post(
    "/{id}/answer",
    summary="上传银行结果 Upload the bank's answer",
    responses=problems(NotFound, WrongState, FileRefused, disbursements.PayerDecided),
    response_model=disbursements.AnswerTaken,
    openapi_extra=UPLOAD,
)
async def take_bank_answer(
    db: Db, actor: Pay, request: Request, id: uuid.UUID, commit: Commit = False, answer: Shown = "json"
) -> Any:
    """The body is the file itself, xlsx or csv. First without `commit`; then the same file with it. What was paid is
    posted; what failed is approved as before, in no file, with the bank's reason. The same again changes nothing."""
    data = await request.body()
    taken, file, judged = await disbursements.take_answer(db, actor, id=id, data=data, commit=commit)
    if answer == "xlsx":
        return sheet(await hospital_files.annotated_copy(file, judged), "付款结果.xlsx")
    return taken
