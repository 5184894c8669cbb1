"""Spending: drafted, submitted, approved by another, paid by a third, acknowledged; and how much each role approves."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Day,
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Paging,
    Purpose,
    RegionCode,
    Version,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.sheets import XLSX, sheet
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.disbursements import DisbursementStatus
from app.models.identity import Role
from app.services import disbursements, regions
from app.services.disbursements.forms import SHOWN, Fen
from app.services.funds.funds import FundClosed
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.ledger.posting import FundInsufficient

router = APIRouter(tags=["支出 spending"])
Read = Annotated[Actor, staff_may(Permission.DISBURSEMENT_READ)]
Submit = Annotated[Actor, staff_may(Permission.DISBURSEMENT_SUBMIT)]
Approve = Annotated[Actor, staff_may(Permission.DISBURSEMENT_APPROVE)]
Pay = Annotated[Actor, staff_may(Permission.DISBURSEMENT_PAY)]
Status = Annotated[DisbursementStatus | None, Query()]
Fund = Annotated[uuid.UUID | None, Query()]
Region = Annotated[RegionCode | None, Query(description="This region and those below it")]
KEYED = (IdempotencyKeyReused, IdempotencyKeyTaken)
STEP = (NotFound, StaleVersion, WrongState)


class ChangeDisbursement(Body):
    model_config = example(version=1, disbursement=SHOWN)

    version: Version
    disbursement: disbursements.NewDisbursement


class DecidedBecause(Versioned):
    model_config = example(version=2, reason="缺少申请材料")

    reason: Line


class PayDisbursement(Versioned):
    """`paid_fen` and `paid_on` without a value: all of it, today."""

    model_config = example(version=3, paid_fen=200_000, paid_on="2026-11-20", note="网银转账")

    paid_fen: Fen | None = None
    paid_on: Day | None = None
    note: Line | None = None


class AcknowledgeDisbursement(Versioned):
    model_config = example(version=4, acknowledged_on="2026-11-21", note="本人签收，签收单第 12 号")

    acknowledged_on: Day
    note: Line


class LimitView(View):
    id: uuid.UUID
    region_code: str
    role: Role
    limit_fen: int
    version: int


@router.post(
    "/disbursements", status_code=201, summary="起草支出 Draft a payment", responses=problems(Invalid, *KEYED)
)
async def draft_disbursement(
    db: Db, actor: Submit, key: IdempotencyKey, body: disbursements.NewDisbursement
) -> disbursements.Row:
    """From a fund of the own region or of one above, under one of its budget lines of this year."""
    return disbursements.row_of(await disbursements.draft(db, actor, key=key, new=body))


@router.get("/disbursements", summary="支出 Payments", response_model=Listing[disbursements.Row])
async def list_disbursements(
    db: Db, actor: Read, page: Paging, status: Status = None, fund_id: Fund = None, region_code: Region = None,
    work: disbursements.Work | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Of the own region, the newest first, names and accounts masked. `work`: what waits for oneself."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await disbursements.listing(
        db, actor, status=status, fund_id=fund_id, region_code=region_code, work=work, after=after,
        limit=page.limit + 1,
    )  # fmt: skip
    return listing(rows, page, lambda row: (row.created_at.isoformat(), row.id))


@router.get(
    "/disbursements/workbook",
    summary="下载支出清单 Payments as a sheet",
    response_class=Response,
    responses=XLSX,
)
async def disbursements_workbook(
    db: Db, actor: Read, status: Status = None, fund_id: Fund = None, region_code: Region = None
) -> Response:
    """Masked as the list is; the newest 10,000."""
    made = await disbursements.workbook(db, actor, status=status, fund_id=fund_id, region_code=region_code)
    return sheet(made, "支出清单.xlsx")


@router.get(
    "/disbursements/{id}", summary="支出详情 A payment in full", responses=problems(NotFound)
)  # fmt: skip
async def disbursement_detail(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> disbursements.Detail:
    """Name and account in full, every step, and what is worth a second look. Recorded in the payee's file."""
    return await disbursements.detail(db, actor, id=id, purpose=purpose)


@router.put(
    "/disbursements/{id}", summary="修改草稿 Change a draft", responses=problems(*STEP, Invalid)
)  # fmt: skip
async def change_disbursement(
    db: Db, actor: Submit, id: uuid.UUID, body: ChangeDisbursement
) -> disbursements.Row:
    row = await disbursements.change(db, actor, id=id, version=body.version, new=body.disbursement)
    return disbursements.row_of(row)


