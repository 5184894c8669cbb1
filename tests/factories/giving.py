"""Campaigns, and gifts through WeChat Pay on their way and arrived."""

from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.models.donations import Donation
from app.models.funds import Campaign, CampaignMode, CampaignStatus, Fund, LeftoverRule
from app.models.payments import PaymentOrder
from app.services.donations import giving
from app.services.idempotency import Key
from app.services.payments import notices
from tests.paying import control, notice


async def campaign(session: AsyncSession, fund: Fund, **changes: Any) -> Campaign:
    """Under way since yesterday, to a known circle."""
    values: dict[str, Any] = {
        "id": new_id(), "fund_id": fund.id, "zh": "暖心·好孕", "en": "A warm start", "story_zh": "为困难家庭",
        "story_en": "For families", "mode": CampaignMode.TARGETED, "in_app_payment": True, "goal_fen": 1_000_000,
        "starts_on": clock.today() - timedelta(days=1), "ends_on": clock.today() + timedelta(days=30),
        "status": CampaignStatus.OPEN, "leftover_rule": LeftoverRule.SAME_FUND, "created_at": clock.now(),
    } | changes  # fmt: skip
    row = Campaign(**values)
    session.add(row)
    await session.flush()
    return row


async def begun(actor: Actor, fund: Fund, amount_fen: int = 10_000, **more: Any) -> Donation:
    """Not paid yet."""
    goal = {} if "campaign_id" in more else {"fund_id": fund.id}
    new = giving.NewGift.model_validate(goal | {"amount_fen": amount_fen} | more)
    request = await giving.give(actor, key=Key(new_id(), b"x"), new=new)
    return await gift(request.donation_id)


async def gift(id: Any) -> Donation:
    """As it stands now."""
    async with begin() as db:
        return await db.get_one(Donation, id, populate_existing=True)


async def order(id: Any) -> PaymentOrder:
    async with begin() as db:
        return await db.get_one(PaymentOrder, id, populate_existing=True)


async def pay(given: Donation, **more: Any) -> str:
    """At the phone; nobody tells us. The transaction's number."""
    paid = await control("pay", {"out_trade_no": given.id.hex, "notices": [], **more})
    return str(paid["transaction_id"])


async def told(given: Donation, kind: str = "genuine") -> str:
    """WeChat's notice of it comes in."""
    return await notices.receive(*await notice(given.id.hex, kind))


async def arrived(actor: Actor, fund: Fund, amount_fen: int = 10_000, **more: Any) -> Donation:
    """Given, paid, told."""
    row = await begun(actor, fund, amount_fen, **more)
    await pay(row)
    assert await told(row) == "paid"
    return await gift(row.id)
