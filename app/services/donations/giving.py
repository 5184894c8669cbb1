"""Giving through WeChat Pay: the gift and its order in one transaction, then WeChat is asked, with none open."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, own_person
from app.db import begin
from app.errors import Conflict, Invalid, TooMany, Unfit, WrongState
from app.integrations import wechat_pay
from app.models.donations import Channel, Donation, DonationStatus, Pledge, PledgeStatus, ShownAs
from app.models.funds import Campaign, Fund, FundStatus
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.payments import PAYABLE, OrderStatus, PaymentOrder
from app.services import audit, idempotency
from app.services.donations import donors, naming
from app.services.funds import campaigns
from app.services.idempotency import Key
from app.services.payments import queries
from app.services.plain import Body, Line, example
from app.services.proofs import leaves
from app.settings import settings

#: As long as WeChat keeps a prepay_id.
VALID = timedelta(hours=2)
FIRST_QUERY = timedelta(minutes=1)
MOST_FEN = 5_000_000_00
#: WeChat's words for an order that was paid, of which no notice has come.
PAID_ALREADY = ("ORDERPAID", "OUT_TRADE_NO_USED")
#: Orders of one account that are neither paid nor closed.
MOST_OPEN = 20


class AlreadyPaid(WrongState):
    zh, en = "该笔捐款已支付", "This gift is paid already"
    do_zh, do_en = "谢谢您，请在我的捐赠中查看", "Thank you: see it among your gifts"


class OrderExpired(WrongState):
    zh, en = "该笔订单已关闭", "This order is closed"
    do_zh, do_en = "请重新捐款", "Give anew"


class TooManyOrders(TooMany):
    zh, en = "待支付的捐款过多", "Too many gifts wait to be paid"
    do_zh, do_en = (
        "请先支付已有订单，未支付的订单两小时后自动关闭",
        "Pay one of them: the others close after two hours",
    )


class PaymentRefused(Conflict):
    """WeChat Pay takes no order like this; `code` is its word for why."""

    zh, en = "微信支付未受理", "WeChat Pay does not take this order"
    do_zh, do_en = "请稍后重新捐款，或联系本会", "Give anew later, or ask the association"


class NewGift(Body):
    """To a campaign, or straight to a fund. Nobody is named unless they choose so: `initial` shows 张某, `name` what is
    in `donor_name`, or the name that the account is bound to."""

    model_config = example(
        campaign_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", amount_fen=10_000, shown_as="anonymous"
    )

    campaign_id: uuid.UUID | None = None
    fund_id: uuid.UUID | None = None
    amount_fen: Annotated[int, Field(ge=1, le=MOST_FEN)]
    shown_as: ShownAs = ShownAs.ANONYMOUS
    donor_name: Line | None = None
    pledge_id: uuid.UUID | None = None

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.campaign_id is None) == (self.fund_id is None):
            raise Unfit("请写明募捐项目或基金之一", "name a campaign or a fund, one of them")
        return self


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What wx.requestPayment takes, and the gift to look after."""

    donation_id: uuid.UUID
    number: str
    amount_fen: int
    parameters: dict[str, str]


async def give(actor: Actor, *, key: Key, new: NewGift) -> PaymentRequest:
    """A gift on its way. The same key again gives fresh parameters for the same order, until it is paid or closed."""
    async with begin() as db:
        await _begin(db, actor, key, new)
    return await request_payment(actor, key.id)


async def _begin(db: AsyncSession, actor: Actor, key: Key, new: NewGift) -> None:
    if not await idempotency.claim(db, actor, key):
        return
    await donors.hold_own(db, actor)
    await _not_too_many(db, actor)
    fund_id = await _goal(db, actor, new)
    name = await _donor_name(db, actor, new)
    salt, number, now = leaves.new_salt(), naming.new_number(), clock.now()
    if new.pledge_id is not None:
        await _own_pledge(db, actor, new.pledge_id, fund_id)
    gift = Donation(
        id=key.id, number=number, fund_id=fund_id, campaign_id=new.campaign_id, channel=Channel.WECHAT,
        amount_fen=new.amount_fen, status=DonationStatus.PENDING, donated_at=now, account_id=actor.account_id,
        pledge_id=new.pledge_id, shown_as=new.shown_as, public_name=naming.public_name(new.shown_as, name), salt=salt,
        commitment=leaves.commitment(salt, number, name), created_at=now,
    )  # fmt: skip
    gift.donor_name = name
    db.add(gift)
    await db.flush()  # the order refers to it
    db.add(
        PaymentOrder(
            id=gift.id, out_trade_no=naming.trade_number(gift.id), account_id=actor.account_id,
            amount_fen=new.amount_fen, status=OrderStatus.CREATED, created_at=now, expires_at=now + VALID,
            next_query_at=now + FIRST_QUERY,
        )
    )  # fmt: skip
    await audit.record(db, actor, "give", "donation", gift.id)


