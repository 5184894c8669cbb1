"""The bills against the books: what nobody told us of is recorded, fees and pay-outs are posted, the rest that does not
agree goes on the work list. Every step is its own transaction and may be repeated: a crash between two of them, or two
workers at once, change nothing."""

import logging
import uuid
from collections.abc import Callable, Iterable
from datetime import date, timedelta

from sqlalchemy import TextClause, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.integrations import wechat_pay
from app.integrations.wechat_pay import Payment, PaymentState, RefundState, RefundStatus
from app.models.reconciliation import BillFile, BillType
from app.services.payments import notices, refunds
from app.services.reconciliation import fetching, suspense
from app.services.reconciliation import statements as sql
from app.services.reconciliation.bills import BillRefused
from app.settings import settings

log = logging.getLogger("nuanxin.reconciliation")
MOST = 1_000
DAY = timedelta(days=1)
#: Notices of WeChat stop after a day, and refunds take a few.
AGAIN_DAYS = 7


def _silent(_: str) -> None:
    pass


async def sweep() -> None:
    """Daily, after 10:00 in Shanghai: the bills of every day that has none yet, and what they say. A day whose bill is
    not to be had hinders no other."""
    if not settings().wechat_pay_ready:
        return
    for day in await fetching.due():
        try:
            await fetching.fetch(day)
        except (wechat_pay.BillNotReady, BillRefused, fetching.BillDiffers):
            continue
        except (wechat_pay.AnswerNotGenuine, wechat_pay.WechatPayRefused) as error:
            _not_to_be_had(day, error.code)
        except wechat_pay.WechatPayUnavailable as error:
            _not_to_be_had(day, error.code)
            break  # nor is any other now
    await match_due()
    await ask_after()
    await look_again()


def _not_to_be_had(day: date, code: str | None) -> None:
    log.warning("the bill was not to be had", extra={"fields": {"day": str(day), "code": code}})


async def ask_after() -> None:
    """Refunds not made here that were under way when the bill told of them: what WeChat has closed since took
    nothing."""
    async with begin() as db:
        waiting = (await db.execute(sql.UNDER_WAY_THERE)).all()
    for id, number in waiting:
        try:
            state = await wechat_pay.query_refund(number)
        except (wechat_pay.WechatPayUnavailable, wechat_pay.WechatPayRefused) as error:
            log.warning("wechat pay did not tell of a refund", extra={"fields": {"code": error.code}})
            continue
        if state is not None and state.status is RefundStatus.CLOSED:
            async with begin() as db:
                await db.execute(sql.ALONE)
                await suspense.never_left(db, fetching.SYSTEM, id)


async def look_again() -> None:
    """What came to the books after the bills of its day were matched; what was explained meanwhile."""
    today = clock.today()
    async with begin() as db:
        await _compare(db, [today - back * DAY for back in range(AGAIN_DAYS, 1, -1)])


async def match_due() -> None:
    """Every day of which a bill came in since it was matched, the oldest first."""
    query = select(BillFile.bill_date).where(BillFile.reconciled_at.is_(None)).distinct()
    async with begin() as db:
        days = sorted(await db.scalars(query))
    for day in days:
        await match(day)


async def reconcile(day: date, say: Callable[[str], None] = _silent) -> None:
    """One day by hand: fetched if it is not there, and matched, again if need be."""
    say(f"{day}: 账单 bills …")
    await fetching.fetch(day)
    await match(day, say)


async def match(day: date, say: Callable[[str], None] = _silent) -> None:
    """A day's bills, as far as they are there."""
    since = clock.now()
    query = select(BillFile.bill_type, BillFile.id).where(BillFile.bill_date == day)
    async with begin() as db:
        files: dict[BillType, uuid.UUID] = dict((await db.execute(query)).all())
    if trade := files.get(BillType.TRADE):
        say("支付 payments …")
        await _payments(trade)
        say("退款 refunds …")
        await _refunds(trade)
        await _post(sql.STRANGE_REFUNDS, trade, day)
        say("手续费 fees …")
        await _post(sql.FEES, trade, day)
    if flow := files.get(BillType.FUND_FLOW):
        say("结算 pay-outs …")
        await _post(sql.MOVEMENTS, flow, day)
    say("差异 differences …")
    async with begin() as db:
        if trade:
            await db.execute(sql.DISAGREEMENTS, {"file": trade, "day": day, "now": clock.now()})
        await _compare(db, [day - DAY, day])
        await fetching.reconciled(db, files.values(), since)


async def _payments(file: uuid.UUID) -> None:
    """Each in a transaction as short as that of its notice would have been."""
    async with begin() as db:
        untold = (await db.execute(sql.UNTOLD, {"file": file})).all()
    for line in untold:
        payment = Payment(
            line.out_trade_no, PaymentState.SUCCESS, line.transaction_id, line.amount_fen, line.at
        )
        async with begin() as db:
            await notices.settle(db, payment)
    if untold:
        log.warning("payments that nobody told us of", extra={"fields": {"payments": len(untold)}})


async def _refunds(file: uuid.UUID) -> None:
    async with begin() as db:
        unsettled = (await db.execute(sql.UNSETTLED, {"file": file})).all()
    for line in unsettled:
        state = RefundState(
            line.out_refund_no, line.out_trade_no, line.refund_id or "", line.transaction_id, RefundStatus.SUCCESS,
            line.amount_fen, line.total_fen, line.at,
        )  # fmt: skip
        async with begin() as db:
            await refunds.settle(db, state)


async def _post(statement: TextClause, file: uuid.UUID, day: date) -> None:
    """So many lines at a time: nobody waits long for the balances, and sealing goes on."""
    while True:
        async with begin() as db:
            given = {"file": file, "day": day, "now": clock.now(), "most": MOST}
            wanted = {name: given[name] for name in statement.compile().params}
            if not await db.scalar(statement, wanted):
                return


async def _compare(db: AsyncSession, days: Iterable[date]) -> None:
    now = clock.now()
    await db.execute(sql.ALONE)
    for day in days:
        await db.execute(sql.MISSING_THERE, {"day": day, "next": day + DAY, "now": now})
    await db.execute(sql.EXPLAINED, {"now": now})
    await db.execute(sql.GIVEN_BACK, {"now": now})
