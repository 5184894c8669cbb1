"""Gifts that do not come through WeChat Pay: recorded, reversed, handed out, promised, shown."""

import uuid
from datetime import timedelta

import pytest
import time_machine
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app import clock
from app.access import Actor
from app.errors import Invalid, NotFound, StaleVersion, Unfit, WrongState, to_problem
from app.models.donations import Channel, DonationStatus, PledgeStatus, ShownAs
from app.models.identity import Role
from app.models.ledger import AccountBalance, LedgerAccount, Transfer
from app.services.donations import correcting, organizations, pledges, reading, receipts, recording
from app.services.donations.correcting import GoodsHandedOut, MoreThanGiven, NewDelivery, ReceiptFirst
from app.services.donations.organizations import credit_code
from app.services.donations.pledges import NewPledge, NewPledgeOfOrganization
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.ledger.posting import FundInsufficient
from tests.clients import REGION, a_worker
from tests.factories import appointments as made
from tests.factories import gifts as given
from tests.factories import ledger

C = Channel


@pytest.fixture
async def actor(session) -> Actor:
    return (await a_worker(session, Role.ACCOUNTANT, REGION)).actor()


@pytest.fixture
async def fund(session):
    return await ledger.fund(session, "GIFT")


async def balance(session, code):
    total = func.sum(AccountBalance.debits - AccountBalance.credits)
    return await session.scalar(select(total).join(LedgerAccount).where(LedgerAccount.code == code))


@pytest.mark.parametrize(
    ("channel", "account", "more"),
    [
        (C.CASH, posting.CASH, {}), (C.BANK, posting.BANK, {"source": "BANK0001"}),
        (C.PLATFORM, posting.PLATFORM, {"source": "PLAT0001"}), (C.IN_KIND, posting.GOODS, {"goods": given.GOODS}),
    ],
)  # fmt: skip
async def test_a_gift_of_each_channel_is_in_the_books_at_once(session, actor, fund, channel, account, more):
    income, before = accounts.income_code(fund, channel is C.IN_KIND), await balance(session, account)
    key, new = (
        given.key(),
        given.new(fund, 123_45, channel=channel, donor_name="欧阳修", shown_as="initial", **more),
    )
    row = await recording.record(session, actor, key=key, new=new)
    assert (await recording.record(session, actor, key=key, new=new)).id == row.id
    assert (row.status, row.public_name, row.donor_name) == (DonationStatus.RECEIVED, "欧阳某", "欧阳修")
    assert await balance(session, account) - before == 123_45 == -await balance(session, income)
    transfer = await session.get_one(Transfer, row.transfer_id)
    assert transfer.commitment == row.commitment
    assert transfer.reference == f"donation/{row.id}"


async def test_a_number_of_the_bank_is_taken_once_until_it_is_reversed(session, actor, fund):
    more = {"channel": C.BANK, "source": "N2026112200001"}
    row = await given.recorded(session, actor, fund, 100_00, **more)
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await given.recorded(session, actor, fund, 90_00, **more)
    assert isinstance(to_problem(refused.value), recording.AlreadyRecorded)
    with pytest.raises(StaleVersion):
        await given.reversed_(session, actor, row, version=7)
    key = given.key()
    for _ in range(2):
        gone = await given.reversed_(session, actor, row, key=key, version=1)
        assert gone.status is DonationStatus.REVERSED
    assert await accounts.available(session, fund.id) == 0
    again = await given.recorded(session, actor, fund, 90_00, **more)
    assert again.transfer_id != row.transfer_id
    assert await accounts.available(session, fund.id) == 90_00


async def test_what_the_fund_has_spent_is_not_reversed(session, actor, fund):
    row = await given.recorded(session, actor, fund, 100_00)
    await ledger.spend(session, fund, 1)
    with pytest.raises(FundInsufficient):
        await given.reversed_(session, actor, row)


async def test_goods_are_handed_out_as_far_as_they_go_and_their_value_to_the_fen(session, actor, fund):
    row = await given.recorded(session, actor, fund, 100_01, channel=C.IN_KIND, goods=given.GOODS)
    values = []
    for quantity in (10, 19, 1):
        new = NewDelivery(quantity=quantity, purpose="三节慰问", delivered_on=clock.today())
        done = await correcting.hand_out(session, actor, key=given.key(), id=row.id, new=new)
        values.append(done.amount_fen)
    assert sum(values) == 100_01
    assert await balance(session, accounts.cost_code(fund, goods=True)) == 100_01
    one = NewDelivery(quantity=1, purpose="三节慰问", delivered_on=clock.today())
    with pytest.raises(MoreThanGiven) as refused:
        await correcting.hand_out(session, actor, key=given.key(), id=row.id, new=one)
    assert refused.value.extensions == {"left": 0}
    with pytest.raises(GoodsHandedOut):
        await given.reversed_(session, actor, row)
    money = await given.recorded(session, actor, fund)
    with pytest.raises(WrongState):
        await correcting.hand_out(session, actor, key=given.key(), id=money.id, new=one)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "wechat"}, {"channel": "in_kind"}, {"goods": given.GOODS}, {"channel": "bank"}, {"amount_fen": 0},
        {"amount_fen": -1}, {"amount_fen": 1.5}, {"amount_fen": "100"}, {"amount_fen": True},
        {"amount_fen": 100_000_000_01}, {"channel": "bank", "source": "张三"},
        {"channel": "in_kind", "goods": given.GOODS, "amount_fen": 29},
        {"donor_name": "王", "organization_donor_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01"}, {"currency": "USD"},
    ],
)  # fmt: skip
async def test_a_form_that_makes_no_sense_is_refused(fund, wrong):
    with pytest.raises((ValidationError, Unfit)):
        given.new(fund, **wrong)


