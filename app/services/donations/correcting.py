"""What was entered in error is reversed, in the ledger and here; and goods that were given are handed out."""

import uuid
from typing import Annotated

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version
from app.errors import Conflict, WrongState
from app.models.donations import Donation, DonationStatus, GoodsDelivery, ReceiptRequest, ReceiptStatus
from app.models.funds import Fund
from app.models.ledger import ReversalReason, TransferKind
from app.models.payments import PaymentOrder
from app.services import audit, idempotency
from app.services.donations import donors, pledges
from app.services.donations.recording import refuse_future
from app.services.idempotency import Key
from app.services.ledger import accounts, posting, reversals
from app.services.ledger.posting import Entry, transfer_id
from app.services.payments import refunds
from app.services.payments.refunds import RefundUnderWay
from app.services.plain import Body, Day, Note, example


class ReceiptFirst(Conflict):
    zh, en = "该笔捐赠已申请或开具票据", "A receipt was asked for or issued"
    do_zh, do_en = "请先办理票据红冲或不予开具，再冲销捐赠", "Reverse or refuse the receipt first"


class GoodsHandedOut(Conflict):
    zh, en = "该批物资已有发放记录", "Some of these goods were handed out"
    do_zh, do_en = "已发放的物资不能冲销", "What was handed out is not reversed"


class MoreThanGiven(Conflict):
    """`left`: how many there are."""

    zh, en = "发放数量超过剩余数量", "More than is left"
    do_zh, do_en = "请按剩余数量 left 填写", "Hand out no more than `left`"


async def reverse(
    db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, version: int, reason: ReversalReason
) -> Donation:
    """A gift that was entered in error, never one that a donor made by WeChat Pay: that is refunded. One that was made
    out of money in suspense goes back there. FundInsufficient where the fund has spent the money meanwhile."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Donation, id)
    gift = await fetch_version(db, actor, Donation, id, version)
    if gift.status is not DonationStatus.RECEIVED or await db.get(PaymentOrder, id) is not None:
        raise WrongState
    if await refunds.under_way(db, id):
        raise RefundUnderWay
    if await _receipt(db, id):
        raise ReceiptFirst
    if await handed_out(db, id):
        raise GoodsHandedOut
    assert gift.transfer_id is not None
    await reversals.reverse(db, actor, attempt=key.id, transfer_id=gift.transfer_id, reason=reason)
    gift.status = DonationStatus.REVERSED
    if gift.pledge_id is not None:
        await pledges.count(db, gift.pledge_id, -gift.amount_fen)
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "reverse", "donation", gift.id, people=[await donors.person_of(db, gift)])
    return gift


async def _receipt(db: AsyncSession, id: uuid.UUID) -> bool:
    live = ReceiptRequest.status.in_([ReceiptStatus.REQUESTED, ReceiptStatus.ISSUED])
    query = select(ReceiptRequest.id).where(ReceiptRequest.donation_id == id, live)
    return await db.scalar(query) is not None


async def handed_out(db: AsyncSession, id: uuid.UUID) -> int:
    """How many of a gift."""
    total = select(func.sum(GoodsDelivery.quantity)).where(GoodsDelivery.donation_id == id)
    return int(await db.scalar(total) or 0)


class NewDelivery(Body):
    model_config = example(quantity=40, purpose="三节慰问：特扶家庭", delivered_on="2026-11-20")

    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    purpose: Note
    delivered_on: Day


async def hand_out(
    db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, new: NewDelivery
) -> GoodsDelivery:
    """Some of the goods of a gift, no more than are left. The last of them takes what rounding left of the value."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, GoodsDelivery, key.id)
    gift = await fetch(db, actor, Donation, id, lock=True)
    if gift.goods is None or gift.status is not DonationStatus.RECEIVED:
        raise WrongState
    refuse_future(new.delivered_on, "/delivered_on")
    total, before = gift.goods["quantity"], await handed_out(db, id)
    if before + new.quantity > total:
        raise MoreThanGiven(left=total - before)
    after = before + new.quantity
    amount = gift.amount_fen * after // total - gift.amount_fen * before // total
    row = GoodsDelivery(
        id=key.id, donation_id=id, amount_fen=amount, transfer_id=transfer_id("delivery", key.id),
        recorded_by=actor.account_id, recorded_at=clock.now(), **new.model_dump(),
    )  # fmt: skip
    fund = await db.get_one(Fund, gift.fund_id)
    await posting.ask(db, Entry(
        row.transfer_id, accounts.cost_code(fund, goods=True), posting.GOODS, amount, TransferKind.DELIVERY,
        f"goods_delivery/{row.id}", new.delivered_on,
    ))  # fmt: skip
    db.add(row)
    await audit.record(db, actor, "hand_out", "donation", id, people=[await donors.person_of(db, gift)])
    return row
