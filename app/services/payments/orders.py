"""How the payment of one's own gift stands."""

import uuid
from datetime import timedelta

from sqlalchemy import func, update

from app import clock
from app.access import Actor, fetch
from app.db import begin
from app.integrations.wechat_pay import WechatPayRefused, WechatPayUnavailable
from app.models.payments import PAYABLE, PaymentOrder
from app.services.payments import queries

#: A phone that says again and again that it has paid makes us ask WeChat no more often.
APART = timedelta(seconds=5)


async def look(actor: Actor, id: uuid.UUID, *, paid: bool) -> PaymentOrder:
    """`paid`: the phone says so. That proves nothing, but WeChat is asked now, if it has told us nothing yet."""
    async with begin() as db:
        order = await fetch(db, actor, PaymentOrder, id)
        turn = (
            update(PaymentOrder)
            .where(
                PaymentOrder.id == id, PaymentOrder.status.in_(PAYABLE), PaymentOrder.prepay_id.is_not(None),
                func.coalesce(PaymentOrder.asked_at, PaymentOrder.created_at - APART) <= clock.now() - APART,
            )
            .values(asked_at=clock.now())
            .returning(PaymentOrder.id)
        )  # fmt: skip
        if not paid or await db.scalar(turn) is None:
            return order
    try:
        await queries.ask(order)
    except (WechatPayUnavailable, WechatPayRefused):
        return order  # the notice, or the next question, will tell
    async with begin() as db:
        return await fetch(db, actor, PaymentOrder, id)