async def test_tomorrow_and_funds_elsewhere_are_refused(session, actor, fund):
    with pytest.raises(Invalid):
        await given.recorded(session, actor, fund, donated_on=clock.today() + timedelta(days=1))
    elsewhere = await ledger.fund(session, "FAR", region_code="110000000000")
    with pytest.raises(Invalid):
        await given.recorded(session, actor, elsewhere)


async def test_a_body_is_known_by_its_credit_code_and_its_pledge_fills_up(session, actor, fund):
    body = await given.body(session, actor)
    assert "马".encode() not in body.contact_sealed
    assert body.contact == "马主任"
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await given.body(session, actor, name="别的单位")
    assert isinstance(to_problem(refused.value), organizations.OrganizationKnown)
    due = clock.today() + timedelta(days=10)
    new = NewPledgeOfOrganization(
        fund_id=fund.id, amount_fen=300_00, due_on=due, organization_donor_id=body.id
    )
    pledge = await pledges.promise(session, actor, key=given.key(), new=new)
    first = await given.recorded(session, actor, fund, 100_00, pledge_id=pledge.id, shown_as="name")
    assert (first.organization_donor_id, first.public_name) == (body.id, given.DAIRY)
    await session.refresh(pledge)
    [line] = await pledges.due(session, actor, by=due, after=None, limit=9)
    assert (line.donor, line.received_fen, line.overdue) == ("宁" + "*" * 8 + "司", 100_00, False)
    second = await given.recorded(session, actor, fund, 200_00, pledge_id=pledge.id)
    await session.refresh(pledge)
    assert (pledge.status, pledge.received_fen) == (PledgeStatus.FULFILLED, 300_00)
    assert not await pledges.due(session, actor, by=due, after=None, limit=9)
    await given.reversed_(session, actor, second)
    await session.refresh(pledge)
    assert (pledge.status, pledge.received_fen) == (PledgeStatus.OPEN, 100_00)
    await pledges.cancel(session, actor, id=pledge.id, version=pledge.version)
    with pytest.raises(Invalid):
        await given.recorded(session, actor, fund, 200_00, pledge_id=pledge.id)


@pytest.mark.parametrize("code", ["91350100M000100Y43", "91350100m000100y43 ", given.CODE])
def test_good_credit_codes(code):
    assert credit_code(code) == code.strip().upper()


@pytest.mark.parametrize(
    "code", ["91350100M000100Y34", "91350100M000100Y4", "91350100I000100Y43", "", "9" * 18]
)
def test_wrong_credit_codes(code):
    with pytest.raises(Unfit):
        credit_code(code)


async def test_a_residents_gift_is_theirs_through_the_pledge_or_the_number(session, actor, fund):
    pair = await made.couple(session)
    due = clock.today() + timedelta(days=5)
    new = NewPledge(fund_id=fund.id, amount_fen=50_00, due_on=due)
    pledge = await pledges.promise(session, pair.wife_actor, key=given.key(), new=new)
    mine = await given.recorded(session, actor, fund, 50_00, pledge_id=pledge.id)
    cash = await given.recorded(session, actor, fund, 20_00, donor_name="李秀英")
    with pytest.raises(NotFound):
        await reading.claim(session, pair.husband_actor, number=cash.number)
    await reading.claim(session, pair.wife_actor, number=cash.number.lower())
    own = await reading.own(session, pair.wife_actor, after=None, limit=9)
    assert {gift.id for gift, _ in own} == {mine.id, cash.id}
    assert not await reading.own(session, pair.husband_actor, after=None, limit=9)
    with pytest.raises(NotFound):
        await reading.read_own(session, pair.husband_actor, id=cash.id)


@pytest.mark.parametrize(("shown_as", "seen"), [("name", "李秀英"), ("initial", "李某"), ("anonymous", None)])
async def test_a_donor_chooses_later_how_to_be_shown(session, actor, fund, shown_as, seen):
    pair = await made.couple(session)
    row = await given.recorded(session, actor, fund, 20_00, donor_name="李秀英", shown_as="initial")
    await reading.claim(session, pair.wife_actor, number=row.number)
    before = row.commitment
    changed = await reading.show_as(
        session, pair.wife_actor, id=row.id, version=row.version, shown_as=ShownAs(shown_as), name=None
    )
    assert changed.donation.public_name == seen
    assert changed.donation.commitment == before


async def test_the_list_is_newest_first_whatever_ids_clients_choose(session, actor, fund):
    ids = [uuid.UUID(int=number, version=4) for number in (3, 1, 2)]
    with time_machine.travel(clock.now(), tick=False) as traveller:
        for id in ids:
            await recording.record(session, actor, key=Key(id, b"x"), new=given.new(fund))
            traveller.shift(1)
    found, after = list[uuid.UUID](), None
    while rows := await reading.listed(
        session, actor, wanted=reading.Wanted(fund_id=fund.id), after=after, limit=2
    ):
        found += [row.id for row, _ in rows]
        after = found[-1]
    assert found == ids[::-1]


async def test_lists_are_masked_and_a_receipt_stands_before_the_reversal(session, actor, fund):
    row = await given.recorded(session, actor, fund, donor_name="李秀英")
    wanted = reading.Wanted(fund_id=fund.id)
    [(_, name)] = await reading.listed(session, actor, wanted=wanted, after=None, limit=9)
    assert name == "李*英"
    payer = receipts.Payer(payer="李秀英")
    await receipts.request(session, actor, key=given.key(), donation_id=row.id, payer=payer)
    with pytest.raises(ReceiptFirst):
        await given.reversed_(session, actor, row)
    full = await reading.read(session, actor, id=row.id, purpose="audit")
    assert full.donor_name == "李秀英"
    assert full.receipts[0].payer == "李秀英"
