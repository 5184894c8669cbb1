"""What never arrived is asked for: orders that nobody has told us about, and orders whose time is over."""

import asyncio
import logging
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.integrations import wechat_pay
from app.integrations.wechat_pay import Payment, WechatPayRefused, WechatPayUnavailable
from app.models.donations import Donation, DonationStatus
from app.models.payments import PAYABLE, OrderStatus, PaymentOrder
from app.services.payments import notices

log = logging.getLogger("nuanxin.payments")
#: Asked again so long after the order was made; after its end it is closed.
LADDER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
#: After WeChat could not be reached.
LATER = timedelta(minutes=5)
BATCH, AT_ONCE = 100, 10


async def sweep() -> int:
    """Every open order whose turn it is. Each is put off before WeChat is asked, so that two workers at once do not
    ask twice, and no transaction is open meanwhile."""
    asked = 0
    while True:
        async with begin() as db:
            orders = await _take(db)
        for first in range(0, len(orders), AT_ONCE):
            await _ask_all(orders[first : first + AT_ONCE])
        asked += len(orders)
        if len(orders) < BATCH:
            return asked


async def _take(db: AsyncSession) -> list[PaymentOrder]:
    """Some that are due, put off until it is their turn again."""
    now = clock.now()
    due = (
        select(PaymentOrder)
        .where(PaymentOrder.status.in_(PAYABLE), PaymentOrder.next_query_at <= now)
        .order_by(PaymentOrder.next_query_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    orders = list(await db.scalars(due))
    for order in orders:
        steps = (*(order.created_at + step for step in LADDER), order.expires_at)
        order.next_query_at = min((step for step in steps if step > now), default=now + LATER)
    return orders


async def _ask_all(orders: list[PaymentOrder]) -> None:
    """One that cannot be kept hinders no other of them."""
    fates = await asyncio.gather(*(_fate(order) for order in orders), return_exceptions=True)
    failed: list[Exception] = []
    for order, fate in zip(orders, fates, strict=True):
        try:
            if isinstance(fate, BaseException):
                raise fate
            await _keep(order, fate)
        except (WechatPayUnavailable, WechatPayRefused) as error:
            log.warning("wechat pay did not tell of an order", extra={"fields": {"code": error.code}})
        except Exception as error:
            failed.append(error)
    if failed:
        raise ExceptionGroup("orders that could not be kept", failed)


async def ask(order: PaymentOrder) -> None:
    """What became of this one."""
    await _keep(order, await _fate(order))


async def _fate(order: PaymentOrder) -> Payment | bool:
    """How it was paid, or whether it is closed. One whose time is over is closed with WeChat first: then nobody pays
    it any more."""
    payment = await wechat_pay.query(order.out_trade_no)
    if payment is not None and not payment.paid and order.expires_at <= clock.now():
        try:
            await wechat_pay.close(order.out_trade_no)
        except WechatPayRefused:
            payment = await wechat_pay.query(order.out_trade_no)  # paid meanwhile?
            if payment is None or not payment.paid:
                raise
    if payment is not None and payment.paid:
        return payment
    return order.expires_at <= clock.now()


async def _keep(order: PaymentOrder, fate: Payment | bool) -> None:
    """One that was paid otherwise than it was made is over as well: that money is in suspense."""
    async with begin() as db:
        if isinstance(fate, Payment):
            over = await notices.settle(db, fate) != "paid" and order.expires_at <= clock.now()
        else:
            over = fate
        if over:
            await _close(db, order)


async def _close(db: AsyncSession, order: PaymentOrder) -> None:
    """Unless it was paid meanwhile: that wins."""
    closed = await db.scalar(
        update(PaymentOrder)
        .where(PaymentOrder.id == order.id, PaymentOrder.status.in_(PAYABLE))
        .values(status=OrderStatus.CLOSED)
        .returning(PaymentOrder.id)
    )
    if closed is not None:
        await db.execute(
            update(Donation)
            .where(Donation.id == order.id, Donation.status == DonationStatus.PENDING)
            .values(status=DonationStatus.ABANDONED, version=Donation.version + 1)
        )
