"""The care fund, played: a fund with its budget, a campaign, a gift, and refunds with every ending."""

from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from app.services.payments import sending
from tests.factories import giving as made
from tests.guards.cast import STAFF, bearer, worker
from tests.guards.playing import Played
from tests.paying import control


async def the_giving(story: Played, session: AsyncSession) -> None:
    callers = [
        Caller(story.http, STAFF, await bearer(session, STAFF, await worker(session, role, demo.PREFECTURE)))
        for role in (Role.ACCOUNTANT, Role.COUNTY_ADMINISTRATOR)
    ]
    accountant, manager = callers
    fund = await _a_fund(manager, "SCHOOL")
    line = await manager.create(f"/funds/{fund['id']}/budget-lines", {
        "year": clock.today().year, "code": "visits", "zh": "慰问", "en": "Visits", "amount_fen": 1_000,
    })  # fmt: skip
    more = {"version": line["version"], "zh": "慰问", "en": "Visits", "amount_fen": 2_000}
    await manager.call("PUT", f"/budget-lines/{line['id']}", more)
    await _a_campaign(manager, fund)
    await _refunds(story, accountant, manager, fund)
    empty = await _a_fund(manager, "EMPTY")
    await manager.call("POST", f"/funds/{empty['id']}/close", {"version": empty["version"]})


async def _a_fund(manager: Caller, code: str) -> Any:
    fund = await manager.create("/funds", {
        "code": code, "region_code": demo.PREFECTURE, "zh": "助学基金", "en": "School fund", "purpose_zh": "助学",
        "purpose_en": "School", "restricted": True,
    })  # fmt: skip
    renamed = {"version": fund["version"], "zh": "金秋助学基金", "en": "Autumn school fund"}
    return await manager.call("PATCH", f"/funds/{fund['id']}", renamed)


async def _a_campaign(manager: Caller, fund: Any) -> None:
    today = clock.today()
    new = {
        "fund_id": fund["id"], "zh": "金秋助学", "en": "Autumn", "story_zh": "助学", "story_en": "School",
        "mode": "targeted", "in_app_payment": True, "goal_fen": 100, "starts_on": f"{today}",
        "ends_on": f"{today + timedelta(days=9)}",
    }  # fmt: skip
    row = await manager.create("/campaigns", new)
    path = f"/campaigns/{row['id']}"
    row = await manager.call("PUT", path, {**new, "goal_fen": 200, "version": row["version"]})
    for step in ("open", "close"):
        row = await manager.call("POST", f"{path}/{step}", {"version": row["version"]})


async def _refunds(story: Played, accountant: Caller, manager: Caller, fund: Any) -> None:
    body = {"fund_id": fund["id"], "amount_fen": 1_000}
    begun = await story.wife_caller.create("/donations", body)
    gift = await made.gift(begun["donation_id"])
    await made.pay(gift)
    await made.told(gift)

    async def ask() -> Any:
        return await accountant.create(
            f"/donations/{gift.id}/refunds", {"amount_fen": 400, "reason": "donor_asked"}
        )

    async def step(name: str, version: int) -> Any:
        return await manager.call("POST", f"/refunds/{row['id']}/{name}", {"version": version})

    row = await ask()
    await step("reject", row["version"])
    row = await ask()
    row = await step("approve", row["version"])
    for ending in ("retry", "give-up"):
        await control("fail", {"call": "refund", "status": 403, "code": "USER_ACCOUNT_ABNORMAL"})
        await sending.sweep()
        [row] = (await manager.call("GET", "/refunds?status=abnormal"))["items"]
        row = await step(ending, row["version"])
