"""Bills asked of WeChat Pay's stand-in: hash, days that have none, days that are not ready, days that were missed."""

from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import func, select

from app import clock
from app.db import begin
from app.integrations.wechat_pay import AnswerNotGenuine, BillNotReady
from app.models.reconciliation import BillFile, BillLine, BillType, ReconciliationDifference
from app.services.reconciliation import fetching, matching
from app.services.reconciliation.bills import BillRefused
from tests.factories import giving as made
from tests.factories import ledger as books
from tests.factories.appointments import couple
from tests.paying import control

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")
#: Of the stand-in's days only these are ours.
DAY = clock.today() - timedelta(days=40)


@pytest.fixture
async def paid(session):
    """A gift of 100 yuan of that day, and nobody told us."""
    fund = await books.fund(session)
    donor = (await couple(session)).wife_actor
    await session.commit()
    gift = await made.begun(donor, fund)
    await made.pay(gift, paid_at=datetime.combine(DAY, time(12), clock.SHANGHAI).isoformat())
    return gift


async def files():
    async with begin() as db:
        query = select(BillFile).order_by(BillFile.bill_date, BillFile.bill_type)
        return list(await db.scalars(query.execution_options(populate_existing=True)))


async def test_a_day_is_fetched_matched_and_not_fetched_again(paid):
    await matching.reconcile(DAY)
    flow, trade = await files()
    assert (trade.bill_type, trade.paid_fen >= 10_000, trade.fee_fen >= 60) == (BillType.TRADE, True, True)
    assert (flow.balance_fen is not None, len(trade.sha1)) == (True, 40)
    assert trade.reconciled_at is not None
    assert (await made.gift(paid.id)).status == "received"
    await control("fail", {"call": "bill", "times": 1000})
    await matching.reconcile(DAY)
    await control("fail", {"call": "bill", "times": 0})


def change(paid):
    return {"number": paid.id.hex, "column": "订单金额", "value": "999.00"}


async def test_a_file_that_wechat_did_not_hash_is_not_taken(paid):
    await control("bill", {"changes": [change(paid)], "rehash": False})
    with pytest.raises(AnswerNotGenuine):
        await fetching.fetch(DAY)
    assert await files() == []


async def test_a_bill_whose_totals_are_not_those_of_its_lines_is_refused_and_listed(paid):
    await control("bill", {"changes": [change(paid)], "retotal": False})
    with pytest.raises(BillRefused):
        await fetching.fetch(DAY)
    assert await files() == []
    async with begin() as db:
        [row] = await db.scalars(select(ReconciliationDifference))
        assert (row.kind, row.reference) == ("bill", f"trade/{DAY}")
        assert "订单总金额" in row.note or "应结" in row.note
        assert await db.scalar(select(func.count()).select_from(BillLine)) == 0
    await matching.reconcile(DAY)
    async with begin() as db:
        query = select(ReconciliationDifference).where(ReconciliationDifference.id == row.id)
        row = await db.scalar(query.execution_options(populate_existing=True))
    assert (row.status, len(await files())) == ("matched", 2)


async def test_a_day_that_is_not_over_is_asked_for_later():
    with pytest.raises(BillNotReady):
        await fetching.fetch(clock.today())


async def test_missed_days_are_made_up_for_and_days_without_a_bill_are_remembered(paid, monkeypatch):
    """One whose file is not genuine at first hinders no other."""
    await control("bill", {"changes": [change(paid)], "rehash": False})
    monkeypatch.setattr(fetching, "KEPT_DAYS", 6)
    monkeypatch.setattr(clock, "today", lambda: DAY + timedelta(days=3))
    await matching.sweep()
    around = {DAY - timedelta(days=1), DAY + timedelta(days=1), DAY + timedelta(days=2)}
    first = {file.bill_date for file in await files()}
    assert (around <= first, await fetching.due()) == (True, [DAY])
    await matching.sweep()
    stored = await files()
    assert {file.bill_date for file in stored} == first | {DAY}
    assert len(stored) == 2 * 5
    assert [file.lines > 0 for file in stored if file.bill_date == DAY] == [True, True]
    assert all(file.sha1 is None for file in stored if file.bill_date < DAY)
    assert all(file.reconciled_at for file in stored)
    assert (await made.gift(paid.id)).status == "received"
    assert await fetching.due() == []
