"""Gifts through WeChat Pay: begun, paid, told of once, often, late or never; shown as the donor chose; thanked for."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound
from app.integrations.wechat_pay import Payment, PaymentState
from app.models.audit import AuditEvent
from app.models.donations import DonationStatus, Pledge, PledgeStatus, ShownAs
from app.models.funds import CampaignMode, CampaignStatus, FundStatus
from app.models.identity import ResidentAccount, Role
from app.models.ledger import LedgerAccount, Transfer, TransferKind
from app.models.messages import InboxMessage, NoticeKind
from app.models.payments import OrderStatus, PaymentNotice, PaymentOrder
from app.models.reconciliation import ReconciliationDifference
from app.services.donations import giving, naming, thanks
from app.services.donations.giving import NewGift
from app.services.funds import campaigns
from app.services.idempotency import IdempotencyKeyReused, Key
from app.services.ledger import accounts, posting
from app.services.payments import notices, orders, queries
from app.services.proofs import leaves
from app.settings import settings
from tests.factories import giving as made
from tests.factories import ledger as given
from tests.factories.appointments import couple
from tests.paying import control

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def scene(session):
    """A fund with a campaign, and 李秀英, who gives."""
    fund = await given.fund(session)
    campaign = await made.campaign(session, fund)
    home = await couple(session)
    await session.commit()
    return SimpleNamespace(
        fund=fund, campaign=campaign, donor=home.wife_actor, wife=home.wife, husband=home.husband_actor
    )


@pytest.fixture
def later(monkeypatch):
    """The clock of everybody, so much later."""
    start = clock.now()

    def at(after: timedelta):
        monkeypatch.setattr(clock, "now", lambda: start + after)

    return at


def the_gift(fund, amount=10_000, **more):
    return NewGift.model_validate({"fund_id": fund.id, "amount_fen": amount} | more)


async def moved(session, fund):
    """What the ledger says came in by WeChat, and what the fund has."""
    account = select(LedgerAccount.id).where(LedgerAccount.code == posting.WECHAT).scalar_subquery()
    rows = await session.scalars(select(Transfer).where(Transfer.debit_account_id == account))
    return sorted((row.kind, row.amount_fen) for row in rows), await accounts.available(session, fund.id)


# Given and paid


async def test_a_gift_is_begun_paid_and_in_the_ledger(session, scene):
    row = await made.begun(scene.donor, scene.fund, 12_345, campaign_id=scene.campaign.id)
    order = await made.order(row.id)
    assert (row.status, row.fund_id, row.transfer_id) == (DonationStatus.PENDING, scene.fund.id, None)
    assert (order.status, order.out_trade_no) == (OrderStatus.PREPAID, row.id.hex)
    number = await made.pay(row)
    assert await made.told(row) == "paid"
    row, order = await made.gift(row.id), await made.order(row.id)
    assert (row.status, row.version) == (DonationStatus.RECEIVED, 2)
    assert (order.status, order.transaction_id) == (OrderStatus.PAID, number)
    transfer = await session.get_one(Transfer, row.transfer_id)
    assert transfer.id == posting.transfer_id("wechat", number)
    assert transfer.commitment == row.commitment == leaves.commitment(row.salt, row.number, None)
    assert transfer.reference == f"donation/{row.id}"
    assert await moved(session, scene.fund) == ([("donation", 12_345)], 12_345)
    actions = await session.scalars(select(AuditEvent.action).where(AuditEvent.entity_id == row.id))
    assert set(actions) == {"give", "receive"}


async def test_the_same_key_again_gives_fresh_parameters_of_the_same_order(scene):
    key, new = Key(new_id(), b"x"), the_gift(scene.fund)
    one = await giving.give(scene.donor, key=key, new=new)
    two = await giving.give(scene.donor, key=key, new=new)
    assert one.parameters["package"] == two.parameters["package"]
    assert one.parameters["paySign"] != two.parameters["paySign"]
    assert (one.donation_id, one.number) == (two.donation_id, two.number)
    with pytest.raises(IdempotencyKeyReused):
        await giving.give(scene.donor, key=Key(key.id, b"y"), new=new)


async def test_what_was_paid_is_not_paid_again_even_before_anybody_told(session, scene):
    row = await made.begun(scene.donor, scene.fund)
    await made.pay(row)
    order = await made.order(row.id)
    async with giving.begin() as db:
        (await db.get_one(type(order), order.id)).prepay_id = None  # WeChat is asked for it again
    with pytest.raises(giving.AlreadyPaid):
        await giving.request_payment(scene.donor, row.id)
    assert (await made.order(row.id)).status is OrderStatus.PAID
    with pytest.raises(giving.AlreadyPaid):
        await giving.request_payment(scene.donor, row.id)
    with pytest.raises(NotFound):
        await giving.request_payment(scene.husband, row.id)


async def test_an_answer_of_wechat_that_is_lost_leaves_an_order_to_go_on_with(scene):
    key, new = Key(new_id(), b"x"), the_gift(scene.fund)
    await control("fail", {"call": "prepay", "trouble": "lost"})
    with pytest.raises(giving.wechat_pay.WechatPayUnavailable):
        await giving.give(scene.donor, key=key, new=new)
    assert (await made.order(key.id)).status is OrderStatus.CREATED
    assert (await giving.give(scene.donor, key=key, new=new)).donation_id == key.id


async def test_a_refusal_of_wechat_is_said_with_its_word(scene):
    await control("fail", {"call": "prepay", "status": 403, "code": "RULE_LIMIT"})
    with pytest.raises(giving.PaymentRefused) as refused:
        await made.begun(scene.donor, scene.fund)
    assert refused.value.extensions == {"code": "RULE_LIMIT"}


async def test_nobody_begins_more_than_so_many(scene, monkeypatch):
    monkeypatch.setattr(giving, "MOST_OPEN", 2)
    for _ in range(2):
        await made.begun(scene.donor, scene.fund)
    with pytest.raises(giving.TooManyOrders):
        await made.begun(scene.donor, scene.fund)


@pytest.mark.parametrize("amount", [0, -1, giving.MOST_FEN + 1, 1.5, 100.0, True, "100", None])
def test_an_amount_is_whole_fen_within_bounds(amount):
    with pytest.raises(ValidationError):
        NewGift.model_validate({"fund_id": str(new_id()), "amount_fen": amount})


@pytest.mark.parametrize("goal", [{}, {"fund_id": str(new_id()), "campaign_id": str(new_id())}])
def test_a_gift_has_one_goal(goal):
    with pytest.raises(ValidationError):
        NewGift.model_validate({"amount_fen": 1, **goal})


# What may take money


async def test_no_money_is_taken_while_it_is_switched_off(scene, monkeypatch):
    monkeypatch.setattr(campaigns, "settings", lambda: SimpleNamespace(in_app_payment=False))
    monkeypatch.setattr(giving, "settings", campaigns.settings)
    for goal in ({"fund_id": scene.fund.id}, {"campaign_id": scene.campaign.id}):
        with pytest.raises(campaigns.PaymentNotLawful):
            await made.begun(scene.donor, scene.fund, **goal)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"in_app_payment": False}, campaigns.PaymentNotLawful),
        ({"mode": CampaignMode.PLATFORM_IMPORT, "in_app_payment": False}, campaigns.PaymentNotLawful),
        ({"status": CampaignStatus.CLOSED}, campaigns.CampaignNotOpen),
        ({"status": CampaignStatus.DRAFT}, NotFound),
        ({"starts_on": clock.today() + timedelta(days=1)}, campaigns.CampaignNotOpen),
        ({"ends_on": clock.today() - timedelta(days=1)}, campaigns.CampaignNotOpen),
    ],
)
async def test_a_campaign_takes_money_only_while_and_where_it_may(session, scene, changes, refusal):
    other = await made.campaign(session, scene.fund, **changes)
    await session.commit()
    with pytest.raises(refusal):
        await made.begun(scene.donor, scene.fund, campaign_id=other.id)


async def test_a_closed_fund_takes_none(session, scene):
    scene.fund.status = FundStatus.CLOSED
    await session.commit()
    with pytest.raises(campaigns.CampaignNotOpen):
        await made.begun(scene.donor, scene.fund)


# How the donor is shown


@pytest.mark.parametrize(
    ("shown_as", "name", "public"),
    [
        ("anonymous", "李秀英", None),
        ("initial", "李秀英", "李某"),
        ("initial", "欧阳修", "欧阳某"),
        ("initial", "Anna Smith", "A."),
        ("name", "爱心小组", "爱心小组"),
        ("name", None, None),
    ],
)
def test_the_public_name(shown_as, name, public):
    assert naming.public_name(ShownAs(shown_as), name) == public


async def test_who_wants_to_be_shown_is_named_as_bound_or_as_they_say(scene):
    row = await made.begun(scene.donor, scene.fund, shown_as="name")
    assert (row.public_name, row.donor_name) == (scene.wife.name, scene.wife.name)
    assert row.commitment == leaves.commitment(row.salt, row.number, scene.wife.name)
    row = await made.begun(scene.donor, scene.fund, shown_as="initial", donor_name="张三")
    assert (row.public_name, row.donor_name) == ("张某", "张三")
    row = await made.begun(scene.donor, scene.fund)
    assert (row.public_name, row.donor_name_sealed) == (None, None)


async def test_an_account_bound_to_nobody_must_say_the_name(session, scene):
    stranger = ResidentAccount(id=new_id(), openid=f"o{new_id().hex}", created_at=clock.now())
    session.add(stranger)
    await session.commit()
    actor = Actor(Role.RESIDENT, id=stranger.id)
    with pytest.raises(Invalid):
        await made.begun(actor, scene.fund, shown_as="name")
    assert (await made.begun(actor, scene.fund)).public_name is None


def test_a_number_is_of_the_day_and_cannot_be_guessed():
    numbers = {naming.new_number() for _ in range(100)}
    assert len(numbers) == 100
    assert all(number.startswith(f"{clock.today():%Y%m%d}-") and len(number) == 19 for number in numbers)


# Told, again, wrongly, late, never


async def test_a_notice_again_changes_nothing(session, scene):
    row = await made.arrived(scene.donor, scene.fund)
    assert await made.told(row) == "again"
    assert await moved(session, scene.fund) == ([("donation", 10_000)], 10_000)
    [kept] = await session.scalars(select(PaymentNotice))
    assert (kept.outcome, kept.event_type) == ("paid", "TRANSACTION.SUCCESS")
    assert "payer" not in str(kept.content)


async def test_another_amount_is_in_suspense_and_on_the_work_list_once(session, scene):
    row = await made.begun(scene.donor, scene.fund)
    number = await made.pay(row)
    assert await made.told(row, "other_amount") == "unexplained"
    assert await made.told(row, "other_amount") == "again"
    assert (await made.gift(row.id)).status is DonationStatus.PENDING
    assert await moved(session, scene.fund) == ([("unmatched", 10_001)], 0)
    [difference] = await session.scalars(select(ReconciliationDifference))
    assert (difference.kind, difference.reference) == ("amount", number)
    assert (difference.ours_fen, difference.theirs_fen) == (10_000, 10_001)


async def test_what_the_ledger_has_otherwise_is_not_half_recorded_and_hinders_no_other(session, scene, later):
    """Told of with another amount first: its money is in suspense already, so a notice that tells of the right one
    fails and comes again."""
    row, other = [await made.begun(scene.donor, scene.fund) for _ in range(2)]
    for one in (row, other):
        await made.pay(one)
    assert await made.told(row, "other_amount") == "unexplained"
    for _ in range(2):
        with pytest.raises(DBAPIError, match="the ledger did not take a gift: mismatch"):
            await made.told(row)
    assert await moved(session, scene.fund) == ([("unmatched", 10_001)], 0)
    later(2 * MINUTE)
    with pytest.raises(ExceptionGroup):
        await queries.sweep()
    assert (await made.gift(row.id)).status is DonationStatus.PENDING
    assert (await made.order(row.id)).status is OrderStatus.PREPAID
    assert (await made.gift(other.id)).status is DonationStatus.RECEIVED


async def test_an_order_that_is_not_ours_is_in_suspense(session, scene):
    number = (await control("stranger", {"amount_fen": 77}))["out_trade_no"]
    assert await notices.receive(*await made.notice(number)) == "unexplained"
    assert await moved(session, scene.fund) == ([("unmatched", 77)], 0)


async def test_a_second_payment_of_one_order_is_in_suspense(session, scene):
    row = await made.arrived(scene.donor, scene.fund)
    twice = Payment(row.id.hex, PaymentState.SUCCESS, "4200another", 10_000, clock.now())
    async with giving.begin() as db:
        assert await notices.settle(db, twice) == "unexplained"
    assert await moved(session, scene.fund) == ([("donation", 10_000), ("unmatched", 10_000)], 10_000)
    assert (await made.order(row.id)).transaction_id != "4200another"


async def test_what_nobody_told_of_is_asked_for_up_a_ladder(scene, later):
    row = await made.begun(scene.donor, scene.fund)
    assert await queries.sweep() == 0
    later(1.1 * MINUTE)
    assert await queries.sweep() == 1
    assert await queries.sweep() == 0
    created = (await made.order(row.id)).created_at
    for minutes, after in ((5.1, 15), (15.1, 60), (60.1, 120)):
        later(minutes * MINUTE)
        assert await queries.sweep() == 1
        assert (await made.order(row.id)).next_query_at == created + after * MINUTE
    await made.pay(row)
    later(120.1 * MINUTE)
    assert await queries.sweep() == 1
    assert (await made.gift(row.id)).status is DonationStatus.RECEIVED
    later(600 * MINUTE)
    assert await queries.sweep() == 0


async def test_an_order_whose_time_is_over_is_closed_and_paid_late_all_the_same(session, scene, later):
    row = await made.begun(scene.donor, scene.fund)
    later(121 * MINUTE)
    assert await queries.sweep() == 1
    assert (await made.order(row.id)).status is OrderStatus.CLOSED
    assert (await made.gift(row.id)).status is DonationStatus.ABANDONED
    with pytest.raises(giving.OrderExpired):
        await giving.request_payment(scene.donor, row.id)
    await made.pay(row, even_if_closed=True)
    assert await made.told(row) == "paid"
    assert (await made.order(row.id)).status is OrderStatus.PAID
    assert (await made.gift(row.id)).status is DonationStatus.RECEIVED
    assert await moved(session, scene.fund) == ([("donation", 10_000)], 10_000)


async def test_an_order_that_wechat_never_heard_of_is_closed_too(scene, later):
    key = Key(new_id(), b"x")
    await control("fail", {"call": "prepay", "status": 403, "code": "RULE_LIMIT"})
    with pytest.raises(giving.PaymentRefused):
        await giving.give(scene.donor, key=key, new=the_gift(scene.fund))
    later(121 * MINUTE)
    await queries.sweep()
    assert (await made.order(key.id)).status is OrderStatus.CLOSED


async def test_an_order_that_was_paid_otherwise_is_not_asked_about_for_ever(session, scene, later):
    row = await made.begun(scene.donor, scene.fund)
    await made.pay(row)
    async with giving.begin() as db:
        (await db.get_one(PaymentOrder, row.id)).amount_fen = 9_999
    for minutes, status in ((2, OrderStatus.PREPAID), (180, OrderStatus.CLOSED)):
        later(minutes * MINUTE)
        assert await queries.sweep() == 1
        assert (await made.order(row.id)).status is status
    assert await moved(session, scene.fund) == ([("unmatched", 10_000)], 0)
    later(360 * MINUTE)
    assert await queries.sweep() == 0


async def test_a_payment_that_comes_between_question_and_closing_wins(session, scene, later, monkeypatch):
    row = await made.begun(scene.donor, scene.fund)
    order = await made.order(row.id)
    close = queries.wechat_pay.close

    async def quicker(number):
        await made.pay(row, even_if_closed=True)
        await close(number)

    monkeypatch.setattr(queries.wechat_pay, "close", quicker)
    later(121 * MINUTE)
    await queries.ask(order)
    assert (await made.order(row.id)).status is OrderStatus.PAID
    assert await moved(session, scene.fund) == ([("donation", 10_000)], 10_000)


async def test_a_payment_told_of_between_closing_with_wechat_and_here_wins(
    session, scene, later, monkeypatch
):
    row = await made.begun(scene.donor, scene.fund)
    order = await made.order(row.id)
    close = queries.wechat_pay.close

    async def slower(number):
        await close(number)
        await made.pay(row, even_if_closed=True)
        assert await made.told(row) == "paid"

    monkeypatch.setattr(queries.wechat_pay, "close", slower)
    later(121 * MINUTE)
    await queries.ask(order)
    assert (await made.order(row.id)).status is OrderStatus.PAID
    assert (await made.gift(row.id)).status is DonationStatus.RECEIVED


async def test_a_wechat_that_does_not_answer_is_asked_later(scene, later):
    row = await made.begun(scene.donor, scene.fund)
    await made.pay(row)
    later(121 * MINUTE)
    await control("fail", {"call": "query", "times": 9})
    assert await queries.sweep() == 1
    assert (await made.order(row.id)).status is OrderStatus.PREPAID
    await control("fail", {"call": "query", "times": 0})
    assert await queries.sweep() == 0
    later(127 * MINUTE)
    assert await queries.sweep() == 1
    assert (await made.order(row.id)).status is OrderStatus.PAID


async def test_a_phone_that_says_it_has_paid_makes_us_ask_but_not_again_and_again(scene, monkeypatch):
    row = await made.begun(scene.donor, scene.fund)
    asked = []
    ask = queries.ask

    async def counted(order):
        asked.append(order)
        await ask(order)

    monkeypatch.setattr(queries, "ask", counted)
    assert (await orders.look(scene.donor, row.id, paid=False)).status is OrderStatus.PREPAID
    assert not asked
    for _ in range(3):
        assert (await orders.look(scene.donor, row.id, paid=True)).status is OrderStatus.PREPAID
    assert len(asked) == 1
    await made.pay(row)
    start = clock.now()
    monkeypatch.setattr(clock, "now", lambda: start + orders.APART)
    assert (await orders.look(scene.donor, row.id, paid=True)).status is OrderStatus.PAID
    assert (await orders.look(scene.donor, row.id, paid=True)).status is OrderStatus.PAID
    assert len(asked) == 2
    with pytest.raises(NotFound):
        await orders.look(scene.husband, row.id, paid=True)


# Afterwards


async def test_a_pledge_is_fulfilled_by_what_is_given_for_it(session, scene):
    pledge = Pledge(
        id=new_id(), fund_id=scene.fund.id, account_id=scene.donor.id, amount_fen=15_000, due_on=clock.today(),
        status=PledgeStatus.OPEN, created_at=clock.now(),
    )  # fmt: skip
    session.add(pledge)
    await session.commit()
    for status in (PledgeStatus.OPEN, PledgeStatus.FULFILLED):
        await made.arrived(scene.donor, scene.fund, pledge_id=pledge.id)
        await session.refresh(pledge)
        assert pledge.status is status
    assert pledge.received_fen == 20_000
    with pytest.raises(Invalid):
        await made.begun(scene.donor, scene.fund, pledge_id=pledge.id)


async def test_a_donor_is_thanked_once(session, scene):
    row = await made.arrived(scene.donor, scene.fund)
    await made.begun(scene.donor, scene.fund)
    assert [await thanks.thank_all(), await thanks.thank_all()] == [1, 0]
    [told] = await session.scalars(
        select(InboxMessage).where(InboxMessage.kind == NoticeKind.DONATION_RECEIVED)
    )
    assert (told.person_id, told.entity_id) == (scene.wife.id, row.id)
    assert told.values["service"] == scene.fund.zh


async def test_who_never_paid_is_forgotten_after_a_month(session, scene, later):
    row = await made.begun(scene.donor, scene.fund, shown_as="name")
    paid = await made.arrived(scene.donor, scene.fund, shown_as="name")
    later(timedelta(hours=3))
    await queries.sweep()
    assert await thanks.forget_abandoned() == 0
    later(timedelta(days=30, hours=1))
    assert await thanks.forget_abandoned() == 1
    row = await made.gift(row.id)
    assert (row.donor_name, row.public_name, row.shown_as) == (None, None, ShownAs.ANONYMOUS)
    assert (await made.gift(paid.id)).donor_name == scene.wife.name
    await made.pay(row, even_if_closed=True)
    assert await made.told(row) == "paid"
    row = await made.gift(row.id)
    transfer = await session.get_one(Transfer, row.transfer_id)
    assert transfer.commitment == leaves.commitment(row.salt, row.number, None)
    assert transfer.kind is TransferKind.DONATION


def test_the_setting_is_on_in_development_only():
    assert settings().in_app_payment
