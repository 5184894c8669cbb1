"""L10: in whatever order, however often and by whomever a payment or refund is told of, the ledger is the same."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app import clock, db
from app.integrations import wechat_pay
from app.models.donations import DonationStatus
from app.models.identity import Role
from app.models.ledger import Transfer
from app.models.payments import OrderStatus, Refund
from app.models.reconciliation import ReconciliationDifference
from app.services.idempotency import Key
from app.services.ledger import accounts
from app.services.ledger.posting import transfer_id
from app.services.payments import notices, queries, refunds, sending
from tests.clients import a_worker
from tests.factories import giving as made
from tests.factories import ledger
from tests.factories.appointments import couple
from tests.paying import control, notice

FEW = settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TELLERS = ("notice", "query", "bill", "time_over")


@pytest.fixture
async def scene(session, wechat_pay, monkeypatch):
    fund = await ledger.fund(session)
    donor = (await couple(session)).wife_actor
    asks = (await a_worker(session, Role.ACCOUNTANT)).actor()
    decides = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    await session.commit()
    scene = SimpleNamespace(fund=fund, donor=donor, asks=asks, decides=decides, later=timedelta())
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + scene.later)
    return scene


async def tell(teller: str, scene, gift) -> None:
    """Before the money has come there is nothing to tell; to ask, or to close, does no harm."""
    payment = await wechat_pay.query(gift.id.hex)
    if teller == "time_over":
        scene.later = timedelta(hours=3)
    if teller in ("query", "time_over"):
        await queries.ask(await made.order(gift.id))
    elif payment is not None and payment.paid:
        if teller == "notice":
            await made.told(gift)
        async with db.begin() as session:
            await notices.settle(session, payment)


@FEW
@given(before=st.lists(st.sampled_from(TELLERS), max_size=3), after=st.permutations([*TELLERS, "notice"]))
async def test_a_payment(before, after, scene, connection):
    example = await connection.begin_nested()
    scene.later = timedelta()
    gift = await made.begun(scene.donor, scene.fund, 777)
    for teller in before:
        await tell(teller, scene, gift)
    number = await made.pay(gift, even_if_closed=True)
    for teller in after:
        await tell(teller, scene, gift)
    async with db.sessions() as session:
        rows = list(await session.scalars(select(Transfer)))
        assert [(row.id, row.amount_fen) for row in rows] == [(transfer_id("wechat", number), 777)]
        assert await accounts.available(session, scene.fund.id) == 777
        assert not list(await session.scalars(select(ReconciliationDifference.id)))
    assert (await made.gift(gift.id)).status is DonationStatus.RECEIVED
    assert (await made.order(gift.id)).status is OrderStatus.PAID
    await example.rollback()


@FEW
@given(end=st.sampled_from(["SUCCESS", "CLOSED"]), told=st.permutations(["early", "late", "late", "query"]))
async def test_a_refund(end, told, scene, connection):
    """`early`: WeChat's first answer, which says that it is under way, read after what came later."""
    example = await connection.begin_nested()
    gift = await made.arrived(scene.donor, scene.fund, 100)
    async with db.begin() as own:
        new = refunds.NewRefund(amount_fen=60, reason="donor_asked")
        row = await refunds.request(own, scene.asks, key=Key(db.new_id(), b"x"), donation_id=gift.id, new=new)
        await refunds.approve(own, scene.decides, id=row.id, version=row.version)
    early = await wechat_pay.refund(
        transaction_id=row.transaction_id, out_refund_no=row.out_refund_no, refund_fen=60, total_fen=100
    )
    await control("refund", {"out_refund_no": row.out_refund_no, "status": end, "notices": []})
    for teller in told:
        if teller == "late":
            await notices.receive(*await notice(row.out_refund_no, refund=True))
        state = early if teller == "early" else await wechat_pay.query_refund(row.out_refund_no)
        async with db.begin() as own:
            await refunds.settle(own, state)
    done = end == "SUCCESS"
    async with db.sessions() as session:
        assert (await session.get_one(Refund, row.id)).status == ("succeeded" if done else "closed")
        assert await accounts.available(session, scene.fund.id) == (40 if done else 100)
        assert await accounts.held(session, scene.fund.id) == 0
    assert (await made.gift(gift.id)).refunded_fen == (60 if done else 0)
    assert await sending.sweep() == 0
    await example.rollback()
