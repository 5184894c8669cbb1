"""Refunds on their way: sent to WeChat with the same number at every try, and asked after until they end."""

import logging
import uuid
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.db import begin
from app.integrations import wechat_pay
from app.integrations.wechat_pay import RefundState, WechatPayRefused, WechatPayUnavailable
from app.models.payments import Refund, RefundReason, RefundStatus
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


async def sweep() -> int:
    """Every refund whose turn it is, put off before WeChat is asked; no transaction is open meanwhile."""
    looked_at = 0
    while True:
        async with begin() as db:
            due = await _take(db)
        await _look_after_all(due)
        looked_at += len(due)
        if len(due) < BATCH:
            return looked_at


async def _take(db: AsyncSession) -> list[Refund]:
    under_way = Refund.status.in_([RefundStatus.APPROVED, RefundStatus.PROCESSING])
    query = (
        select(Refund)
        .where(under_way, Refund.next_query_at <= clock.now())
        .order_by(Refund.next_query_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = list(await db.scalars(query))
    await db.execute(
        update(Refund)
        .where(Refund.id.in_([row.id for row in rows]))
        .values(next_query_at=clock.now() + AGAIN)
        .execution_options(synchronize_session=False)
    )
    return rows


async def _look_after_all(due: list[Refund]) -> None:
    """One that cannot be kept hinders no other of them."""
    failed: list[Exception] = []
    for one in due:
        try:
            await _look_after(one)
        except Exception as error:
            failed.append(error)
    if failed:
        raise ExceptionGroup("refunds that could not be kept", failed)


async def _look_after(due: Refund) -> None:
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
        outcome = await refunds.settle(db, state)
    if outcome == "unexplained":
        log.error("wechat pay has another refund under this number", extra={"fields": {"code": state.status}})


async def _told(due: Refund) -> RefundState:
    """Asked after, and sent if WeChat never had it."""
    known = (
        await wechat_pay.query_refund(due.out_refund_no) if due.status is RefundStatus.PROCESSING else None
    )
    return known or await wechat_pay.refund(
        transaction_id=due.transaction_id, out_refund_no=due.out_refund_no, refund_fen=due.amount_fen,
        total_fen=due.paid_fen, reason=SAID[due.reason],
    )  # fmt: skip


async def _refused(db: AsyncSession, due: Refund, code: str) -> None:
    """Nothing was done. It waits for another day, or for somebody to decide."""
    if code in LATER:
        same = update(Refund).where(Refund.out_refund_no == due.out_refund_no)
        await db.execute(same.values(error_code=code))
    else:
        await refunds.move(db, due.out_refund_no, RefundStatus.ABNORMAL, error_code=code)


async def give_up(actor: Actor, *, id: uuid.UUID, version: int) -> Refund:
    """An abnormal one that WeChat does not have, or has closed: the fund keeps the money, or it is in suspense as
    before. RefundWithWechat for one that may still be paid."""
    async with begin() as db:
        number = (await refunds.held(db, actor, id, version, RefundStatus.ABNORMAL)).out_refund_no
    state = await wechat_pay.query_refund(number)
    async with begin() as db:
        if state is None:
            await refunds.held(db, actor, id, version, RefundStatus.ABNORMAL)
            await refunds.move(db, number, RefundStatus.CLOSED)
        else:
            await refunds.settle(db, state)
        row = await fetch(db, actor, Refund, id)
        if row.status is RefundStatus.CLOSED:
            await refunds.trace(db, actor, row, "give_up")
    if row.status is RefundStatus.ABNORMAL:
        raise RefundWithWechat
    return row
