"""Refunds: asked for by one, approved by another, sent to WeChat until it has answered, followed until they end.

The gift is locked before its refund, so that what was refunded of it is known to whoever asks for more; so is what
became of the money in suspense."""

import uuid
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, Forbidden, WrongState
from app.integrations.wechat_pay import RefundState
from app.integrations.wechat_pay import RefundStatus as WechatStatus
from app.models.donations import Donation
from app.models.ledger import Phase
from app.models.payments import Refund, RefundReason, RefundStatus
from app.models.reconciliation import ReconciliationDifference
from app.services import audit, idempotency
from app.services.donations import donors
from app.services.idempotency import Key
from app.services.ledger import posting
from app.services.pages import newest_first
from app.services.payments import refundable
from app.services.plain import Body, example
from app.services.reconciliation import differences, suspense
from app.services.reconciliation.fetching import refuse_others

S = RefundStatus
#: What WeChat may say of a refund in which state.
FROM = {
    S.PROCESSING: (S.APPROVED,),
    S.ABNORMAL: (S.APPROVED, S.PROCESSING),
    S.SUCCEEDED: (S.APPROVED, S.PROCESSING, S.ABNORMAL),
    S.CLOSED: (S.APPROVED, S.PROCESSING, S.ABNORMAL),
}
TOLD = {
    WechatStatus.PROCESSING: S.PROCESSING,
    WechatStatus.ABNORMAL: S.ABNORMAL,
    WechatStatus.SUCCESS: S.SUCCEEDED,
    WechatStatus.CLOSED: S.CLOSED,
}
ORIGINS = ((Refund.donation_id, Donation.id), (Refund.difference_id, ReconciliationDifference.id))
UNDER_WAY = (S.REQUESTED, S.APPROVED, S.PROCESSING, S.ABNORMAL)
SYSTEM = Actor.system("refunds")


class RefundUnderWay(Conflict, constraint="uq_refund_donation_id_live"):
    zh, en = "该笔捐款已有退款在处理中", "A refund of this gift is under way"
    do_zh, do_en = "请等待处理完成", "Wait until it has ended"


class OwnRefund(Forbidden, constraint="ck_refund_four_eyes"):
    zh, en = "不能审批本人申请的退款", "Nobody approves what they asked for"
    do_zh, do_en = "请由其他有审批权限的人员审批", "Let somebody else who may approve do it"


class RefundWithWechat(Conflict):
    """WeChat Pay holds it still: what becomes of it is decided in its merchant console."""

    zh, en = "该退款仍在微信支付处理中", "WeChat Pay holds this refund still"
    do_zh, do_en = "请在微信支付商户平台处理异常退款", "Handle it in the merchant console of WeChat Pay"


class NewRefund(Body):
    model_config = example(amount_fen=10_000, reason="given_twice")

    amount_fen: Annotated[int, Field(ge=1, le=100_000_000_00)]
    reason: RefundReason


class RefundOfSuspense(Body):
    model_config = example(version=2, reason="not_acceptable")

    version: Annotated[int, Field(ge=1, le=2**31)]
    reason: RefundReason


async def request(
    db: AsyncSession, actor: Actor, *, key: Key, donation_id: uuid.UUID, new: NewRefund
) -> Refund:
    """Of a gift through WeChat Pay, all or a part, back to where it came from. One at a time."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Refund, key.id)
    gift = await fetch(db, actor, Donation, donation_id, lock=True)
    transaction_id = await refundable.of_gift(db, gift, new.amount_fen)
    row = _new(actor, key, new.amount_fen, new.reason)
    row.donation_id, row.transaction_id, row.paid_fen = gift.id, transaction_id, gift.amount_fen
    return await _requested(db, actor, row)


async def request_of_suspense(
    db: AsyncSession, actor: Actor, *, key: Key, difference_id: uuid.UUID, new: RefundOfSuspense
) -> Refund:
    """Of a payment that is in suspense, all of it: nobody here asked for it, or it is not what was asked for.
    NotAPayment for what WeChat Pay cannot send back."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Refund, key.id)
    money = await differences.refund(db, actor, id=difference_id, version=new.version)
    refundable.refuse_late(money.bill_date)
    row = _new(actor, key, money.theirs_fen, new.reason)
    row.difference_id, row.transaction_id, row.paid_fen = money.id, money.reference, money.theirs_fen
    return await _requested(db, actor, row)


def _new(actor: Actor, key: Key, amount_fen: int, reason: RefundReason) -> Refund:
    return Refund(
        id=key.id, out_refund_no=key.id.hex, amount_fen=amount_fen, reason=reason, status=S.REQUESTED,
        requested_by=actor.account_id, requested_at=clock.now(),
    )  # fmt: skip


async def _requested(db: AsyncSession, actor: Actor, row: Refund) -> Refund:
    db.add(row)
    await db.flush()  # the constraint speaks here, and the answer shows its version
    await trace(db, actor, row, "request")
    return row


async def trace(db: AsyncSession, actor: Actor, row: Refund, action: str) -> None:
    """In the donor's file, too, where one is known."""
    gift = None if row.donation_id is None else await db.get(Donation, row.donation_id)
    person = None if gift is None else await donors.person_of(db, gift)
    await audit.record(db, actor, action, "refund", row.id, people=[person])


