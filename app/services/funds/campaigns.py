"""Campaigns: what makes an appeal lawful, from when to when it runs, and what becomes of what is left."""

import uuid
from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.db import new_id
from app.errors import Conflict, Forbidden, Invalid, Unfit, WrongState
from app.models.disbursements import Disbursement, DisbursementStatus
from app.models.donations import SHOWN, Channel, Donation
from app.models.funds import Campaign, CampaignMode, CampaignStatus, Fund, FundStatus, LeftoverRule
from app.models.ledger import Transfer, TransferKind
from app.services import audit, idempotency
from app.services.funds.funds import FundClosed
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.pages import newest_first
from app.services.plain import Body, Day, Line, Note, example
from app.services.transparency import gifts
from app.settings import settings

MOST_FEN = 100_000_000_00
Fen = Annotated[int, Field(ge=1, le=MOST_FEN)]
Paper = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z（）()\u4e00-\u9fff-]{4,60}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https://[!-~]{4,300}$")]
#: What a public appeal needs before it may take money here (慈善法 arts. 22-27), with what each is called.
PAPERS = {
    "certificate_number": (
        "公开募捐资格证书编号（慈善法第二十二条）",
        "the certificate for public fundraising",
    ),
    "filing_number": ("募捐方案备案编号（慈善法第二十四条）", "the number under which the plan is filed"),
    "platform_url": ("指定互联网公开募捐平台链接（慈善法第二十七条）", "the page on a designated platform"),
}


#: What donors were told when it opened.
FIXED = ("fund_id", "mode", "starts_on", "leftover_rule", "leftover_fund_id")
SPENT = (DisbursementStatus.APPROVED, DisbursementStatus.PAID, DisbursementStatus.ACKNOWLEDGED)
SWITCHED_OFF = "本会未开通小程序捐款 / payment in the app is switched off"


class PaymentNotLawful(Forbidden):
    """In-app payment of this appeal: `missing` says which papers are not there, or why it is not taken here at all."""

    zh, en = "本项目暂不能在线捐款", "Money for this cannot be taken here"
    do_zh, do_en = (
        "请按 missing 所列补充资料，或通过平台、银行捐赠",
        "Supply what `missing` names, or give another way",
    )


class MoreThanLeft(Conflict):
    """`left_fen`: what was given to the campaign, less what was approved or paid under it."""

    zh, en = "超过本项目的剩余资金", "More than is left of what was given to this campaign"
    do_zh, do_en = "请按不超过 left_fen 的金额填写", "Hand over no more than `left_fen`"


class CampaignNotOpen(WrongState):
    zh, en = "募捐项目未开始或已结束", "This campaign has not begun, or is over"


EXAMPLE: dict[str, Any] = {
    "fund_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", "zh": "暖心·好孕", "en": "A warm start",
    "story_zh": "为困难家庭……", "story_en": "For families in hardship …", "mode": "targeted", "in_app_payment": True,
    "goal_fen": 10_000_000, "starts_on": "2026-12-01", "ends_on": "2027-05-31",
}  # fmt: skip


class NewCampaign(Body):
    """`in_app_payment` of a public appeal needs its papers; a platform's own appeal is only shown here."""

    model_config = example(**EXAMPLE)

    fund_id: uuid.UUID
    zh: Line
    en: Line
    story_zh: Note
    story_en: Note
    mode: CampaignMode
    in_app_payment: bool
    certificate_number: Paper | None = None
    filing_number: Paper | None = None
    platform_name: Line | None = None
    platform_url: Url | None = None
    goal_fen: Fen
    starts_on: Day
    ends_on: Day
    leftover_rule: LeftoverRule = LeftoverRule.SAME_FUND
    leftover_fund_id: uuid.UUID | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on < self.starts_on:
            raise Unfit("结束日期早于开始日期", "it ends before it starts")
        if (self.leftover_rule is LeftoverRule.OTHER_FUND) != (self.leftover_fund_id is not None):
            raise Unfit("转入其他基金时须写明基金", "name the fund that takes what is left, or none")
        if self.leftover_fund_id == self.fund_id:
            raise Unfit("剩余资金应转入其他基金", "that is the same fund")
        return self


class CampaignChange(NewCampaign):
    model_config = example(version=1, **EXAMPLE)

    version: int


def missing_papers(campaign: Campaign | NewCampaign) -> list[str]:
    """Why no money may be taken in the app, in Chinese and in English; empty when it may."""
    if not settings().in_app_payment:
        return [SWITCHED_OFF]
    match campaign.mode:
        case CampaignMode.TARGETED:
            return []
        case CampaignMode.PLATFORM_IMPORT:
            return ["款项由平台收取 / the platform takes the money"]
    return [f"{zh} / {en}" for name, (zh, en) in PAPERS.items() if getattr(campaign, name) is None]


def refuse_unlawful(campaign: Campaign | NewCampaign) -> None:
    """PaymentNotLawful with what is missing."""
    if not campaign.in_app_payment:
        raise PaymentNotLawful(missing=["本项目未开通小程序捐款 / this campaign takes no payment in the app"])
    if missing := missing_papers(campaign):
        raise PaymentNotLawful(missing=missing)


