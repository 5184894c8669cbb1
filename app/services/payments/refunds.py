"""Refunds: asked for by one, approved by another, sent to WeChat until it has answered, followed until they end.

The order is locked before its refund, so that what was refunded of it is known to whoever asks for more."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import case, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Conflict, Forbidden, StaleVersion, WrongState
from app.integrations.wechat_pay import RefundState
from app.integrations.wechat_pay import RefundStatus as WechatStatus
from app.models.donations import Donation, DonationStatus, Pledge, PledgeStatus, ReceiptRequest, ReceiptStatus
from app.models.funds import Fund
from app.models.ledger import Phase, TransferKind
from app.models.payments import OrderStatus, PaymentOrder, Refund, RefundReason, RefundStatus
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.plain import Body, example

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
#: WeChat takes none after that.
LATEST = timedelta(days=365)
SYSTEM = Actor.system("refunds")


class RefundTooMuch(Conflict, constraint="ck_donation_refunded_fen"):
    """Says `left_fen`: what was given and not refunded."""

    zh, en = "退款金额超过可退金额", "More than is left of the gift"
    do_zh, do_en = "请核对金额", "Check the amount"


class RefundUnderWay(Conflict, constraint="uq_refund_order_id_live"):
    zh, en = "该笔捐款已有退款在处理中", "A refund of this gift is under way"
    do_zh, do_en = "请等待处理完成", "Wait until it has ended"


class RefundTooLate(Conflict):
    zh, en = "支付已超过一年，无法原路退款", "Paid more than a year ago: WeChat Pay refunds it no more"
    do_zh, do_en = "请通过银行转账退还", "Pay it back through the bank"


class ReceiptStillValid(Conflict):
    zh, en = "该笔捐款已开具捐赠票据", "A receipt was issued for this gift"
    do_zh, do_en = "请先红冲票据，再申请退款", "Have the receipt reversed first"


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


async def request(
    db: AsyncSession, actor: Actor, *, key: Key, donation_id: uuid.UUID, new: NewRefund
) -> Refund:
    """Of a gift through WeChat Pay, all or a part, back to where it came from. One at a time."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Refund, key.id)
    order = await fetch(db, actor, PaymentOrder, donation_id, lock=True)
    gift = await db.get_one(Donation, donation_id)
    if order.status not in (OrderStatus.PAID, OrderStatus.PART_REFUNDED) or order.paid_at is None:
        raise WrongState
    if order.paid_at + LATEST <= clock.now():
        raise RefundTooLate
    if new.amount_fen > gift.amount_fen - gift.refunded_fen:
        raise RefundTooMuch(left_fen=gift.amount_fen - gift.refunded_fen)
    if await db.scalar(_valid_receipt(donation_id)):
        raise ReceiptStillValid
    row = Refund(
        id=key.id, out_refund_no=key.id.hex, order_id=order.id, amount_fen=new.amount_fen, reason=new.reason,
        status=S.REQUESTED, requested_by=actor.account_id, requested_at=clock.now(),
    )  # fmt: skip
    db.add(row)
    await db.flush()  # the answer shows its version
    await audit.record(db, actor, "request", "refund", row.id)
    return row


def _valid_receipt(donation_id: uuid.UUID) -> Any:
    issued = ReceiptRequest.status == ReceiptStatus.ISSUED
    return select(ReceiptRequest.id).where(ReceiptRequest.donation_id == donation_id, issued).limit(1)


async def approve(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """By somebody else. The money is held, so that nothing else spends it; FundInsufficient if it is gone already:
    such a refund is rejected, and asked for anew when the fund has more."""
    row = await _held(db, actor, id, version, S.REQUESTED)
    if row.requested_by == actor.account_id:
        raise OwnRefund
    row.status, row.approved_by, row.next_query_at = S.APPROVED, actor.account_id, clock.now()
    row.hold_id = posting.transfer_id("hold", "refund", row.id, version)
    await posting.ask(db, await _entry(db, row, row.hold_id, Phase.HOLD))
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "approve", "refund", row.id)
    return row


async def reject(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """It is not paid back."""
    row = await _held(db, actor, id, version, S.REQUESTED)
    row.status, row.finished_at = S.REJECTED, clock.now()
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "reject", "refund", row.id)
    return row


async def retry(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """An abnormal one is followed again, and sent again if WeChat never had it."""
    row = await _held(db, actor, id, version, S.ABNORMAL)
    row.status, row.next_query_at, row.error_code = S.PROCESSING, clock.now(), None
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "retry", "refund", row.id)
    return row


async def _held(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, status: RefundStatus) -> Refund:
    row = await fetch(db, actor, Refund, id, lock=True)
    if row.version != version:
        raise StaleVersion(current_version=row.version)
    if row.status is not status:
        raise WrongState
    return row


