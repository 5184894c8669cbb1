"""Funds and campaigns as everybody may see them."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import NotFound
from app.models.donations import Donation
from app.models.funds import Campaign, CampaignMode, CampaignStatus, Fund, FundStatus, LeftoverRule
from app.services.funds import campaigns as appeals
from app.services.pages import newest_first
from app.services.proofs import reading
from app.services.transparency import gifts, spending
from app.services.transparency.gifts import Gift, Tally
from app.services.transparency.spending import Batch
from app.services.transparency.standing import Standing, Standings, standings

PUBLISHED = Campaign.status != CampaignStatus.DRAFT


@dataclass(frozen=True, slots=True)
class PublicFund:
    """Since it was opened, in fen. `received_fen`: less what went back to donors or on to another fund. `goods_…`: what
    was given in kind, by its worth. `gifts`: money and goods. `tree_head`: of the log that has every transfer."""

    id: uuid.UUID
    code: str
    region_code: str
    zh: str
    en: str
    purpose_zh: str
    purpose_en: str
    restricted: bool
    status: FundStatus
    received_fen: int
    spent_fen: int
    balance_fen: int
    goods_received_fen: int
    goods_handed_out_fen: int
    gifts: int
    tree_head: str = f"{reading.AT}/head"


@dataclass(frozen=True, slots=True)
class PublicCampaign:
    """`certificate_number`: 公开募捐资格证书编号; `filing_number`: 募捐方案备案编号. `takes_gifts`: in the app, today.
    `received_fen`: money and the worth of goods, less what was paid back. `told_spent_fen`: of what was spent, what is
    told already, as in the spending of its fund."""

    id: uuid.UUID
    fund_id: uuid.UUID
    zh: str
    en: str
    story_zh: str
    story_en: str
    mode: CampaignMode
    status: CampaignStatus
    takes_gifts: bool
    certificate_number: str | None
    filing_number: str | None
    platform_name: str | None
    platform_url: str | None
    goal_fen: int
    starts_on: date
    ends_on: date
    leftover_rule: LeftoverRule
    leftover_fund_id: uuid.UUID | None
    received_fen: int
    gifts: int
    told_spent_fen: int


@dataclass(frozen=True, slots=True)
class Quarter:
    """`over`: what is said of it changes no more, but by what is paid back later."""

    quarter: str
    over: bool
    gifts: int
    received_fen: int
    told_spent_fen: int
    received_until_then_fen: int


async def funds(db: AsyncSession, *, after: str | None, limit: int) -> list[PublicFund]:
    """By code, closed ones too."""
    query = select(Fund).order_by(Fund.code).limit(limit)
    return await _with_sums(db, query if after is None else query.where(Fund.code > after))


async def fund(db: AsyncSession, id: uuid.UUID) -> PublicFund:
    found = await _with_sums(db, select(Fund).where(Fund.id == id))
    if not found:
        raise NotFound
    return found[0]


async def gifts_of_fund(
    db: AsyncSession, id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[tuple[uuid.UUID, Gift]]:
    if await db.scalar(select(Fund.id).where(Fund.id == id)) is None:
        raise NotFound
    return await gifts.of_fund(db, id, after=after, limit=limit)


async def gifts_of_campaign(
    db: AsyncSession, id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[tuple[uuid.UUID, Gift]]:
    if await db.scalar(select(Campaign.id).where(Campaign.id == id, PUBLISHED)) is None:
        raise NotFound
    return await gifts.of_campaign(db, id, after=after, limit=limit)


async def _with_sums(db: AsyncSession, query: Select[Fund]) -> list[PublicFund]:
    rows = list(await db.scalars(query))
    ids = [row.id for row in rows]
    sums = await standings(db, ids)
    counted = await gifts.tallies(db, Donation.fund_id, ids)
    return [_fund(row, sums, counted.get(row.id, Tally())) for row in rows]


def _fund(row: Fund, sums: Standings, tally: Tally) -> PublicFund:
    money, goods = (sums.get((row.id, of_money), Standing()) for of_money in (True, False))
    return PublicFund(
        row.id, row.code, row.region_code, row.zh, row.en, row.purpose_zh, row.purpose_en, row.restricted, row.status,
        money.received, money.spent, money.received - money.spent, goods.received, goods.spent, tally.gifts,
    )  # fmt: skip


async def campaigns(
    db: AsyncSession, *, fund_id: uuid.UUID | None, before: uuid.UUID | None, limit: int
) -> list[PublicCampaign]:
    """Appeals to the public, newest first. Those to a known circle are never advertised (慈善法 arts. 23, 30): who has
    the id of one may look at it."""
    query = select(Campaign).where(PUBLISHED, Campaign.mode != CampaignMode.TARGETED)
    if fund_id is not None:
        query = query.where(Campaign.fund_id == fund_id)
    return await _with_tallies(db, newest_first(query, Campaign.created_at, Campaign.id, before, limit))


async def campaign(db: AsyncSession, id: uuid.UUID) -> PublicCampaign:
    found = await _with_tallies(db, select(Campaign).where(Campaign.id == id, PUBLISHED))
    if not found:
        raise NotFound
    return found[0]


async def _with_tallies(db: AsyncSession, query: Select[Campaign]) -> list[PublicCampaign]:
    rows = list(await db.scalars(query))
    counted = await gifts.tallies(db, Donation.campaign_id, [row.id for row in rows])
    told = await spending.batches(db, {row.fund_id for row in rows})
    return [_campaign(row, counted.get(row.id, Tally()), told) for row in rows]


def _campaign(row: Campaign, tally: Tally, told: list[Batch]) -> PublicCampaign:
    same: dict[str, Any] = {
        name: getattr(row, name)
        for name in PublicCampaign.__slots__
        if name not in ("takes_gifts", "received_fen", "gifts", "told_spent_fen")
    }
    lawful = row.in_app_payment and not appeals.missing_papers(row)
    return PublicCampaign(
        **same,
        takes_gifts=lawful and appeals.runs_on(row, clock.today()),
        received_fen=tally.received_fen,
        gifts=tally.gifts,
        told_spent_fen=sum(one.fen for one in told if one.campaign_id == row.id),
    )


async def quarters(db: AsyncSession, id: uuid.UUID) -> list[Quarter]:
    """What came and what was spent in each quarter since it began, the last first (慈善法 art. 79)."""
    row = await db.scalar(select(Campaign).where(Campaign.id == id, PUBLISHED))
    if row is None:
        raise NotFound
    this = _quarter_of(clock.today())
    starts = [_quarter_of(min(row.starts_on, this))]
    while starts[-1] < this:
        starts.append(_quarter_of(starts[-1] + timedelta(days=100)))
    given = await gifts.by_period(db, id, [clock.midnight(day) for day in starts])
    told = [one for one in await spending.batches(db, [row.fund_id]) if one.campaign_id == id]
    made, until_then = list[Quarter](), 0
    for number, first in enumerate(starts):
        tally = given.get(number, Tally())
        until_then += tally.received_fen
        spent = sum(one.fen for one in told if max(_quarter_of(one.month), starts[0]) == first)
        name = f"{first.year}-Q{first.month // 3 + 1}"
        made.append(Quarter(name, first < this, tally.gifts, tally.received_fen, spent, until_then))
    return made[::-1]


def _quarter_of(day: date) -> date:
    return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
