"""Bills that several workers match at once, while notices come in: everything once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app import clock, db
from app.models.donations import Donation
from app.models.identity import Role
from app.models.ledger import Transfer
from app.models.reconciliation import BillFile, BillLine, BillType, ReconciliationDifference
from app.services.ledger import accounts
from app.services.reconciliation import fetching, matching
from tests.clients import SYSTEM, a_worker
from tests.factories import bills as made
from tests.factories import ledger as books
from tests.factories.appointments import couple

pytestmark = pytest.mark.usefixtures("committed")
GIFTS = 24


async def test_three_workers_and_late_notices_do_everything_once() -> None:
    wechat, day = made.Wechat(), clock.today() - timedelta(days=2)
    noon = clock.now().replace(hour=4) - timedelta(days=2)
    async with db.sessions() as session:
        fund = await books.fund(session)
        donor = (await couple(session)).wife_actor
        asks, decides = [
            (await a_worker(session, role)).actor() for role in (Role.ACCOUNTANT, Role.COUNTY_ADMINISTRATOR)
        ]
        await session.commit()
        orders = [await made.ordered(session, donor, fund, 1_000 + n) for n in range(GIFTS)]
    paid = [wechat.paid(order.out_trade_no, order.amount_fen, noon) for order in orders]
    await made.told(paid[0])
    row = await made.refund_approved(asks, decides, orders[0], 400)
    wechat.refunded(paid[0], row.out_refund_no, 400, noon)
    wechat.paid("S-1", 77, noon)
    wechat.moved("提现", -5_000, noon)
    wechat.moved("充值", 9, noon)

    async def worker() -> None:
        await wechat.deliver(day)
        await matching.match(day)

    late = [made.told(one) for one in reversed(paid)]
    await asyncio.gather(*(worker() for _ in range(3)), *late)
    async with db.begin() as session:
        rows = {
            row.code: row.balance_fen
            for row in await accounts.listing(session, SYSTEM, after=None, limit=100)
        }
        received = await session.scalar(select(func.count()).where(Donation.transfer_id.is_not(None)))
        counts = [await session.scalar(select(func.count()).select_from(one))
                  for one in (BillFile, BillLine, ReconciliationDifference)]  # fmt: skip
        fees = await session.scalar(select(func.count()).where(Transfer.kind == "fee"))
    assert rows["100901"] == wechat.balance()
    assert (rows["1002"], rows["220901"], received) == (5_000, 86, GIFTS)
    movements = 2 * GIFTS + 2 + 1 + 2  # each with its fee, but for that of the least payment
    assert counts == [2, GIFTS + 2 + movements, 2]
    assert fees == GIFTS + 1


async def test_the_same_bill_taken_by_many_at_once_is_there_once() -> None:
    wechat, day = made.Wechat(), clock.today() - timedelta(days=1)
    wechat.paid("S-1", 500, clock.now().replace(hour=4) - timedelta(days=1))
    content = wechat.trade(day)
    files = await asyncio.gather(
        *(fetching.take(fetching.SYSTEM, day, BillType.TRADE, content) for _ in range(4))
    )
    assert len({file.id for file in files}) == 1
