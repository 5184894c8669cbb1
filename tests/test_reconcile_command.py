"""`nuanxin reconcile DATE`: an operator is told what was found, or why nothing could be."""

import asyncio
from datetime import date, timedelta

from app import clock
from tests.command import told
from tests.factories import bills as made

DAY = clock.today() - timedelta(days=50)


async def test_a_day_is_reconciled_by_hand_as_often_as_one_likes(committed: str) -> None:
    wechat, noon = made.Wechat(), clock.midnight(DAY) + timedelta(hours=12)
    wechat.paid("S-1", 700, noon)
    wechat.moved("提现", -200, noon)
    await wechat.deliver(DAY)

    async def say(day: date, code: int = 0) -> str:
        return await asyncio.to_thread(told, "reconcile", str(day), database=committed, code=code)

    first = await say(DAY)
    said = dict(line.split(maxsplit=1) for line in first.splitlines() if " " in line)
    assert [said[name] for name in ("paid_fen", "fees_fen", "paid_out_fen", "closing_fen", "suspense_fen")] == [
        "700", "4", "200", "496", "700",
    ]  # fmt: skip
    assert (said["not_paid_out"], said["open_differences"]) == (f"[{{'day': '{DAY}', 'fen': 496}}]", "1")
    assert await say(DAY) == first
    assert "not ready yet" in await say(clock.today(), 1)
