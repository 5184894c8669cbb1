"""Money that is nobody's gift goes back: out of suspense, or out of the gift that it was made by mistake."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from app import clock
from app.db import begin, new_id
from app.errors import WrongState
from app.models.donations import Donation, DonationStatus
from app.models.identity import Role
from app.models.ledger import ReversalReason, Transfer
from app.models.payments import Refund, RefundReason, RefundStatus
from app.models.reconciliation import DifferenceStatus, ReconciliationDifference
from app.services.donations import correcting
from app.services.idempotency import Key
from app.services.ledger import accounts, posting, reversals
from app.services.ledger.periods import BooksOfWholeAssociation
from app.services.payments import notices, refundable, refunds, sending
from app.services.payments.refunds import NewRefund, RefundOfSuspense, RefundUnderWay
from app.services.reconciliation import differences, matching
from app.services.reconciliation.differences import Action, Resolve
from app.services.reconciliation.suspense import NotAPayment, NothingInSuspense
from tests.clients import SYSTEM, a_worker
from tests.factories import bills
from tests.factories import ledger as books
from tests.paying import control, notice

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")
S = DifferenceStatus
DONOR_ASKED, YESTERDAY = RefundReason.DONOR_ASKED, clock.now() - timedelta(days=1)


@pytest.fixture
async def scene(session):
    fund = await books.fund(session)
    asks = (await a_worker(session, Role.ACCOUNTANT)).actor()
    decides = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    await session.commit()
    return SimpleNamespace(session=session, fund=fund, asks=asks, decides=decides)


async def strange(scene, fen=500):
    """A stranger has paid at a counter; somebody looks into it."""
    paid = await control("stranger", {"amount_fen": fen})
    assert await notices.receive(*await notice(paid["out_trade_no"])) == "unexplained"
    row = await looked_into(scene, await difference())
    assert row.reference == paid["transaction_id"]
    return row


async def difference(*which):
    """The only one, as it stands now."""
    async with begin() as db:
        query = select(ReconciliationDifference).where(*which)
        return (await db.scalars(query.execution_options(populate_existing=True))).one()


async def looked_into(scene, row):
    async with begin() as db:
        return await differences.investigate(db, scene.asks, id=row.id, version=row.version)


async def request(scene, row, actor=None):
    async with begin() as db:
        new = RefundOfSuspense(version=row.version, reason=RefundReason.NOT_ACCEPTABLE)
        return await refunds.request_of_suspense(
            db, actor or scene.asks, key=Key(new_id(), b"x"), difference_id=row.id, new=new
        )


async def decide(step, actor, row):
    async with begin() as db:
        return await step(db, actor, id=row.id, version=row.version)


async def approved(scene, row):
    return await decide(refunds.approve, scene.decides, await request(scene, row))


async def ended(row, status="SUCCESS"):
    """Sent to WeChat, and its end told."""
    assert await sending.sweep() == 1
    await control("refund", {"out_refund_no": row.out_refund_no, "status": status, "notices": []})
    return await notices.receive(*await notice(row.out_refund_no, refund=True))


async def stands():
    """In suspense, held of it, and at WeChat."""
    async with begin() as db:
        rows = {row.code: row for row in await accounts.listing(db, SYSTEM, after=None, limit=100)}
    return rows["220901"].balance_fen, rows["220901"].held_fen, rows["100901"].balance_fen


async def test_a_stranger_s_money_goes_back_when_two_agree(scene):
    row = await strange(scene)
    refund = await request(scene, row)
    assert (refund.transaction_id, refund.amount_fen, refund.donation_id) == (row.reference, 500, None)
    assert (await difference()).status is S.REFUNDING
    refund = await decide(refunds.approve, scene.decides, refund)
    assert await stands() == (500, 500, 500)
    assert await ended(refund) == "succeeded"
    row = await difference()
    assert (row.status, row.resolved_at is not None) == (S.RESOLVED, True)
    assert await stands() == (0, 0, 0)


async def test_nobody_approves_their_own_and_only_the_association_s_people_decide(scene):
    row = await strange(scene)
    elsewhere = (await a_worker(scene.session, Role.COUNTY_ADMINISTRATOR, "640104000000")).actor()
    await scene.session.commit()
    with pytest.raises(BooksOfWholeAssociation):
        await request(scene, row, elsewhere)
    refund = await request(scene, row)
    with pytest.raises(refunds.OwnRefund):
        await decide(refunds.approve, scene.asks, refund)
    for step in (refunds.approve, refunds.reject):
        with pytest.raises(BooksOfWholeAssociation):
            await decide(step, elsewhere, refund)


async def test_what_does_not_go_back_is_looked_into_further(scene):
    row = await strange(scene)
    refund = await decide(refunds.reject, scene.decides, await request(scene, row))
    assert refund.status is RefundStatus.REJECTED
    assert ((await difference()).status, await stands()) == (S.INVESTIGATING, (500, 0, 500))
    refund = await approved(scene, await difference())
    assert await ended(refund, "CLOSED") == "closed"
    assert ((await difference()).status, await stands()) == (S.INVESTIGATING, (500, 0, 500))
    refund = await approved(scene, await difference())
    await control("fail", {"call": "refund", "status": 403, "code": "USER_ACCOUNT_ABNORMAL"})
    assert await sending.sweep() == 1
    async with begin() as db:
        refund = await db.get_one(Refund, refund.id, populate_existing=True)
    refund = await sending.give_up(scene.decides, id=refund.id, version=refund.version)
    assert refund.status is RefundStatus.CLOSED
    await to_fund(scene, await difference())
    assert await stands() == (0, 0, 500)


async def to_fund(scene, row):
    body = Resolve(version=row.version, action=Action.FUND, note="已核对", fund_id=scene.fund.id)
    async with begin() as db:
        await differences.resolve(db, scene.asks, id=row.id, body=body)
        return await db.scalar(select(Donation).where(Donation.status == DonationStatus.RECEIVED))


async def test_what_is_going_back_becomes_nothing_else(scene):
    row = await strange(scene)
    await request(scene, row)
    row = await difference()
    for attempt in (to_fund(scene, row), request(scene, row)):
        with pytest.raises(WrongState):
            await attempt
    with pytest.raises(reversals.ReversedElsewhere):
        await books.reversed_by_hand(scene.asks, row.transfer_id)


async def test_what_was_reversed_by_hand_is_in_suspense_no_more(scene):
    row = await strange(scene)
    await books.reversed_by_hand(scene.asks, row.transfer_id)
    with pytest.raises(NothingInSuspense):
        await request(scene, row)


async def test_wechat_sends_nothing_back_after_a_year(scene, monkeypatch):
    row = await strange(scene)
    later = clock.now() + timedelta(days=366)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(refundable.RefundTooLate):
        await request(scene, row)


async def moved(scene, fen):
    """Neither paid nor refunded, as the bill has it."""
    wechat = bills.Wechat()
    wechat.moved("其他", fen, YESTERDAY)
    await wechat.deliver(clock.today() - timedelta(days=1))
    await matching.match_due()
    return await looked_into(scene, await difference())


@pytest.mark.parametrize("fen", [500, -500])
async def test_what_was_no_payment_wechat_cannot_send_back(scene, fen):
    row = await moved(scene, fen)
    with pytest.raises(NotAPayment):
        await request(scene, row)
    assert (await difference()).status is S.INVESTIGATING


# The gift that it became


async def request_of(scene, gift, fen):
    async with begin() as db:
        new = NewRefund(amount_fen=fen, reason=DONOR_ASKED)
        return await refunds.request(db, scene.asks, key=Key(new_id(), b"x"), donation_id=gift.id, new=new)


async def reverse(scene, gift):
    async with begin() as db:
        return await correcting.reverse(
            db, scene.asks, key=Key(new_id(), b"x"), id=gift.id, version=gift.version,
            reason=ReversalReason.WRONG_ACCOUNT,
        )  # fmt: skip


async def now(gift):
    async with begin() as db:
        return await db.get_one(Donation, gift.id, populate_existing=True)


async def test_a_gift_out_of_suspense_goes_back_in_parts(scene):
    gift = await to_fund(scene, await strange(scene))
    for part, status in ((200, DonationStatus.PART_REFUNDED), (300, DonationStatus.REFUNDED)):
        refund = await request_of(scene, gift, part)
        assert await ended(await decide(refunds.approve, scene.decides, refund)) == "succeeded"
        gift = await now(gift)
        assert gift.status is status
    assert await stands() == (0, 0, 0)
    async with begin() as db:
        assert await accounts.available(db, scene.fund.id) == 0


async def test_a_gift_out_of_suspense_is_reversed_into_it_and_may_be_another_s(scene):
    first = await to_fund(scene, await strange(scene))
    assert (await reverse(scene, first)).status is DonationStatus.REVERSED
    row = await difference()
    assert (row.status, row.resolved_at, await stands()) == (S.INVESTIGATING, None, (500, 0, 500))
    second = await to_fund(scene, row)
    assert (second.id != first.id, second.source) == (True, first.source)
    assert (await reverse(scene, second)).status is DonationStatus.REVERSED
    assert await ended(await approved(scene, await difference())) == "succeeded"
    assert await stands() == (0, 0, 0)


async def test_what_is_going_back_is_not_reversed_as_well(scene):
    gift = await to_fund(scene, await strange(scene))
    refund = await request_of(scene, gift, 1)
    with pytest.raises(RefundUnderWay):
        await reverse(scene, gift)
    await decide(refunds.reject, scene.decides, refund)
    assert (await reverse(scene, gift)).status is DonationStatus.REVERSED
    with pytest.raises(WrongState):
        await request_of(scene, gift, 1)


async def test_a_gift_that_came_by_no_payment_is_reversed_and_not_refunded(scene):
    gift = await to_fund(scene, await moved(scene, 700))
    with pytest.raises(NotAPayment):
        await request_of(scene, gift, 1)
    await reverse(scene, gift)
    assert (await stands())[0] == 700


async def test_what_was_spent_is_neither_reversed_nor_refunded(scene):
    gift = await to_fund(scene, await strange(scene))
    await books.spend(scene.session, scene.fund, 1)
    await scene.session.commit()
    with pytest.raises(posting.FundInsufficient):
        await reverse(scene, gift)
    refund = await request_of(scene, gift, 500)
    with pytest.raises(posting.FundInsufficient):
        await decide(refunds.approve, scene.decides, refund)
    assert (await difference()).status is S.RESOLVED


async def test_own_money_that_was_not_ours_is_looked_into_again(scene):
    row = await moved(scene, 700)
    body = Resolve(version=row.version, action=Action.OWN_MONEY, note="充值")
    async with begin() as db:
        await differences.resolve(db, scene.asks, id=row.id, body=body)
        matched = await db.scalar(select(Transfer.id).where(Transfer.group_id == row.id))
    await books.reversed_by_hand(scene.asks, matched)
    assert ((await difference()).status, (await stands())[0]) == (S.INVESTIGATING, 700)
    await to_fund(scene, await difference())
    assert (await stands())[0] == 0
