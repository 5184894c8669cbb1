"""Gifts that did not come through WeChat Pay: what the bank, the cash box, a platform and the store have received."""

import uuid
from datetime import date
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Conflict, Invalid, Unfit
from app.models.donations import (
    Channel,
    Donation,
    DonationStatus,
    OrganizationDonor,
    Pledge,
    PledgeStatus,
    ShownAs,
)
from app.models.funds import Campaign, CampaignStatus, Fund, FundStatus
from app.models.ledger import TransferKind
from app.services import audit, idempotency
from app.services.donations import donors, naming, pledges
from app.services.donations.amounts import MOST_FEN
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.ledger.posting import Entry, transfer_id
from app.services.plain import Body, Day, Line, Note, Text, example
from app.services.proofs import leaves

#: Where the money, or the goods, came in.
DEBIT = {
    Channel.BANK: posting.BANK, Channel.CASH: posting.CASH, Channel.PLATFORM: posting.PLATFORM,
    Channel.IN_KIND: posting.GOODS,
}  # fmt: skip
NUMBERED = (Channel.BANK, Channel.PLATFORM)
Fen = Annotated[int, Field(ge=1, le=MOST_FEN)]
#: As the bank or platform numbers it.
Source = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z_./-]{3,63}$")]


class AlreadyRecorded(Conflict, constraint=("uq_donation_source", "uq_donation_transfer_id")):
    zh, en = "该笔流水已登记过捐赠", "A gift with this number is on record"
    do_zh, do_en = "请按流水号查找已登记的捐赠", "Look it up by its number"


class Goods(Body):
    """What was given, how many, and how its value was found by whom."""

    what: Line
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit: Annotated[str, Text(10)]
    valued_by: Line
    basis: Note


class NewDonation(Body):
    """`amount_fen` of goods is their valuation, one fen a piece at least. A donor is named by a body on record, by the
    pledge that this fulfils, by a name, or not at all."""

    model_config = example(
        fund_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", channel="bank", amount_fen=5_000_00,
        donated_on="2026-11-20", source="2026112000012345", donor_name="王建国", shown_as="initial",
    )  # fmt: skip

    fund_id: uuid.UUID
    campaign_id: uuid.UUID | None = None
    channel: Channel
    amount_fen: Fen
    donated_on: Day
    donor_name: Line | None = None
    organization_donor_id: uuid.UUID | None = None
    pledge_id: uuid.UUID | None = None
    shown_as: ShownAs = ShownAs.ANONYMOUS
    source: Source | None = None
    goods: Goods | None = None

    @model_validator(mode="after")
    def _of_its_channel(self) -> Self:
        if self.channel is Channel.WECHAT:
            raise Unfit("微信支付的捐款由系统自动登记", "what comes by WeChat Pay is recorded by itself")
        if (self.channel is Channel.IN_KIND) != (self.goods is not None):
            raise Unfit("捐赠物资须填写 goods，其他方式不填", "goods are described, money is not")
        if self.channel in NUMBERED and self.source is None:
            raise Unfit("银行转账和平台捐款须填写流水号", "say the number at the bank or platform")
        if self.goods is not None and self.amount_fen < self.goods.quantity:
            raise Unfit("每件物资至少估值一分", "each piece is worth one fen at least")
        named = (self.donor_name, self.organization_donor_id, self.pledge_id)
        if sum(one is not None for one in named) > 1:
            raise Unfit(
                "捐赠人只能以姓名、捐赠单位或认捐之一写明", "name the donor in one way: name, body or pledge"
            )
        return self


def refuse_future(day: date, pointer: str = "/donated_on") -> None:
    if not date(2000, 1, 1) <= day <= clock.today():
        raise Invalid.at(pointer, "日期应在 2000 年之后且不晚于今天", "between 2000 and today")