async def under_way(db: AsyncSession, donation_id: uuid.UUID) -> bool:
    """Whether some of a gift is going back."""
    query = select(Refund.id).where(Refund.donation_id == donation_id, Refund.status.in_(UNDER_WAY))
    return await db.scalar(query) is not None


async def approve(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """By somebody else. The money is held, so that nothing else spends it; FundInsufficient if it is gone already:
    such a refund is rejected, and asked for anew when the fund has more."""
    row = await held(db, actor, id, version, S.REQUESTED)
    if row.requested_by == actor.account_id:
        raise OwnRefund
    if row.donation_id is not None:
        await refundable.refuse_valid_receipt(db, row.donation_id)
    row.status, row.approved_by, row.next_query_at = S.APPROVED, actor.account_id, clock.now()
    row.hold_id = posting.transfer_id("hold", "refund", row.id, version)
    await posting.ask(db, await refundable.entry(db, row, row.hold_id, Phase.HOLD))
    await db.flush()  # the answer shows the new version
    await trace(db, actor, row, "approve")
    return row


async def reject(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """It is not paid back."""
    row = await held(db, actor, id, version, S.REQUESTED)
    row.status, row.finished_at = S.REJECTED, clock.now()
    if row.difference_id is not None:
        await suspense.refund_ended(db, actor, row.difference_id, gone=False)
    await db.flush()  # the answer shows the new version
    await trace(db, actor, row, "reject")
    return row


async def retry(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """An abnormal one is followed again, and sent again if WeChat never had it."""
    row = await held(db, actor, id, version, S.ABNORMAL)
    row.status, row.next_query_at, row.error_code = S.PROCESSING, clock.now(), None
    await db.flush()  # the answer shows the new version
    await trace(db, actor, row, "retry")
    return row


async def held(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, status: RefundStatus) -> Refund:
    """For a step from this state, at the version that the actor saw; what it is of is locked first."""
    await _held_origin(db, Refund.id == id, visible(actor, Refund))
    row = await fetch_version(db, actor, Refund, id, version)
    if row.difference_id is not None:
        refuse_others(actor)
    if row.status is not status:
        raise WrongState
    return row


async def _held_origin(db: AsyncSession, *which: ColumnElement[bool]) -> None:
    for origin, id in ORIGINS:
        await db.execute(select(id).where(id.in_(select(origin).where(*which))).with_for_update())


async def settle(db: AsyncSession, state: RefundState) -> str:
    """A refund as WeChat knows it, whoever tells of it, however often and in which order: its new state, again, or
    unexplained when it is not ours. Then the bill will show what moved."""
    same = Refund.out_refund_no == state.out_refund_no
    await _held_origin(db, same)
    ours = select(Refund.transaction_id, Refund.amount_fen, Refund.paid_fen).where(same)
    found = (await db.execute(ours)).one_or_none()
    if found is None or tuple(found) != (state.transaction_id, state.refund_fen, state.total_fen):
        return "unexplained"
    row = await move(db, state.out_refund_no, TOLD[state.status], wechat_refund_id=state.refund_id)
    return "again" if row is None else row.status.value


async def move(db: AsyncSession, out_refund_no: str, to: RefundStatus, **values: Any) -> Refund | None:
    """To where WeChat says it is, if it is not there or beyond; closed, its money is free again."""
    ended = to in (S.SUCCEEDED, S.CLOSED)
    if ended or to is S.ABNORMAL:
        values["next_query_at"] = None
    if to in (S.PROCESSING, S.SUCCEEDED):
        values["error_code"] = None
    row = await db.scalar(
        update(Refund)
        .where(Refund.out_refund_no == out_refund_no, Refund.status.in_(FROM[to]))
        .values(status=to, finished_at=clock.now() if ended else None, version=Refund.version + 1, **values)
        .returning(Refund)
        .execution_options(populate_existing=True)
    )
    if row is None:
        return None
    if ended:
        await _ended(db, row, gone=to is S.SUCCEEDED)
    await trace(db, SYSTEM, row, to.value)
    return row


async def _ended(db: AsyncSession, row: Refund, *, gone: bool) -> None:
    """The money has gone back: the hold is posted, and the gift is less by so much; or it is free again."""
    assert row.hold_id is not None
    if row.difference_id is not None:
        await suspense.refund_ended(db, SYSTEM, row.difference_id, gone=gone)
    phase = Phase.POST if gone else Phase.VOID
    id = posting.transfer_id(phase, row.hold_id)
    await posting.record(db, await refundable.entry(db, row, id, phase))
    if row.donation_id is not None and gone:
        await refundable.less(db, row.donation_id, row.amount_fen)


async def listing(
    db: AsyncSession, actor: Actor, *, status: RefundStatus | None, before: uuid.UUID | None, limit: int
) -> list[Refund]:
    """Newest first."""
    query = select(Refund).where(visible(actor, Refund))
    if status is not None:
        query = query.where(Refund.status == status)
    return list(await db.scalars(newest_first(query, Refund.requested_at, Refund.id, before, limit)))
