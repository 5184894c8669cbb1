"""Reconciliation, played: a bill uploaded by hand, and its differences looked into, resolved, written off."""

from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from app.services.reconciliation import matching
from tests.factories import bills as made
from tests.guards.cast import STAFF, bearer, worker
from tests.guards.playing import Played


async def the_reconciliation(story: Played, session: AsyncSession) -> None:
    accountant, county = [
        Caller(story.http, STAFF, await bearer(session, STAFF, await worker(session, role, demo.PREFECTURE)))
        for role in (Role.ACCOUNTANT, Role.COUNTY_ADMINISTRATOR)
    ]
    day = clock.today() - timedelta(days=1)
    wechat, noon = made.Wechat(), datetime.combine(day, time(12), clock.SHANGHAI)
    for number, fen in (("S-1", 100), ("S-2", 200), ("S-3", 300)):
        wechat.paid(number, fen, noon)
    answer = await accountant.http.post(
        f"{STAFF}/reconciliation/bills?day={day}&type=trade",
        content=wechat.trade(day),
        headers=accountant.headers,
    )
    assert answer.status_code == 200, answer.text
    await matching.match_due()
    waiting = [
        one for one in (await accountant.call("GET", "/reconciliation/differences?limit=100"))["items"]
        if one["theirs_fen"] in (100, 200, 300) and one["status"] == "open"
    ]  # fmt: skip

    async def step(by: Caller, id: str, verb: str, **more: Any) -> None:
        seen = await accountant.call("GET", f"/reconciliation/differences/{id}")
        await by.call(
            "POST", f"/reconciliation/differences/{id}/{verb}", {"version": seen["version"], **more}
        )

    first, second, third = (one["id"] for one in sorted(waiting, key=lambda one: one["theirs_fen"]))
    await step(accountant, first, "investigate")
    await step(accountant, first, "resolve", action="own_money", note="本会内部测试付款")
    await step(accountant, second, "investigate")
    await step(accountant, second, "propose", note="查无结果")
    await step(county, second, "decline")
    await step(accountant, second, "propose", note="查无结果")
    await step(county, second, "approve")
    await step(accountant, third, "investigate")
    seen = await accountant.call("GET", f"/reconciliation/differences/{third}")
    back = {"version": seen["version"], "reason": "not_acceptable"}
    await accountant.create(f"/reconciliation/differences/{third}/refunds", back)