async def draft(db: AsyncSession, actor: Actor, *, key: Key, new: NewCampaign) -> Campaign:
    """Seen by workers only until it is opened."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Campaign, key.id)
    if new.in_app_payment:
        refuse_unlawful(new)
    await _funds(db, actor, new)
    row = Campaign(id=key.id, status=CampaignStatus.DRAFT, created_at=clock.now(), **new.model_dump())
    db.add(row)
    await db.flush()  # the answer shows its version
    await audit.record(db, actor, "draft", "campaign", row.id)
    return row


async def _funds(db: AsyncSession, actor: Actor, new: NewCampaign) -> None:
    for pointer, id in (("/fund_id", new.fund_id), ("/leftover_fund_id", new.leftover_fund_id)):
        fund = await db.scalar(select(Fund).where(Fund.id == id, visible(actor, Fund))) if id else None
        if id and (fund is None or fund.status != "open"):
            raise Invalid.at(pointer, "没有这个基金或已关闭", "no such fund, or it is closed")


async def change(db: AsyncSession, actor: Actor, *, id: uuid.UUID, new: CampaignChange) -> Campaign:
    """A draft, in all; of an open one the texts, the goal, the papers and a later end."""
    row = await held(db, actor, id, new.version, CampaignStatus.DRAFT, CampaignStatus.OPEN)
    if new.in_app_payment:
        refuse_unlawful(new)
    await _funds(db, actor, new)
    if row.status is CampaignStatus.OPEN:
        for name in FIXED:
            if getattr(row, name) != getattr(new, name):
                raise Invalid.at(f"/{name}", "项目开始后不能更改", "not once it is open")
        if new.ends_on < row.ends_on:
            raise Invalid.at("/ends_on", "如需提前结束，请关闭项目", "close it to end it earlier")
    for name, value in new.model_dump(exclude={"version"}).items():
        setattr(row, name, value)
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "change", "campaign", row.id)
    return row


async def open_campaign(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Campaign:
    """From now on the public sees it; gifts are taken from its first day to its last."""
    row = await held(db, actor, id, version, CampaignStatus.DRAFT)
    if row.in_app_payment:
        refuse_unlawful(row)
    if row.ends_on < clock.today():
        raise Invalid.at("/ends_on", "结束日期已过", "its last day has passed")
    # Until it is open nobody closes its fund.
    fund = await db.get_one(Fund, row.fund_id, with_for_update={"read": True})
    if fund.status is FundStatus.CLOSED:
        raise FundClosed
    row.status = CampaignStatus.OPEN
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "open", "campaign", row.id)
    return row


async def close(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, leftover_fen: int = 0
) -> Campaign:
    """No gifts any more. `leftover_fen`: what goes to the fund named in its rule: MoreThanLeft where less was given to
    this campaign, FundInsufficient where its fund has less."""
    row = await held(db, actor, id, version, CampaignStatus.OPEN)
    if leftover_fen and row.leftover_fund_id is None:
        raise Invalid.at(
            "/leftover_fen", "本项目剩余资金留在原基金", "by its rule what is left stays in its fund"
        )
    row.status, row.closed_at = CampaignStatus.CLOSED, clock.now()
    if leftover_fen:
        await _hand_over(db, row, leftover_fen)
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "close", "campaign", row.id)
    return row


async def _hand_over(db: AsyncSession, row: Campaign, leftover_fen: int) -> None:
    left_fen = (await standing(db, row))["left_fen"]
    if leftover_fen > left_fen:
        raise MoreThanLeft(left_fen=left_fen)
    source, target = await db.get_one(Fund, row.fund_id), await db.get_one(Fund, row.leftover_fund_id)
    if target.status is FundStatus.CLOSED:
        raise FundClosed
    # A new name each time: what was refused stays refused. The campaign is closed once.
    entry = posting.Entry(
        new_id(), debit=accounts.income_code(source),
        credit=accounts.income_code(target), amount=leftover_fen, kind=TransferKind.LEFTOVER,
        reference=f"campaign/{row.id}", effective=clock.today(), group=row.id,
    )  # fmt: skip
    await posting.ask(db, entry)


async def standing(db: AsyncSession, row: Campaign) -> dict[str, int]:
    """Money given to it, less what went back; what was approved or paid under it, and what went to another fund when it
    was closed; and what is left then."""
    of_all = (await gifts.tallies(db, Donation.campaign_id, [row.id])).get(row.id, gifts.Tally())
    goods = select(func.sum(gifts.LEFT)).where(
        Donation.campaign_id == row.id, Donation.channel == Channel.IN_KIND, SHOWN
    )
    spent = select(func.sum(func.coalesce(Disbursement.paid_fen, Disbursement.amount_fen))).where(
        Disbursement.fund_id == row.fund_id, Disbursement.campaign_id == row.id, Disbursement.status.in_(SPENT)
    )  # fmt: skip
    gone = select(func.sum(Transfer.amount_fen)).where(
        Transfer.group_id == row.id, Transfer.kind == TransferKind.LEFTOVER
    )
    received = of_all.received_fen - int(await db.scalar(goods) or 0)
    committed, handed_over = int(await db.scalar(spent) or 0), int(await db.scalar(gone) or 0)
    return {
        "received_fen": received, "committed_fen": committed, "handed_over_fen": handed_over,
        "left_fen": max(received - committed - handed_over, 0),
    }  # fmt: skip


async def held(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, *states: CampaignStatus
) -> Campaign:
    row = await fetch_version(db, actor, Campaign, id, version)
    if row.status not in states:
        raise WrongState
    return row


def runs_on(campaign: Campaign, day: date) -> bool:
    return campaign.status is CampaignStatus.OPEN and campaign.starts_on <= day <= campaign.ends_on


async def read(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Campaign:
    return await fetch(db, actor, Campaign, id)


async def listing(
    db: AsyncSession, actor: Actor, *, fund_id: uuid.UUID, before: uuid.UUID | None, limit: int
) -> list[Campaign]:
    """Of a fund, newest first."""
    await fetch(db, actor, Fund, fund_id)
    query = select(Campaign).where(Campaign.fund_id == fund_id, visible(actor, Campaign))
    return list(await db.scalars(newest_first(query, Campaign.created_at, Campaign.id, before, limit)))