async def settle(db: AsyncSession, state: RefundState) -> str:
    """A refund as WeChat knows it, whoever tells of it, however often and in which order: its new state, again, or
    unexplained when it is not ours. Then the bill will show what moved."""
    found = (
        select(Refund.amount_fen, PaymentOrder.amount_fen, PaymentOrder.out_trade_no)
        .join(PaymentOrder, PaymentOrder.id == Refund.order_id)
        .where(Refund.out_refund_no == state.out_refund_no)
        .with_for_update(of=PaymentOrder)
    )
    ours = (await db.execute(found)).one_or_none()
    if ours is None or tuple(ours) != (state.refund_fen, state.total_fen, state.out_trade_no):
        return "unexplained"
    row = await move(db, state.out_refund_no, TOLD[state.status], wechat_refund_id=state.refund_id)
    if row is None:
        return "again"
    if row.status is S.SUCCEEDED:
        await _succeeded(db, row)
    return row.status.value


async def move(db: AsyncSession, out_refund_no: str, to: RefundStatus, **values: Any) -> Refund | None:
    """To where WeChat says it is, if it is not there or beyond; closed, its money is free again."""
    ended = to in (S.SUCCEEDED, S.CLOSED)
    if ended or to is S.ABNORMAL:
        values["next_query_at"] = None
    row = await db.scalar(
        update(Refund)
        .where(Refund.out_refund_no == out_refund_no, Refund.status.in_(FROM[to]))
        .values(status=to, finished_at=clock.now() if ended else None, version=Refund.version + 1, **values)
        .returning(Refund)
        .execution_options(populate_existing=True)
    )
    if row is not None and row.status is S.CLOSED:
        assert row.hold_id is not None
        id = posting.transfer_id("void", row.hold_id)
        await posting.record(db, await _entry(db, row, id, Phase.VOID))
    if row is not None:
        await audit.record(db, SYSTEM, to.value, "refund", row.id)
    return row


async def _succeeded(db: AsyncSession, row: Refund) -> None:
    """The money has gone back: the hold is posted, and the gift is less by so much."""
    assert row.hold_id is not None
    refunded = Donation.refunded_fen + row.amount_fen
    status = case(
        (refunded == Donation.amount_fen, DonationStatus.REFUNDED.value),
        else_=DonationStatus.PART_REFUNDED.value,
    )
    gift = await db.execute(
        update(Donation)
        .where(Donation.id == row.order_id)
        .values(refunded_fen=refunded, status=status, version=Donation.version + 1)
        .returning(Donation.status, Donation.pledge_id)
    )
    now, pledge_id = gift.one()
    await db.execute(
        update(PaymentOrder).where(PaymentOrder.id == row.order_id).values(status=OrderStatus(now.value))
    )
    if pledge_id is not None:
        await _promised_again(db, pledge_id, row.amount_fen)
    id = posting.transfer_id("post", row.hold_id)
    await posting.record(db, await _entry(db, row, id, Phase.POST))


async def _promised_again(db: AsyncSession, pledge_id: uuid.UUID, amount_fen: int) -> None:
    """What went back keeps no promise."""
    left = Pledge.received_fen - amount_fen
    reopened = case(
        ((Pledge.status == PledgeStatus.FULFILLED) & (left < Pledge.amount_fen), PledgeStatus.OPEN.value),
        else_=Pledge.status,
    )
    await db.execute(
        update(Pledge)
        .where(Pledge.id == pledge_id)
        .values(received_fen=left, status=reopened, version=Pledge.version + 1)
    )


async def _entry(db: AsyncSession, row: Refund, id: uuid.UUID, phase: Phase) -> posting.Entry:
    fund = await db.scalar(
        select(Fund).join(Donation, Donation.fund_id == Fund.id).where(Donation.id == row.order_id)
    )
    assert fund is not None
    return posting.Entry(
        id, debit=accounts.income_code(fund), credit=posting.WECHAT, amount=row.amount_fen, kind=TransferKind.REFUND,
        reference=f"refund/{row.id}", effective=clock.today(), phase=phase,
        pending=None if phase is Phase.HOLD else row.hold_id,
    )  # fmt: skip


async def listing(
    db: AsyncSession, actor: Actor, *, status: RefundStatus | None, before: uuid.UUID | None, limit: int
) -> list[Refund]:
    """Newest first."""
    query = select(Refund).where(visible(actor, Refund))
    if status is not None:
        query = query.where(Refund.status == status)
    if before is not None:
        query = query.where(Refund.id < before)
    return list(await db.scalars(query.order_by(Refund.id.desc()).limit(limit)))
