"""Refunds: four eyes, money that is held, the same number at every try, and every way in which WeChat ends one."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db import begin, new_id
from app.errors import StaleVersion, WrongState, from_database
from app.integrations import wechat_pay
from app.models.donations import DonationStatus, Pledge, PledgeStatus, ReceiptRequest, ReceiptStatus
from app.models.identity import Role
from app.models.ledger import Phase, Transfer
from app.models.payments import OrderStatus, Refund, RefundStatus
from app.services.donations import receipts
from app.services.donations.receipts import Issued, Payer
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.payments import notices, refundable, refunds, sending
from app.services.payments.refunds import NewRefund
from tests.clients import a_worker
from tests.factories import giving as made
from tests.factories import ledger as given
from tests.factories.appointments import couple
from tests.paying import control, notice

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")
S = RefundStatus


@pytest.fixture
async def scene(session):
    """A gift of 100 yuan that has come; an accountant asks, an administrator decides."""
    fund = await given.fund(session)
    donor = (await couple(session)).wife_actor
    asks = (await a_worker(session, Role.ACCOUNTANT)).actor()
    decides = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    await session.commit()
    gift = await made.arrived(donor, fund)
    return SimpleNamespace(fund=fund, donor=donor, asks=asks, decides=decides, gift=gift)


async def request(scene, amount=10_000, gift=None):
    new = NewRefund(amount_fen=amount, reason="given_twice")
    async with begin() as db:
        id = (gift or scene.gift).id
        return await refunds.request(db, scene.asks, key=Key(new_id(), b"x"), donation_id=id, new=new)


async def decide(step, scene, row, actor=None):
    async with begin() as db:
        return await step(db, actor or scene.decides, id=row.id, version=row.version)


async def sent(scene, amount=10_000, gift=None):
    """Approved, and taken by WeChat."""
    row = await decide(refunds.approve, scene, await request(scene, amount, gift))
    await due_again(row)
    await sending.sweep()
    return await now(row)


async def now(row):
    async with begin() as db:
        return await db.get_one(Refund, row.id, populate_existing=True)


async def due_again(row):
    async with begin() as db:
        (await db.get_one(Refund, row.id)).next_query_at = clock.now()


async def end(row, status="SUCCESS"):
    """At the bank; nobody tells us."""
    await control("refund", {"out_refund_no": row.out_refund_no, "status": status, "notices": []})


async def told(row, kind="genuine"):
    return await notices.receive(*await notice(row.out_refund_no, kind, refund=True))


async def left(session, scene):
    """What the fund may spend, and what is held of it."""
    return await accounts.available(session, scene.fund.id), await accounts.held(session, scene.fund.id)


async def test_a_refund_is_asked_approved_sent_and_followed_to_its_end(session, scene):
    row = await request(scene)
    assert (row.status, row.out_refund_no) == (S.REQUESTED, row.id.hex)
    assert await left(session, scene) == (10_000, 0)
    row = await decide(refunds.approve, scene, row)
    assert await left(session, scene) == (0, 10_000)
    assert await sending.sweep() == 1
    row = await now(row)
    assert (row.status, row.wechat_refund_id is not None) == (S.PROCESSING, True)
    await end(row)
    assert await told(row) == "succeeded"
    assert await told(row) == "again"
    row, gift = await now(row), await made.gift(scene.gift.id)
    assert (row.status, row.finished_at is not None, row.next_query_at) == (S.SUCCEEDED, True, None)
    assert (gift.status, gift.refunded_fen) == (DonationStatus.REFUNDED, 10_000)
    assert (await made.order(gift.id)).status is OrderStatus.REFUNDED
    assert await left(session, scene) == (0, 0)
    post = await session.get_one(Transfer, posting.transfer_id("post", row.hold_id))
    assert (post.phase, post.pending_id, post.kind) == (Phase.POST, row.hold_id, "refund")


async def test_what_wechat_does_not_tell_is_asked_for(scene):
    row = await sent(scene)
    assert await sending.sweep() == 0
    await end(row)
    await due_again(row)
    assert await sending.sweep() == 1
    assert (await now(row)).status is S.SUCCEEDED


async def test_a_gift_goes_back_in_parts_and_never_more_than_all(session, scene):
    row = await sent(scene, 4_000)
    with pytest.raises(IntegrityError) as refused:
        await request(scene, 1_000)
    assert isinstance(from_database(refused.value), refunds.RefundUnderWay)
    await end(row)
    await told(row)
    gift = await made.gift(scene.gift.id)
    assert (gift.status, gift.refunded_fen) == (DonationStatus.PART_REFUNDED, 4_000)
    assert (await made.order(gift.id)).status is OrderStatus.PART_REFUNDED
    with pytest.raises(refundable.RefundTooMuch) as refused:
        await request(scene, 6_001)
    assert refused.value.extensions == {"left_fen": 6_000}
    row = await sent(scene, 6_000)
    await end(row)
    await told(row)
    assert (await made.gift(scene.gift.id)).status is DonationStatus.REFUNDED
    assert await left(session, scene) == (0, 0)
    with pytest.raises(WrongState):
        await request(scene, 1)


async def test_nobody_approves_what_they_asked_for(session, scene):
    scene.asks = scene.decides
    row = await request(scene)
    with pytest.raises(refunds.OwnRefund):
        await decide(refunds.approve, scene, row)
    assert await left(session, scene) == (10_000, 0)


async def test_only_what_is_paid_and_not_older_than_a_year_goes_back(scene, monkeypatch):
    waiting = await made.begun(scene.donor, scene.fund)
    with pytest.raises(WrongState):
        await request(scene, gift=waiting)
    later = clock.now() + timedelta(days=366)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(refundable.RefundTooLate):
        await request(scene)


async def test_a_receipt_is_reversed_before_the_money_goes_back(session, scene):
    receipt = ReceiptRequest(
        id=new_id(), donation_id=scene.gift.id, status=ReceiptStatus.ISSUED, receipt_number="0012345678",
        requested_at=clock.now(),
    )  # fmt: skip
    session.add(receipt)
    await session.commit()
    with pytest.raises(refundable.ReceiptStillValid):
        await request(scene)
    receipt.status = ReceiptStatus.REVERSED
    await session.commit()
    row = await request(scene)
    receipt.status = ReceiptStatus.ISSUED  # while nobody looked
    await session.commit()
    with pytest.raises(refundable.ReceiptStillValid):
        await decide(refunds.approve, scene, row)


async def test_while_money_goes_back_no_receipt_is_issued(scene):
    async with begin() as db:
        payer = Payer(payer="李秀英")
        paper = await receipts.request(
            db, scene.donor, key=Key(new_id(), b"x"), donation_id=scene.gift.id, payer=payer
        )
    row = await sent(scene, 4_000)
    numbers = Issued(
        receipt_code="64060126", receipt_number="0000012345", check_code="a1b2c3", issued_on=clock.today()
    )
    issue = {"id": paper.id, "version": None, "issued": numbers}
    with pytest.raises(refunds.RefundUnderWay):
        async with begin() as db:
            await receipts.issue(db, scene.asks, **issue)
    await end(row)
    assert await told(row) == "succeeded"
    async with begin() as db:
        assert (await receipts.issue(db, scene.asks, **issue)).status is ReceiptStatus.ISSUED


async def test_money_that_is_spent_does_not_go_back(session, scene):
    row = await request(scene)
    await given.spend(session, scene.fund, 1)
    await session.commit()
    with pytest.raises(posting.FundInsufficient):
        await decide(refunds.approve, scene, row)
    assert (await now(row)).status is S.REQUESTED
    row = await decide(refunds.reject, scene, row)
    assert row.status is S.REJECTED
    assert (await sent(scene, 9_999)).status is S.PROCESSING


async def test_steps_need_their_state_and_the_version_that_was_read(scene):
    row = await request(scene)
    with pytest.raises(StaleVersion):
        async with begin() as db:
            await refunds.approve(db, scene.decides, id=row.id, version=7)
    with pytest.raises(WrongState):
        await decide(refunds.retry, scene, row)
    row = await decide(refunds.approve, scene, row)
    with pytest.raises(WrongState):
        await decide(refunds.reject, scene, row)


async def test_closed_by_wechat_the_fund_has_its_money_again(session, scene):
    row = await sent(scene)
    await end(row, "CLOSED")
    assert await told(row) == "closed"
    assert (await now(row)).status is S.CLOSED
    assert await left(session, scene) == (10_000, 0)
    assert (await made.gift(scene.gift.id)).status is DonationStatus.RECEIVED
    again = await sent(scene)
    assert again.hold_id != row.hold_id
    assert await left(session, scene) == (0, 10_000)


async def test_an_abnormal_one_keeps_its_hold_until_it_is_decided(session, scene):
    row = await sent(scene)
    await end(row, "ABNORMAL")
    assert await told(row) == "abnormal"
    row = await now(row)
    assert await left(session, scene) == (0, 10_000)
    with pytest.raises(refunds.RefundWithWechat):
        await sending.give_up(scene.decides, id=row.id, version=row.version)
    await end(row)  # handled in the merchant console
    row = await decide(refunds.retry, scene, await now(row))
    assert await sending.sweep() == 1
    assert (await now(row)).status is S.SUCCEEDED
    assert await left(session, scene) == (0, 0)


async def test_what_wechat_refuses_waits_for_a_decision_and_may_be_given_up(session, scene):
    row = await decide(refunds.approve, scene, await request(scene))
    await control("fail", {"call": "refund", "status": 403, "code": "USER_ACCOUNT_ABNORMAL"})
    await sending.sweep()
    row = await now(row)
    assert (row.status, row.error_code) == (S.ABNORMAL, "USER_ACCOUNT_ABNORMAL")
    row = await sending.give_up(scene.decides, id=row.id, version=row.version)
    assert row.status is S.CLOSED
    assert await left(session, scene) == (10_000, 0)
    with pytest.raises(WrongState):
        await sending.give_up(scene.decides, id=row.id, version=row.version)


async def test_what_wechat_refused_is_sent_when_somebody_tries_again(scene):
    row = await decide(refunds.approve, scene, await request(scene))
    await control("fail", {"call": "refund", "status": 403, "code": "USER_ACCOUNT_ABNORMAL"})
    await sending.sweep()
    await decide(refunds.retry, scene, await now(row))
    await sending.sweep()
    await end(row)
    assert await told(row) == "succeeded"


async def test_a_merchant_without_balance_tries_again_another_time(scene):
    row = await decide(refunds.approve, scene, await request(scene))
    await control("fail", {"call": "refund", "status": 403, "code": "NOT_ENOUGH"})
    await sending.sweep()
    assert ((await now(row)).status, (await now(row)).error_code) == (S.APPROVED, "NOT_ENOUGH")
    assert await sending.sweep() == 0
    await due_again(row)
    await sending.sweep()
    assert ((await now(row)).status, (await now(row)).error_code) == (S.PROCESSING, None)


async def test_one_that_cannot_be_kept_hinders_no_other(session, scene):
    rows = [await decide(refunds.approve, scene, await request(scene, 1))]
    rows.append(
        await decide(
            refunds.approve, scene, await request(scene, 1, await made.arrived(scene.donor, scene.fund))
        )
    )
    async with begin() as db:
        (await db.get_one(Refund, rows[0].id)).hold_id = None  # nothing that could be posted or set free
        (await db.get_one(Refund, rows[0].id)).next_query_at = clock.now() - timedelta(days=1)
    for row in rows:
        await wechat_pay.refund(
            transaction_id=row.transaction_id, out_refund_no=row.out_refund_no, refund_fen=1, total_fen=10_000,
            reason=sending.SAID[row.reason],
        )  # fmt: skip
        await end(row)
    with pytest.raises(ExceptionGroup):
        await sending.sweep()
    assert [(await now(row)).status for row in rows] == [S.APPROVED, S.SUCCEEDED]


async def test_a_lost_answer_is_followed_by_the_same_number(session, scene):
    row = await decide(refunds.approve, scene, await request(scene))
    await control("fail", {"call": "refund", "trouble": "lost", "times": 3})
    await sending.sweep()
    assert (await now(row)).status is S.APPROVED
    await due_again(row)
    await sending.sweep()
    await end(row)
    assert await told(row) == "succeeded"
    assert (await made.gift(scene.gift.id)).refunded_fen == 10_000
    assert await left(session, scene) == (0, 0)


async def test_a_notice_may_come_before_the_answer(scene):
    row = await decide(refunds.approve, scene, await request(scene))
    await control("fail", {"call": "refund", "trouble": "lost", "times": 3})
    await sending.sweep()
    await end(row)
    assert await told(row) == "succeeded"
    assert await sending.sweep() == 0


async def test_a_refund_that_is_not_ours_or_of_another_amount_moves_nothing(session, scene):
    row = await sent(scene)
    await end(row)
    assert await told(row, "other_amount") == "unexplained"
    async with begin() as db:
        (await db.get_one(Refund, row.id)).out_refund_no = "another"
    assert await told(row) == "unexplained"
    assert (await now(row)).status is S.PROCESSING
    assert await left(session, scene) == (0, 10_000)


async def test_what_goes_back_keeps_no_promise(session, scene):
    pledge = Pledge(
        id=new_id(), fund_id=scene.fund.id, account_id=scene.donor.id, amount_fen=10_000, due_on=clock.today(),
        status=PledgeStatus.OPEN, created_at=clock.now(),
    )  # fmt: skip
    session.add(pledge)
    await session.commit()
    gift = await made.arrived(scene.donor, scene.fund, pledge_id=pledge.id)
    row = await sent(scene, 1, gift)
    await end(row)
    await told(row)
    await session.refresh(pledge)
    assert (pledge.status, pledge.received_fen) == (PledgeStatus.OPEN, 9_999)


async def test_the_list_is_newest_first_and_of_one_state(session, scene):
    one = await request(scene)
    await decide(refunds.reject, scene, one)
    two = await request(scene)
    ask = {"before": None, "limit": 5}
    assert [row.id for row in await refunds.listing(session, scene.decides, status=None, **ask)] == [
        two.id, one.id,
    ]  # fmt: skip
    rejected = await refunds.listing(session, scene.decides, status=S.REJECTED, **ask)
    assert [row.id for row in rejected] == [one.id]