async def record(db: AsyncSession, actor: Actor, *, key: Key, new: NewDonation) -> Donation:
    """The money is there, or the goods are: gift and ledger in one transaction. In a closed month the books count it to
    today. AlreadyRecorded for a number of the bank or platform that was taken before, unless that was reversed."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Donation, key.id)
    refuse_future(new.donated_on)
    fund = await open_fund(db, actor, new.fund_id, new.campaign_id)
    gift = Donation(
        id=key.id, number=naming.new_number(), fund_id=fund.id, campaign_id=new.campaign_id, channel=new.channel,
        amount_fen=new.amount_fen, status=DonationStatus.RECEIVED, donated_at=clock.midnight(new.donated_on),
        shown_as=new.shown_as, source=new.source, goods=new.goods and new.goods.model_dump(), salt=leaves.new_salt(),
        pledge_id=new.pledge_id, recorded_by=actor.account_id, created_at=clock.now(),
    )  # fmt: skip
    name = await _donor(db, actor, gift, new)
    gift.donor_name, gift.public_name = name, naming.public_name(new.shown_as, name)
    gift.commitment = leaves.commitment(gift.salt or b"", gift.number, name)
    gift.transfer_id = await _transfer_id(db, gift)
    db.add(gift)
    await db.flush()  # the constraint speaks before the ledger does
    await _post(db, gift, fund, new.donated_on)
    if gift.pledge_id is not None:
        await pledges.count(db, gift.pledge_id, gift.amount_fen)
    await audit.record(db, actor, "record", "donation", gift.id, people=[await donors.person_of(db, gift)])
    return gift


async def open_fund(
    db: AsyncSession, actor: Actor, fund_id: uuid.UUID, campaign_id: uuid.UUID | None
) -> Fund:
    """A campaign may be over: money for it comes late."""
    fund = await db.scalar(select(Fund).where(Fund.id == fund_id, visible(actor, Fund)))
    if fund is None or fund.status is not FundStatus.OPEN:
        raise Invalid.at("/fund_id", "没有这个基金或已关闭", "no such fund, or it is closed")
    if campaign_id is not None:
        campaign = await db.scalar(
            select(Campaign).where(Campaign.id == campaign_id, visible(actor, Campaign))
        )
        if campaign is None or campaign.fund_id != fund.id or campaign.status is CampaignStatus.DRAFT:
            raise Invalid.at("/campaign_id", "没有这个项目或不属于该基金", "no such campaign of this fund")
    return fund


async def _donor(db: AsyncSession, actor: Actor, gift: Donation, new: NewDonation) -> str | None:
    """The donor's name; who it is goes to the gift."""
    gift.organization_donor_id = new.organization_donor_id
    if new.pledge_id is not None:
        pledge = await _pledge(db, actor, new.pledge_id, gift.fund_id)
        gift.account_id, gift.organization_donor_id = pledge.account_id, pledge.organization_donor_id
        if pledge.account_id is not None:
            return await donors.bound_name(db, pledge.account_id)
    if gift.organization_donor_id is None:
        return new.donor_name
    # Through a pledge, or visible: those of the whole association give to a fund above.
    seen = select(OrganizationDonor.name).where(OrganizationDonor.id == gift.organization_donor_id)
    name = await db.scalar(
        seen if new.pledge_id is not None else seen.where(visible(actor, OrganizationDonor))
    )
    if name is None:
        raise Invalid.at("/organization_donor_id", "没有这个捐赠单位", "no such body")
    return name


async def _pledge(db: AsyncSession, actor: Actor, id: uuid.UUID, fund_id: uuid.UUID) -> Pledge:
    row = await db.scalar(select(Pledge).where(Pledge.id == id, visible(actor, Pledge)))
    open = row is not None and row.fund_id == fund_id and row.status is PledgeStatus.OPEN
    if row is None or not open or (row.account_id and not await donors.hold(db, row.account_id)):
        raise Invalid.at(
            "/pledge_id", "该认捐已完成、取消或属于其他基金", "this pledge is not open, or of another fund"
        )
    return row


async def _transfer_id(db: AsyncSession, gift: Donation) -> uuid.UUID:
    """From the number of the bank or platform, so that whoever tells of it means the same; entered anew after an error
    it is another."""
    if gift.channel not in NUMBERED:
        return transfer_id("donation", gift.id)
    wrong = select(func.count()).where(
        Donation.channel == gift.channel, Donation.source == gift.source,
        Donation.status == DonationStatus.REVERSED,
    )  # fmt: skip
    before = await db.scalar(wrong)
    return transfer_id("bank", gift.channel, gift.source, *([before] if before else []))


async def _post(db: AsyncSession, gift: Donation, fund: Fund, on: date) -> None:
    goods = gift.channel is Channel.IN_KIND
    assert gift.transfer_id is not None
    posted = await posting.record(db, Entry(
        gift.transfer_id, DEBIT[gift.channel], accounts.income_code(fund, goods), gift.amount_fen,
        TransferKind.IN_KIND if goods else TransferKind.DONATION, f"donation/{gift.id}", on,
        commitment=gift.commitment,
    ))  # fmt: skip
    if not posted:
        raise AlreadyRecorded
