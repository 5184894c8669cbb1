"""Refunds on their way: sent to WeChat with the same number at every try, and asked after until they end."""

import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.db import begin
from app.errors import StaleVersion, WrongState
from app.integrations import wechat_pay
from app.integrations.wechat_pay import RefundState, WechatPayRefused, WechatPayUnavailable
from app.models.payments import PaymentOrder, Refund, RefundReason, RefundStatus
from app.services import audit
from app.services.payments import refunds
from app.services.payments.refunds import RefundWithWechat

log = logging.getLogger("nuanxin.payments")
SAID = {
    RefundReason.DONOR_ASKED: "捐赠人申请退款",
    RefundReason.WRONG_AMOUNT: "捐赠金额有误",
    RefundReason.GIVEN_TWICE: "重复捐赠",
    RefundReason.WRONG_GOAL: "捐赠项目有误",
    RefundReason.NOT_ACCEPTABLE: "不符合接受捐赠的条件",
}
AGAIN = timedelta(minutes=5)
#: Not now: the merchant's balance does not suffice today, or WeChat wants a minute between two.
LATER = ("NOT_ENOUGH", "FREQUENCY_LIMITED", "RATELIMIT_EXCEEDED")
BATCH = 100


@dataclass(frozen=True, slots=True)
class Due:
    out_refund_no: str
    out_trade_no: str
    refund_fen: int
    total_fen: int
    reason: RefundReason
    status: RefundStatus


async def sweep() -> int:
    """Every refund whose turn it is, put off before WeChat is asked; no transaction is open meanwhile."""
    looked_at = 0
    while True:
        async with begin() as db:
            due = await _take(db)
        for one in due:
            await _look_after(one)
        looked_at += len(due)
        if len(due) < BATCH:
            return looked_at


async def _take(db: AsyncSession) -> list[Due]:
    under_way = Refund.status.in_([RefundStatus.APPROVED, RefundStatus.PROCESSING])
    query = (
        select(Refund, PaymentOrder.out_trade_no, PaymentOrder.amount_fen)
        .join(PaymentOrder, PaymentOrder.id == Refund.order_id)
        .where(under_way, Refund.next_query_at <= clock.now())
        .order_by(Refund.next_query_at)
        .limit(BATCH)
        .with_for_update(of=Refund, skip_locked=True)
    )
    rows = (await db.execute(query)).all()
    await db.execute(
        update(Refund)
        .where(Refund.id.in_([row.id for row, _, _ in rows]))
        .values(next_query_at=clock.now() + AGAIN)
        .execution_options(synchronize_session=False)
    )
    return [
        Due(row.out_refund_no, number, row.amount_fen, total, row.reason, row.status)
        for row, number, total in rows
    ]


async def _look_after(due: Due) -> None:
    try:
        state = await _told(due)
    except WechatPayUnavailable as error:
        log.warning("wechat pay did not tell of a refund", extra={"fields": {"code": error.code}})
        return
    except WechatPayRefused as error:
        log.warning("wechat pay refuses a refund", extra={"fields": {"code": error.code}})
        async with begin() as db:
            await _refused(db, due, error.code)
        return
    async with begin() as db:
        await refunds.settle(db, state)


async def _told(due: Due) -> RefundState:
    """Asked after, and sent if WeChat never had it."""
    known = (
        await wechat_pay.query_refund(due.out_refund_no) if due.status is RefundStatus.PROCESSING else None
    )
    return known or await wechat_pay.refund(
        out_trade_no=due.out_trade_no, out_refund_no=due.out_refund_no, refund_fen=due.refund_fen,
        total_fen=due.total_fen, reason=SAID[due.reason],
    )  # fmt: skip


async def _refused(db: AsyncSession, due: Due, code: str) -> None:
    """Nothing was done. It waits for another day, or for somebody to decide."""
    if code in LATER:
        same = update(Refund).where(Refund.out_refund_no == due.out_refund_no)
        await db.execute(same.values(error_code=code))
    else:
        await refunds.move(db, due.out_refund_no, RefundStatus.ABNORMAL, error_code=code)


async def give_up(actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """An abnormal one that WeChat does not have, or has closed: the fund keeps the money. RefundWithWechat for one
    that may still be paid."""
    async with begin() as db:
        number = (await _abnormal(db, actor, id, version)).out_refund_no
    state = await wechat_pay.query_refund(number)
    async with begin() as db:
        if state is None:
            await _abnormal(db, actor, id, version)
            await refunds.move(db, number, RefundStatus.CLOSED)
        else:
            await refunds.settle(db, state)
        row = await fetch(db, actor, Refund, id)
        if row.status is RefundStatus.CLOSED:
            await audit.record(db, actor, "give_up", "refund", id)
    if row.status is RefundStatus.ABNORMAL:
        raise RefundWithWechat
    return row


async def _abnormal(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Refund:
    row = await fetch(db, actor, Refund, id, lock=True)
    if row.version != version:
        raise StaleVersion(current_version=row.version)
    if row.status is not RefundStatus.ABNORMAL:
        raise WrongState
    return row