@router.post(
    "/disbursements/{id}/copy",
    status_code=201,
    summary="复制为新草稿 Draft anew",
    responses=problems(NotFound, WrongState, disbursements.SourceTaken, *KEYED),
)
async def copy_disbursement(db: Db, actor: Submit, key: IdempotencyKey, id: uuid.UUID) -> disbursements.Row:
    """From one that was rejected, voided or has expired, to be corrected and submitted."""
    return disbursements.row_of(await disbursements.copy(db, actor, key=key, id=id))


@router.post(
    "/disbursements/{id}/submit",
    summary="提交审批 Submit for approval",
    responses=problems(*STEP, FundClosed, disbursements.BudgetYearOver),
)
async def submit_disbursement(db: Db, actor: Submit, id: uuid.UUID, body: Versioned) -> disbursements.Row:
    """It is changed no more; somebody else decides."""
    return disbursements.row_of(await disbursements.submit(db, actor, id=id, version=body.version))


@router.post(
    "/disbursements/{id}/approve",
    summary="批准支出 Approve a payment",
    responses=problems(
        *STEP, disbursements.OwnDisbursement, disbursements.BeyondLimit, disbursements.BudgetExceeded,
        disbursements.BudgetYearOver, FundClosed, FundInsufficient, *KEYED,
    ),
)  # fmt: skip
async def approve_disbursement(
    db: Db, actor: Approve, key: IdempotencyKey, id: uuid.UUID, body: Versioned
) -> disbursements.Row:
    """Of what others drafted, changed and submitted, up to the limit of the role, the budget line and the fund, which
    holds the money. A refusal for want of money stands for this Idempotency-Key; a new key is a new attempt."""
    return disbursements.row_of(await disbursements.approve(db, actor, key=key, id=id, version=body.version))


@router.post("/disbursements/{id}/reject", summary="驳回 Reject a payment", responses=problems(*STEP))
async def reject_disbursement(
    db: Db, actor: Approve, id: uuid.UUID, body: DecidedBecause
) -> disbursements.Row:
    row = await disbursements.reject(db, actor, id=id, version=body.version, reason=body.reason)
    return disbursements.row_of(row)


@router.post(
    "/disbursements/{id}/void",
    summary="作废 Void a payment",
    responses=problems(
        *STEP, disbursements.InBankFile, disbursements.OwnDisbursement, disbursements.BeyondLimit
    ),
)
async def void_disbursement(db: Db, actor: Approve, id: uuid.UUID, body: DecidedBecause) -> disbursements.Row:
    """The money returns to the fund and the budget line. Not while a bank file holds it. What was paid, too, when the
    bank sent it back: that is decided like an approval, by none of those who asked for it or paid it."""
    row = await disbursements.void(db, actor, id=id, version=body.version, reason=body.reason)
    return disbursements.row_of(row)


@router.post(
    "/disbursements/{id}/pay",
    summary="登记付款 Record a payment as made",
    responses=problems(*STEP, Invalid, disbursements.PayerDecided, disbursements.InBankFile),
)
async def pay_disbursement(db: Db, actor: Pay, id: uuid.UUID, body: PayDisbursement) -> disbursements.Row:
    """All of it or less; the rest returns to fund and budget. What is in a bank file is paid by the bank's answer."""
    row = await disbursements.pay(
        db, actor, id=id, version=body.version, paid_fen=body.paid_fen, paid_on=body.paid_on, reason=body.note
    )
    return disbursements.row_of(row)


@router.post(
    "/disbursements/{id}/acknowledge",
    summary="登记签收 Record that the payee signed",
    responses=problems(*STEP, Invalid),
)
async def acknowledge_disbursement(
    db: Db, actor: Submit, id: uuid.UUID, body: AcknowledgeDisbursement
) -> disbursements.Row:
    row = await disbursements.acknowledge(
        db, actor, id=id, version=body.version, on=body.acknowledged_on, note=body.note
    )
    return disbursements.row_of(row)


@router.get("/approval-limits", summary="审批限额 Approval limits", response_model=Listing[LimitView])
async def list_approval_limits(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Of the own region, those below and those above. The nearest region's counts."""
    after: Any = page.after(str, Role)
    rows = await disbursements.limits_listing(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.region_code, row.role.value))


@router.put(
    "/approval-limits",
    summary="设定审批限额 Set an approval limit",
    responses=problems(NotFound, Invalid, disbursements.OwnLimit, regions.RegionOutsideOwn),
)
async def set_approval_limit(
    db: Db, actor: Annotated[Actor, staff_may(Permission.APPROVAL_LIMIT_SET)], body: disbursements.NewLimit
) -> LimitView:
    """Of another role, in the own region or below. It counts for what is approved from now on."""
    return LimitView.model_validate(await disbursements.set_limit(db, actor, new=body))
