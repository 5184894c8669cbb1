"""One payment told of by everybody at once is one row of the ledger: notices, questions, the bill, and closing; and a
refund goes back once, whoever asks, approves, sends or tells.

NUANXIN_SOAK=10 plays ten times as many rounds.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, text, update

from app import clock, db
from app.integrations import wechat_pay
from app.integrations.wechat_pay import Payment, PaymentState
from app.models.donations import Donation, DonationStatus
from app.models.identity import Role
from app.models.ledger import Transfer
from app.models.payments import OrderStatus, PaymentNotice, PaymentOrder, RefundStatus
from app.models.reconciliation import ReconciliationDifference
from app.services.donations import thanks
from app.services.idempotency import Key
from app.services.payments import notices, orders, queries, refunds, sending
from app.services.payments.refunds import RefundOfSuspense
from app.services.reconciliation import differences, matching
from app.services.reconciliation.differences import Resolve
from tests.clients import a_worker
from tests.database import WAITING
from tests.factories import bills
from tests.factories import giving as made
from tests.factories import ledger as given
from tests.factories.appointments import couple
from tests.paying import control, notice
from tests.races.test_booking_races import outcomes
from tests.races.test_ledger_races import SOAK, check_books, left

pytestmark = pytest.mark.usefixtures("committed", "wechat_pay")


@pytest.fixture
async def scene(committed, wechat_pay):
    async with db.sessions() as session:
        fund = await given.fund(session)
        donor = (await couple(session)).wife_actor
        asks = (await a_worker(session, Role.ACCOUNTANT)).actor()
        decides = [(await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor() for _ in range(2)]
    return SimpleNamespace(fund=fund, donor=donor, asks=asks, decides=decides)


async def settle(payment: Payment) -> str:
    async with db.begin() as session:
        return await notices.settle(session, payment)


async def count(model, *where) -> int:
    async with db.begin() as session:
        return await session.scalar(select(func.count()).select_from(model).where(*where)) or 0


async def expire(*ids) -> None:
    past = clock.now()
    async with db.begin() as session:
        await session.execute(
            update(PaymentOrder).where(PaymentOrder.id.in_(ids)).values(expires_at=past, next_query_at=past)
        )


async def at_once(*work):
    """With connections that are open already: else the first would be done before the second has one."""
    await asyncio.gather(*(count(Transfer) for _ in range(len(work) + 1)))
    return await asyncio.gather(*work)


async def test_everybody_tells_at_once_and_it_is_paid_once(scene):
    for _ in range(3 * SOAK):
        before = await left(scene.fund)
        row = await made.begun(scene.donor, scene.fund, 100)
        number = await made.pay(row)
        order = await made.order(row.id)
        told = [await notice(row.id.hex) for _ in range(2)]
        bill = Payment(row.id.hex, PaymentState.SUCCESS, number, 100, clock.now())
        said = await at_once(
            *(notices.receive(*one) for one in told * 3), *(settle(bill) for _ in range(3)),
            *(queries.ask(order) for _ in range(3)), orders.look(scene.donor, row.id, paid=True),
        )  # fmt: skip
        assert Counter(said)["paid"] <= 1
        assert await left(scene.fund) == before + 100
        assert (await made.gift(row.id)).version == 2
    assert await count(Transfer) == 3 * SOAK
    assert await count(PaymentNotice) == 3 * SOAK
    assert await count(ReconciliationDifference) == 0
    await check_books(scene.fund)


async def test_another_amount_told_by_many_at_once_is_one_difference(scene):
    row = await made.begun(scene.donor, scene.fund, 100)
    await made.pay(row)
    told = [await notice(row.id.hex, "other_amount")] * 6
    said = await asyncio.gather(*(notices.receive(*one) for one in told))
    assert Counter(said) == {"unexplained": 1, "again": 5}
    assert (await count(Transfer), await count(ReconciliationDifference)) == (1, 1)
    assert (await made.gift(row.id)).status is DonationStatus.PENDING
    await check_books(scene.fund)


async def test_closing_beside_paying_never_loses_a_payment(scene):
    rows = [await made.begun(scene.donor, scene.fund, 100) for _ in range(6)]
    await expire(*(row.id for row in rows))

    async def paid_late(row):
        await made.pay(row, even_if_closed=True)
        await made.told(row)

    await asyncio.gather(queries.sweep(), queries.sweep(), *(paid_late(row) for row in rows))
    assert await count(PaymentOrder, PaymentOrder.status == OrderStatus.PAID) == 6
    assert await count(Donation, Donation.status == DonationStatus.RECEIVED) == 6
    assert await left(scene.fund) == 600
    await check_books(scene.fund)


async def test_two_workers_ask_for_each_order_once(scene, monkeypatch):
    rows = [await made.begun(scene.donor, scene.fund, 100) for _ in range(8)]
    await expire(*(row.id for row in rows))
    asked: Counter[str] = Counter()
    query = wechat_pay.query

    async def counted(number):
        asked[number] += 1
        return await query(number)

    monkeypatch.setattr(wechat_pay, "query", counted)
    swept = await at_once(queries.sweep(), queries.sweep(), queries.sweep())
    assert (sum(swept), set(asked.values())) == (8, {1})
    assert await count(PaymentOrder, PaymentOrder.status == OrderStatus.CLOSED) == 8


async def test_two_workers_thank_once(scene):
    for _ in range(4):
        await made.arrived(scene.donor, scene.fund, 100)
    assert sum(await at_once(thanks.thank_all(), thanks.thank_all())) == 4


async def request(scene, gift, amount):
    new = refunds.NewRefund(amount_fen=amount, reason="donor_asked")
    async with db.begin() as session:
        return await refunds.request(
            session, scene.asks, key=Key(db.new_id(), b"x"), donation_id=gift.id, new=new
        )


async def approve(actor, row):
    async with db.begin() as session:
        return await refunds.approve(session, actor, id=row.id, version=row.version)


async def test_a_refund_is_asked_approved_sent_and_told_by_many_and_happens_once(scene):
    gift = await made.arrived(scene.donor, scene.fund, 100)
    said = await outcomes(*(request(scene, gift, 60) for _ in range(5)))
    assert Counter(said) == {"done": 1, "refund-under-way": 4}
    async with db.begin() as session:
        [row] = await refunds.listing(session, scene.asks, status=None, before=None, limit=5)
    said = await outcomes(*(approve(actor, row) for actor in scene.decides * 2))
    assert Counter(said) == {"done": 1, "stale-version": 3}
    assert sum(await at_once(sending.sweep(), sending.sweep(), sending.sweep())) == 1
    await control("refund", {"out_refund_no": row.out_refund_no, "notices": []})
    told = await notice(row.out_refund_no, refund=True)
    state = await wechat_pay.query_refund(row.out_refund_no)

    async def known() -> str:
        async with db.begin() as session:
            return await refunds.settle(session, state)

    # Who asks for more meanwhile knows of this one: 60 of 100 are gone, or on their way.
    said, answers = await asyncio.gather(
        outcomes(*(request(scene, gift, 60) for _ in range(3))),
        asyncio.gather(*(notices.receive(*told) for _ in range(4)), *(known() for _ in range(4))),
    )
    assert Counter(answers) == {"succeeded": 1, "again": 7}
    assert set(said) <= {"refund-under-way", "refund-too-much"}
    gift = await made.gift(gift.id)
    assert (gift.refunded_fen, gift.status) == (60, DonationStatus.PART_REFUNDED)
    assert await left(scene.fund) == 40
    assert await count(refunds.Refund, refunds.Refund.status == RefundStatus.SUCCEEDED) == 1
    await check_books(scene.fund)


async def test_money_in_suspense_becomes_one_thing_whoever_decides_meanwhile(scene):
    """Asked back by many while others give it to the fund, and a comparison finds that it was given back by hand."""
    for ago in range(1, SOAK + 1):
        row, wechat = await by_a_stranger(scene, timedelta(days=ago))
        before = await left(scene.fund)
        back = RefundOfSuspense(version=row.version, reason="not_acceptable")
        to_fund = Resolve(version=row.version, action="fund", note="已核对", fund_id=scene.fund.id)
        await wechat.deliver(clock.today() - timedelta(days=ago))

        async def step(work, **how):
            async with db.begin() as session:
                await work(session, scene.asks, **how)

        asks = [{"key": Key(db.new_id(), b"x"), "difference_id": row.id, "new": back} for _ in range(3)]
        said, _ = await asyncio.gather(
            outcomes(
                *(step(differences.resolve, id=row.id, body=to_fund) for _ in range(2)),
                *(step(refunds.request_of_suspense, **ask) for ask in asks),
            ),
            matching.match_due(),
        )
        async with db.begin() as session:
            ended = (await session.get_one(ReconciliationDifference, row.id)).status
        asked = await count(refunds.Refund, refunds.Refund.difference_id == row.id)
        gave = await left(scene.fund) - before
        assert (ended, asked, gave, said.count("done")) in [
            ("refunding", 1, 0, 1), ("resolved", 0, 100, 1), ("matched", 0, 0, 0),
        ]  # fmt: skip
        await check_books(scene.fund)


async def test_a_comparison_waits_for_who_decides_and_explains_nothing_of_it(scene):
    row, wechat = await by_a_stranger(scene, timedelta(days=1))
    await wechat.deliver(clock.today() - timedelta(days=1))
    back = RefundOfSuspense(version=row.version, reason="not_acceptable")
    async with db.begin() as session:
        await refunds.request_of_suspense(
            session, scene.asks, key=Key(db.new_id(), b"x"), difference_id=row.id, new=back
        )
        comparing = asyncio.create_task(matching.match_due())
        async with db.begin() as other:
            while not await other.scalar(text(WAITING)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await comparing
    async with db.begin() as session:
        assert (await session.get_one(ReconciliationDifference, row.id)).status == "refunding"


async def by_a_stranger(scene, ago):
    """Told of and looked into; the bill of that day, which is not here yet, says that it went back by hand."""
    wechat, then = bills.Wechat(), clock.now() - ago
    paid = wechat.paid(f"S{db.new_id().hex[:20]}", 100, then)
    assert await bills.told(paid) == "unexplained"
    wechat.refunded(paid, f"H{db.new_id().hex[:20]}", 100, then)
    async with db.begin() as session:
        of = ReconciliationDifference.reference == paid.transaction
        row = (await session.scalars(select(ReconciliationDifference).where(of))).one()
        return await differences.investigate(session, scene.asks, id=row.id, version=row.version), wechat