async def _not_too_many(db: AsyncSession, actor: Actor) -> None:
    query = select(func.count()).where(
        PaymentOrder.account_id == actor.account_id, PaymentOrder.status.in_(PAYABLE)
    )
    if (await db.scalar(query) or 0) >= MOST_OPEN:
        raise TooManyOrders


async def _goal(db: AsyncSession, actor: Actor, new: NewGift) -> uuid.UUID:
    """The fund, if money may be taken for it here and today."""
    if new.campaign_id is not None:
        campaign = await fetch(db, actor, Campaign, new.campaign_id)
        campaigns.refuse_unlawful(campaign)
        if not campaigns.runs_on(campaign, clock.today()):
            raise campaigns.CampaignNotOpen
        return campaign.fund_id
    assert new.fund_id is not None
    fund = await fetch(db, actor, Fund, new.fund_id)
    if not settings().in_app_payment:
        raise campaigns.PaymentNotLawful(missing=[campaigns.SWITCHED_OFF])
    if fund.status is not FundStatus.OPEN:
        raise campaigns.CampaignNotOpen
    return fund.id


async def _donor_name(db: AsyncSession, actor: Actor, new: NewGift) -> str | None:
    """Kept only of those who want to be shown, or say it."""
    if new.donor_name is not None or new.shown_as is ShownAs.ANONYMOUS:
        return new.donor_name
    name = await db.scalar(select(Person.name).where(Person.id == own_person(actor)))
    if name is None:
        raise Invalid.at("/donor_name", "请填写要公示的名称", "say the name to be shown")
    return name


async def _own_pledge(db: AsyncSession, actor: Actor, id: uuid.UUID, fund_id: uuid.UUID) -> None:
    pledge = await fetch(db, actor, Pledge, id)
    if pledge.status is not PledgeStatus.OPEN or pledge.fund_id != fund_id:
        raise Invalid.at(
            "/pledge_id", "该认捐已完成、取消或属于其他基金", "this pledge is not open, or of another fund"
        )


async def request_payment(actor: Actor, id: uuid.UUID) -> PaymentRequest:
    """Ask WeChat for the order, or for its parameters again. No transaction is open meanwhile."""
    async with begin() as db:
        order = await fetch(db, actor, PaymentOrder, id)
        number = (await db.get_one(Donation, id)).number
        openid = (await db.get_one(ResidentAccount, order.account_id)).openid
    if order.status is OrderStatus.CLOSED or order.expires_at <= clock.now():
        raise OrderExpired
    if order.status not in PAYABLE:
        raise AlreadyPaid
    prepay_id = order.prepay_id or await _prepay(order, openid, number)
    return PaymentRequest(id, number, order.amount_fen, wechat_pay.payment_parameters(prepay_id))


async def _prepay(order: PaymentOrder, openid: str, number: str) -> str:
    asked = wechat_pay.Order(
        order.out_trade_no, order.amount_fen, f"爱心捐款 {number}", openid, order.expires_at
    )
    try:
        prepay_id = await wechat_pay.prepay(asked)
    except wechat_pay.WechatPayRefused as error:
        if error.code in PAID_ALREADY:
            await queries.ask(order)
            raise AlreadyPaid from error
        raise (OrderExpired if error.code == "ORDER_CLOSED" else PaymentRefused(code=error.code)) from error
    async with begin() as db:
        await db.execute(
            update(PaymentOrder)
            .where(PaymentOrder.id == order.id, PaymentOrder.status == OrderStatus.CREATED)
            .values(status=OrderStatus.PREPAID, prepay_id=prepay_id)
        )
    return prepay_id
