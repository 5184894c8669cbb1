"""What WeChat Pay tells us. A notice may come many times, late, out of order, or never; whoever tells of a payment, a
notice, an answer or the bill, the same row of the ledger is meant (`settle`)."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin, statements
from app.integrations import wechat_pay
from app.integrations.wechat_pay import Notice, NoticeRefused, Payment
from app.models.payments import PaymentNotice
from app.services.ledger.posting import transfer_id
from app.services.payments import refunds

__all__ = ["NOTICES_PATH", "NoticeRefused", "receive", "settle"]
NOTICES_PATH = wechat_pay.NOTICES_PATH
PAYMENT = ":out_trade_no, :transaction_id, :amount, :paid_at, :now, :transfer"
RECORD = text(f"SELECT record_payment({PAYMENT})")
TAKE = text(
    f"SELECT take_payment_notice(:id, :event_type, CAST(:content AS jsonb), :digest, :key_id, {PAYMENT})"
)


async def receive(headers: Mapping[str, str], body: bytes) -> str:
    """What it did: see `settle`. One that came before changes nothing. NoticeRefused for what WeChat did not sign for
    us just now."""
    notice = await wechat_pay.read_notice(headers, body)
    if isinstance(notice.event, Payment):
        # A statement of its own: the crowd of a popular campaign costs one round trip each.
        async with statements.begin() as own:
            return str(await own.scalar(TAKE, _kept(notice) | _paid(notice.event)))
    async with begin() as db:
        outcome = await refunds.settle(db, notice.event)
        row = insert(PaymentNotice).values(
            id=notice.id, event_type=notice.event_type, content=notice.content, digest=notice.digest,
            key_id=notice.key_id, outcome=outcome, received_at=clock.now(),
        )  # fmt: skip
        await db.execute(row.on_conflict_do_nothing())
    return outcome


async def settle(db: AsyncSession, payment: Payment) -> str:
    """A payment as WeChat knows it: paid, again, unexplained (app/models/sql/record_payment.sql), or not_paid."""
    if not payment.paid:
        return "not_paid"
    return str(await db.scalar(RECORD, _paid(payment)))


def _paid(payment: Payment) -> dict[str, Any]:
    return {
        "out_trade_no": payment.out_trade_no, "transaction_id": payment.transaction_id, "amount": payment.amount_fen,
        "paid_at": payment.paid_at, "now": clock.now(), "transfer": transfer_id("wechat", payment.transaction_id),
    }  # fmt: skip


def _kept(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id, "event_type": notice.event_type, "content": json.dumps(notice.content),
        "digest": notice.digest, "key_id": notice.key_id,
    }  # fmt: skip
