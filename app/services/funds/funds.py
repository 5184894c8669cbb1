"""Funds: opened with their accounts, renamed, closed when nothing is left in them."""

import uuid
from typing import Annotated, Any

from pydantic import StringConstraints
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, WrongState
from app.models.donations import Donation
from app.models.funds import Campaign, CampaignStatus, Fund, FundStatus
from app.models.payments import PAYABLE, PaymentOrder
from app.services import audit, idempotency, regions
from app.services.idempotency import Key
from app.services.ledger import accounts
from app.services.plain import Body, Line, Note, RegionCode, example

FundCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,8}$")]


class FundCodeTaken(Conflict, constraint="uq_fund_code"):
    zh, en = "基金代码已被使用", "This fund code is taken"
    do_zh, do_en = "请更换代码", "Choose another code"


class FundNotEmpty(Conflict):
    """Names what is left or held, in fen, and how many campaigns and payments are under way."""

    zh, en = (
        "基金尚有余额、冻结资金、进行中的募捐项目或待支付的捐款",
        "Money, holds, open campaigns or payments under way are left in the fund",
    )
    do_zh, do_en = (
        "请先结束募捐项目并用完或转出余额",
        "End its campaigns and spend or move what is left first",
    )


class FundClosed(WrongState):
    zh, en = "该基金已关闭", "This fund is closed"


class NewFund(Body):
    """`restricted`: what is given may be spent on this purpose only."""

    model_config = example(
        code="CARE", region_code="640100000000", zh="生育关怀基金", en="Care fund", restricted=True,
        purpose_zh="救助计划生育特殊困难家庭", purpose_en="Help for families in special hardship",
    )  # fmt: skip

    code: FundCode
    region_code: RegionCode
    zh: Line
    en: Line
    purpose_zh: Note
    purpose_en: Note
    restricted: bool


class FundTexts(Body):
    """The words only: what a fund is for is not changed once money was given for it."""

    model_config = example(version=1, zh="生育关怀基金", en="Care fund")

    version: int
    zh: Line
    en: Line


async def open_fund(db: AsyncSession, actor: Actor, *, key: Key, new: NewFund) -> Fund:
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Fund, key.id)
    await regions.require_own_region(db, actor, new.region_code)
    fund = Fund(id=key.id, status=FundStatus.OPEN, created_at=clock.now(), **new.model_dump())
    db.add(fund)
    await db.flush()  # its accounts refer to it
    await accounts.open_for(db, fund)
    await audit.record(db, actor, "open", "fund", fund.id)
    return fund


async def rename(db: AsyncSession, actor: Actor, *, id: uuid.UUID, new: FundTexts) -> Fund:
    fund = await held(db, actor, id, new.version)
    fund.zh, fund.en = new.zh, new.en
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "rename", "fund", fund.id)
    return fund


async def close(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Fund:
    """For good: nothing left, nothing held, no campaign and no payment under way."""
    fund = await held(db, actor, id, version)
    left = await standing(db, fund)
    campaigns = select(func.count()).where(
        Campaign.fund_id == fund.id, Campaign.status == CampaignStatus.OPEN
    )
    payments = (
        select(func.count())
        .select_from(PaymentOrder)
        .join(Donation, Donation.id == PaymentOrder.id)
        .where(Donation.fund_id == fund.id, PaymentOrder.status.in_(PAYABLE))
    )
    under_way = {"campaigns": await db.scalar(campaigns), "payments": await db.scalar(payments)}
    in_the_way: dict[str, Any] = left | under_way
    if any(in_the_way.values()):
        raise FundNotEmpty(**in_the_way)
    fund.status = FundStatus.CLOSED
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "close", "fund", fund.id)
    return fund


async def read(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Fund:
    return await fetch(db, actor, Fund, id)


async def standing(db: AsyncSession, fund: Fund) -> dict[str, int]:
    """What it may still spend, what is held beside that, and the worth of its goods."""
    return {
        "available_fen": await accounts.available(db, fund.id),
        "held_fen": await accounts.held(db, fund.id),
        "goods_fen": await accounts.available(db, accounts.goods_limit(fund.id)),
    }


async def listing(db: AsyncSession, actor: Actor, *, after: str | None, limit: int) -> list[Fund]:
    """By code."""
    query = select(Fund).where(visible(actor, Fund)).order_by(Fund.code).limit(limit)
    return list(await db.scalars(query if after is None else query.where(Fund.code > after)))


async def held(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Fund:
    """Open, locked, and at the version that the actor saw."""
    fund = await fetch_version(db, actor, Fund, id, version)
    if fund.status is FundStatus.CLOSED:
        raise FundClosed
    return fund
