"""Refunds through WeChat Pay, of gifts and of payments in suspense: asked for by an accountant, decided by somebody
else, followed to their end."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Listing, Paging, Versioned, View, example, listing, staff_may
from app.errors import NotFound, StaleVersion, Unavailable, WrongState, problems
from app.models.payments import RefundReason, RefundStatus
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.ledger.periods import BooksOfWholeAssociation
from app.services.ledger.posting import FundInsufficient
from app.services.payments import refundable, refunds, sending
from app.services.reconciliation.suspense import NotAPayment, NothingInSuspense

router = APIRouter(tags=["退款 refunds"])
Read = Annotated[Actor, staff_may(Permission.DONATION_READ)]
Record = Annotated[Actor, staff_may(Permission.DONATION_RECORD)]
Reconcile = Annotated[Actor, staff_may(Permission.RECONCILE)]
Approve = Annotated[Actor, staff_may(Permission.REFUND_APPROVE)]


class RefundView(View):
    """Of a gift, or of a difference whose money is in suspense. `error_code`: WeChat's word for why it did not take it;
    an `abnormal` one waits for somebody to decide."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e31",
        donation_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e30",
        difference_id=None,
        amount_fen=10_000,
        reason="given_twice",
        status="requested",
        error_code=None,
        requested_by="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        approved_by=None,
        requested_at="2026-11-22T01:00:00Z",
        finished_at=None,
        version=1,
    )

    id: uuid.UUID
    donation_id: uuid.UUID | None
    difference_id: uuid.UUID | None
    amount_fen: int
    reason: RefundReason
    status: RefundStatus
    error_code: str | None
    requested_by: uuid.UUID
    approved_by: uuid.UUID | None
    requested_at: datetime
    finished_at: datetime | None
    version: int


@router.post(
    "/donations/{id}/refunds",
    status_code=201,
    summary="申请退款 Ask for a refund",
    responses=problems(
        NotFound, WrongState, NotAPayment, refundable.RefundTooMuch, refunds.RefundUnderWay, refundable.RefundTooLate,
        refundable.ReceiptStillValid, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def request_refund(
    db: Db, actor: Record, key: IdempotencyKey, id: uuid.UUID, body: refunds.NewRefund
) -> RefundView:
    """All of a gift or a part of it, back to where it came from."""
    return RefundView.model_validate(await refunds.request(db, actor, key=key, donation_id=id, new=body))


@router.post(
    "/reconciliation/differences/{id}/refunds",
    status_code=201,
    summary="申请退还待查款项 Ask for a refund of money in suspense",
    responses=problems(
        NotFound, StaleVersion, WrongState, NothingInSuspense, NotAPayment, refundable.RefundTooLate,
        BooksOfWholeAssociation, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def request_refund_of_suspense(
    db: Db, actor: Reconcile, key: IdempotencyKey, id: uuid.UUID, body: refunds.RefundOfSuspense
) -> RefundView:
    """All of it, back to who paid it, while somebody looks into the difference. It is `refunding` until that has
    ended: then resolved, or to be looked into further."""
    row = await refunds.request_of_suspense(db, actor, key=key, difference_id=id, new=body)
    return RefundView.model_validate(row)


@router.get("/refunds", summary="退款列表 Refunds", response_model=Listing[RefundView])
async def list_refunds(
    db: Db, actor: Read, page: Paging, status: Annotated[RefundStatus | None, Query()] = None
) -> dict[str, Any]:
    """Newest first."""
    before = page.after_one(uuid.UUID)
    rows = await refunds.listing(db, actor, status=status, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/refunds/{id}/approve",
    summary="批准退款 Approve a refund",
    responses=problems(
        NotFound, StaleVersion, WrongState, refunds.OwnRefund, BooksOfWholeAssociation, FundInsufficient,
        refundable.ReceiptStillValid,
    ),
)  # fmt: skip
async def approve_refund(db: Db, actor: Approve, id: uuid.UUID, body: Versioned) -> RefundView:
    """Not by who asked for it. The money is held until WeChat has paid it back."""
    return RefundView.model_validate(await refunds.approve(db, actor, id=id, version=body.version))


@router.post(
    "/refunds/{id}/reject",
    summary="驳回退款 Reject a refund",
    responses=problems(NotFound, StaleVersion, WrongState, BooksOfWholeAssociation),
)
async def reject_refund(db: Db, actor: Approve, id: uuid.UUID, body: Versioned) -> RefundView:
    """It is not paid back."""
    return RefundView.model_validate(await refunds.reject(db, actor, id=id, version=body.version))


@router.post(
    "/refunds/{id}/retry",
    summary="重试异常退款 Try an abnormal refund again",
    responses=problems(NotFound, StaleVersion, WrongState, BooksOfWholeAssociation),
)
async def retry_refund(db: Db, actor: Approve, id: uuid.UUID, body: Versioned) -> RefundView:
    """After it was handled in WeChat Pay's merchant console, or what hindered it has gone."""
    return RefundView.model_validate(await refunds.retry(db, actor, id=id, version=body.version))


@router.post(
    "/refunds/{id}/give-up",
    summary="放弃异常退款 Give an abnormal refund up",
    responses=problems(
        NotFound, StaleVersion, WrongState, BooksOfWholeAssociation, refunds.RefundWithWechat, Unavailable
    ),
)  # fmt: skip
async def give_up_refund(actor: Approve, id: uuid.UUID, body: Versioned) -> RefundView:
    """One that WeChat Pay never took, or has closed: the fund keeps the money, or it is in suspense as before."""
    return RefundView.model_validate(await sending.give_up(actor, id=id, version=body.version))
