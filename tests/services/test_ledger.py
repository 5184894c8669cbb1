"""Accounts, posting, reversals, closed months, and what an accountant reads of them."""

from datetime import date

import pytest
import time_machine
from sqlalchemy import select, text

from app.access import Actor
from app.db import new_id
from app.errors import NotFound, WrongState
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.models.ledger import (
    AccountClass,
    LedgerAccount,
    LedgerTurnover,
    Phase,
    Reversal,
    ReversalReason,
    Transfer,
)
from app.services.idempotency import Key
from app.services.ledger import accounts, periods, posting, reversals, statements
from app.services.ledger.posting import BANK, FEES, NET_ASSETS, WECHAT
from app.services.ledger.statements import Columns
from tests.clients import REGION, SYSTEM, a_worker
from tests.factories import ledger as given

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture(autouse=True)
def _in_may():
    with time_machine.travel("2026-05-04T02:00:00Z", tick=False):
        yield


async def accountant(session, region_code=REGION) -> Actor:
    return (await a_worker(session, Role.ACCOUNTANT, region_code)).actor()


async def close(session, actor, month):
    return await periods.close(session, actor, key=Key(new_id(), b"x"), month=month)


async def balances(session):
    """What moved on each account that did, by code."""
    rows = await accounts.listing(session, SYSTEM, after=None, limit=100)
    return {row.code: row.balance_fen for row in rows if row.debits_fen or row.credits_fen}


# Accounts


async def test_a_fund_has_six_accounts_under_two_limits(session):
    fund = await given.fund(session, "CARE")
    rows = await session.scalars(select(LedgerAccount).where(LedgerAccount.fund_id == fund.id))
    by_code = {row.code: (row.account_class, row.limit_id) for row in rows}
    goods = accounts.goods_limit(fund.id)
    assert by_code == {
        "410102-CARE": (AccountClass.INCOME, fund.id), "5101-CARE": (AccountClass.COST, fund.id),
        "3102-CARE": (AccountClass.NET_ASSETS, fund.id), "410102K-CARE": (AccountClass.INCOME, goods),
        "5101K-CARE": (AccountClass.COST, goods), "3102K-CARE": (AccountClass.NET_ASSETS, goods),
    }  # fmt: skip
    await accounts.open_for(session, fund)
    again = await session.scalars(select(LedgerAccount.id).where(LedgerAccount.fund_id == fund.id))
    assert len(list(again)) == 6


async def test_an_unrestricted_fund_stands_on_the_unrestricted_accounts(session):
    fund = await given.fund(session, "GEN", restricted=False)
    assert (accounts.income_code(fund), accounts.net_assets_code(fund, goods=True)) == (
        "410101-GEN",
        "3101K-GEN",
    )


async def test_the_chart_is_listed_by_code_in_pages(session):
    await given.fund(session, "CARE")
    first = await accounts.listing(session, SYSTEM, after=None, limit=5)
    rest = await accounts.listing(session, SYSTEM, after=first[-1].code, limit=100)
    codes = [row.code for row in first + rest]
    assert codes == sorted(codes)
    assert {BANK, WECHAT, NET_ASSETS, "5101-CARE"} <= set(codes)


# Posting


async def test_money_comes_is_held_and_paid(session):
    fund = await given.fund(session)
    await given.give(session, fund, 10_000)
    hold = given.payment(fund, 6_000)
    await posting.ask(session, hold)
    assert await accounts.available(session, fund.id) == 4_000
    assert await accounts.held(session, fund.id) == 6_000
    await posting.record(session, given.resolution(hold, Phase.POST, 5_500))
    assert await accounts.available(session, fund.id) == 4_500
    assert await balances(session) == {
        "410102-CARE": 10_000,
        WECHAT: 10_000,
        "5101-CARE": 5_500,
        BANK: -5_500,
    }


async def test_what_is_voided_may_be_spent_again(session):
    fund = await given.fund(session)
    await given.give(session, fund, 10_000)
    hold = given.payment(fund, 10_000)
    await posting.ask(session, hold)
    await posting.record(session, given.resolution(hold, Phase.VOID))
    assert await accounts.available(session, fund.id) == 10_000
    with pytest.raises(posting.HoldResolved):
        await posting.record(session, given.resolution(hold, Phase.POST))


@pytest.mark.parametrize(("phase", "amount"), [(Phase.POST, 10_001), (Phase.VOID, 9_999)])
async def test_no_more_is_paid_than_was_held_and_all_of_it_voided(session, phase, amount):
    fund = await given.fund(session)
    await given.give(session, fund, 50_000)
    hold = given.payment(fund, 10_000)
    await posting.ask(session, hold)
    with pytest.raises(posting.MoreThanHeld):
        await posting.record(session, given.resolution(hold, phase, amount))
    assert await accounts.available(session, fund.id) == 40_000


async def test_a_fund_spends_nothing_of_another_s(session):
    rich, poor = await given.fund(session, "RICH"), await given.fund(session, "POOR")
    await given.give(session, rich, 10_000)
    with pytest.raises(posting.FundInsufficient):
        await posting.ask(session, given.payment(poor, 1))


async def test_goods_are_no_money(session):
    fund = await given.fund(session)
    entry = posting.Entry(
        new_id(), posting.GOODS, accounts.income_code(fund, goods=True), 500, posting.TransferKind.IN_KIND,
        "donation/x", date(2026, 5, 4),
    )  # fmt: skip
    await posting.record(session, entry)
    with pytest.raises(posting.FundInsufficient):
        await posting.ask(session, given.payment(fund, 1))
    assert await accounts.available(session, accounts.goods_limit(fund.id)) == 500


async def test_the_same_id_is_posted_once_and_other_content_refused(session):
    fund = await given.fund(session)
    entry = given.gift(fund, 700)
    assert await posting.record(session, entry)
    assert not await posting.record(session, entry)
    with pytest.raises(posting.TransferMismatch):
        await posting.record(session, given.gift(fund, 701, id=entry.id))
    assert await accounts.available(session, fund.id) == 700


async def test_another_currency_and_an_unknown_account_are_errors(session):
    fund = await given.fund(session)
    good = given.gift(fund, 1)
    for bad in ({"currency": "USD"}, {"credit": "410102-NONE"}):
        entry = posting.Entry(**{name: getattr(good, name) for name in good.__slots__} | bad)
        with pytest.raises(Exception, match="no such account in this currency"):
            async with session.begin_nested():
                await posting.record(session, entry)


# Reversals


async def test_a_reversal_restores_the_balances_and_says_who_and_why(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    await given.give(session, fund, 10_000)
    before = await balances(session)
    wrong = given.fee(60)
    await posting.record(session, wrong)
    key = Key(new_id(), b"x")
    made = await reversals.correct(
        session, actor, key=key, transfer_id=wrong.id, reason=ReversalReason.WRONG_AMOUNT
    )
    assert {code: fen for code, fen in (await balances(session)).items() if fen} == before
    assert (made.kind, made.reverses_id, made.reference) == ("reversal", wrong.id, wrong.reference)
    row = (await session.scalars(select(Reversal))).one()
    assert (row.id, row.transfer_id, row.reason, row.reversed_by) == (
        made.id,
        wrong.id,
        "wrong_amount",
        actor.id,
    )
    event = (await session.scalars(select(AuditEvent).where(AuditEvent.action == "reverse"))).one()
    assert (event.entity_id, event.purpose, event.actor_id) == (wrong.id, "wrong_amount", actor.id)
    again = await reversals.correct(
        session, actor, key=key, transfer_id=wrong.id, reason=ReversalReason.WRONG_AMOUNT
    )
    assert again.id == made.id
    with pytest.raises(posting.AlreadyReversed):
        await reversals.correct(
            session, actor, key=Key(new_id(), b"x"), transfer_id=wrong.id, reason=ReversalReason.WRONG_AMOUNT
        )


async def test_a_gift_that_is_spent_cannot_be_reversed_until_there_is_money_again(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    gift = await given.give(session, fund, 10_000)
    await given.spend(session, fund, 1)
    why = {"transfer_id": gift.id, "reason": ReversalReason.NOT_RECEIVED}
    with pytest.raises(posting.FundInsufficient):
        await reversals.reverse(session, actor, attempt=new_id(), **why)
    await given.give(session, fund, 1)
    await reversals.reverse(session, actor, attempt=new_id(), **why)
    assert await accounts.available(session, fund.id) == 0


async def test_what_another_record_stands_behind_is_not_reversed_by_hand(session):
    actor = await accountant(session)
    gift = await given.give(session, await given.fund(session), 10_000)
    with pytest.raises(reversals.ReversedElsewhere):
        await reversals.correct(
            session, actor, key=Key(new_id(), b"x"), transfer_id=gift.id, reason=ReversalReason.NOT_RECEIVED
        )


async def test_a_hold_and_a_reversal_cannot_be_reversed(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    gift = await given.give(session, fund, 10_000)
    hold = given.payment(fund, 5)
    await posting.ask(session, hold)
    fee = given.fee(3)
    await posting.record(session, fee)
    back = await reversals.reverse(
        session, actor, attempt=new_id(), transfer_id=fee.id, reason=ReversalReason.ENTERED_TWICE
    )
    for id in (hold.id, back.id):
        with pytest.raises(WrongState):
            await reversals.reverse(
                session, actor, attempt=new_id(), transfer_id=id, reason=ReversalReason.RETURNED
            )
    assert gift.id


# Closed months


async def test_nothing_is_dated_into_a_closed_month(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    await given.give(session, fund, 10_000, on=date(2026, 3, 31))
    await close(session, actor, MARCH)
    with pytest.raises(posting.MonthClosed):
        await posting.ask(session, given.payment(fund, 5, on=date(2026, 3, 31)))
    # Nor into a month before it, closed or not.
    with pytest.raises(posting.MonthClosed):
        await posting.ask(session, given.payment(fund, 5, on=date(2026, 1, 31)))
    late = await given.give(session, fund, 77, on=date(2026, 3, 30))
    kept = await session.get_one(Transfer, late.id)
    assert kept.effective_on == date(2026, 5, 4), "money that came is recorded, and counts to today"
    assert not await posting.record(session, late), "told again it is the same"


async def test_what_was_dated_into_a_closed_month_may_be_dated_anew_too_much_stays_refused(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    await given.give(session, fund, 10_000, on=date(2026, 3, 31))
    await close(session, actor, MARCH)
    wrong = given.payment(fund, 5, on=date(2026, 3, 31))
    for _ in range(2):
        with pytest.raises(posting.MonthClosed):
            await posting.ask(session, wrong)
    assert await posting.ask(session, given.payment(fund, 5, id=wrong.id, on=APRIL))
    much = given.payment(fund, 9_996)
    with pytest.raises(posting.FundInsufficient):
        await posting.ask(session, much)
    await given.give(session, fund, 1)
    with pytest.raises(posting.FundInsufficient):
        await posting.ask(session, given.payment(fund, 9_996, id=much.id, on=APRIL))


async def test_what_was_held_in_a_month_is_paid_after_it_was_closed(session):
    actor = await accountant(session)
    fund = await given.fund(session)
    await given.give(session, fund, 10_000, on=date(2026, 3, 31))
    hold = given.payment(fund, 5, on=date(2026, 3, 31))
    await posting.ask(session, hold)
    await close(session, actor, MARCH)
    await posting.record(session, given.resolution(hold, Phase.POST))
    assert await accounts.available(session, fund.id) == 9_995


async def test_months_are_closed_one_after_the_other_and_once(session):
    actor = await accountant(session)
    february, may = date(2026, 2, 1), date(2026, 5, 1)
    await given.give(session, await given.fund(session), 1, on=february)
    with pytest.raises(periods.EarlierMonthOpen):
        await close(session, actor, MARCH)
    with pytest.raises(periods.BookMonthNotOver):
        await close(session, actor, may)
    key = Key(new_id(), b"x")
    made = await periods.close(session, actor, key=key, month=february)
    assert (await periods.close(session, actor, key=key, month=february)).id == made.id
    with pytest.raises(posting.MonthClosed):
        await close(session, actor, february)
    # Also one in which nothing was posted.
    with pytest.raises(periods.EarlierMonthOpen):
        await close(session, actor, APRIL)
    await close(session, actor, MARCH)
    await close(session, actor, APRIL)
    listed = await periods.listing(session, actor, before=None, limit=2)
    assert [row.month for row in listed] == [APRIL, MARCH]


async def test_only_an_accountant_of_the_whole_association_closes_the_books(session):
    with pytest.raises(periods.BooksOfWholeAssociation):
        await close(session, await accountant(session, "640104000000"), MARCH)
    assert await close(session, await accountant(session, "640000000000"), MARCH)


async def test_with_december_income_and_costs_go_into_net_assets(session):
    actor = await accountant(session)
    fund, other = await given.fund(session, "CARE"), await given.fund(session, "GEN", restricted=False)
    await given.give(session, fund, 10_000, on=date(2025, 11, 30))
    await given.spend(session, fund, 3_000, on=date(2025, 12, 31))
    await given.give(session, other, 500, on=date(2025, 12, 1))
    await given.give(session, fund, 88, on=date(2026, 1, 1))
    await posting.record(session, given.fee(60, on=date(2025, 12, 5)))
    hold = given.payment(fund, 1_000, on=date(2025, 12, 31))
    await posting.ask(session, hold)
    for month in (date(2025, 11, 1), date(2025, 12, 1)):
        await close(session, actor, month)
    year = await statements.trial_balance(session, date(2025, 12, 1))
    assert {line.code: _balance(line.columns) for line in year.lines if line.account_class != "asset"} == {
        "410102-CARE": 0, "5101-CARE": 0, "3102-CARE": 7_000, "410101-GEN": 0, "3101-GEN": 500, FEES: 0,
        NET_ASSETS: -60,
    }  # fmt: skip
    january = {
        line.code: line.columns for line in (await statements.trial_balance(session, date(2026, 1, 1))).lines
    }
    assert january["410102-CARE"] == Columns(0, 0, 0, 88, 0, 88)
    assert await accounts.available(session, fund.id) == 6_088, "closing a year spends nothing"
    closings = select(Transfer.effective_on).where(Transfer.kind == "closing").distinct()
    assert list(await session.scalars(closings)) == [date(2025, 12, 31)]


def _balance(columns):
    return columns.closing_credit_fen - columns.closing_debit_fen


# Statements


async def some_months(session, fund):
    await given.give(session, fund, 10_000, on=date(2026, 3, 5))
    await given.give(session, fund, 501, on=date(2026, 4, 1))
    await given.spend(session, fund, 3_000, on=date(2026, 4, 30))
    await posting.record(session, given.fee(60, on=date(2026, 4, 30)))
    await given.give(session, fund, 7, on=date(2026, 5, 1))
    await posting.ask(session, given.payment(fund, 100, on=date(2026, 4, 30)))


EXPECTED = {
    WECHAT: Columns(10_000, 0, 501, 60, 10_441, 0),
    BANK: Columns(0, 0, 0, 3_000, 0, 3_000),
    "410102-CARE": Columns(0, 10_000, 0, 501, 0, 10_501),
    "5101-CARE": Columns(0, 0, 3_000, 0, 3_000, 0),
    FEES: Columns(0, 0, 60, 0, 60, 0),
}


@pytest.mark.parametrize("closed", [(), (MARCH,), (MARCH, APRIL)])
async def test_the_trial_balance_of_a_month_is_the_same_before_and_after_closing(session, closed):
    actor = await accountant(session)
    await some_months(session, await given.fund(session))
    for month in closed:
        await close(session, actor, month)
    balance = await statements.trial_balance(session, APRIL)
    assert {line.code: line.columns for line in balance.lines} == EXPECTED
    assert balance.totals == Columns(10_000, 10_000, 3_561, 3_561, 13_501, 13_501)
    assert balance.closed is (APRIL in closed)
    classes = {one.account_class: one.columns for one in balance.classes}
    assert classes[AccountClass.ASSET] == Columns(10_000, 0, 501, 3_060, 10_441, 3_000)


async def test_a_closed_month_is_read_from_its_sums(session):
    actor = await accountant(session)
    await some_months(session, await given.fund(session))
    await close(session, actor, MARCH)
    await session.execute(text("SET LOCAL session_replication_role = replica"))
    await session.execute(text("DELETE FROM transfer WHERE effective_on < '2026-04-01'"))
    balance = await statements.trial_balance(session, APRIL)
    assert {line.code: line.columns for line in balance.lines} == EXPECTED
    rows = await session.scalars(select(LedgerTurnover.month).distinct())
    assert list(rows) == [MARCH]


async def read(session, **which):
    lines, after = [], None
    while page := await statements.journal(session, SYSTEM, after=after, limit=2, **which):
        lines += page
        after = statements.place_of(page[-1])
    return lines


async def test_the_journal_is_read_in_pages_by_day_without_holds(session):
    await some_months(session, await given.fund(session))
    lines = await read(session, first=MARCH, last=date(2026, 4, 30), account=None)
    assert [(str(line.effective_on), line.amount_fen) for line in lines[:2]] == [
        ("2026-03-05", 10_000),
        ("2026-04-01", 501),
    ]
    assert sorted((line.debit, line.credit, line.amount_fen) for line in lines[2:]) == [
        ("5101-CARE", BANK, 3_000), (FEES, WECHAT, 60),
    ]  # fmt: skip


async def test_the_journal_of_one_account_has_both_its_sides(session):
    await some_months(session, await given.fund(session))
    lines = await read(session, first=MARCH, last=date(2026, 5, 31), account=WECHAT)
    assert [line.amount_fen for line in lines] == [10_000, 501, 60, 7]
    with pytest.raises(NotFound):
        await read(session, first=MARCH, last=APRIL, account="9999")


@pytest.mark.parametrize("closed", [(), (MARCH,), (MARCH, APRIL)])
async def test_the_statement_of_a_fund_adds_up(session, closed):
    actor = await accountant(session)
    fund, other = await given.fund(session), await given.fund(session, "OTHER")
    await some_months(session, fund)
    await given.give(session, other, 40_000, on=date(2026, 4, 2))
    left = posting.Entry(
        new_id(), accounts.income_code(other), accounts.income_code(fund), 30, posting.TransferKind.LEFTOVER,
        "campaign/x", date(2026, 4, 3),
    )  # fmt: skip
    await posting.ask(session, left)
    back = posting.Entry(
        new_id(),
        accounts.income_code(fund),
        WECHAT,
        9,
        posting.TransferKind.REFUND,
        "refund/x",
        date(2026, 4, 4),
    )
    await posting.ask(session, back)
    for month in closed:
        await close(session, actor, month)
    april = await statements.fund_statement(session, actor, fund_id=fund.id, first=APRIL, last=APRIL)
    assert april.money == statements.FundFlows(10_000, 501, 9, 30, 3_000, 7_522, 100, 7_429)
    ever = await statements.fund_statement(session, actor, fund_id=fund.id, first=None, last=date(2026, 5, 1))
    assert ever.money == statements.FundFlows(0, 10_508, 9, 30, 3_000, 7_529, 100, 7_429)
    assert ever.goods == statements.FundFlows(0, 0, 0, 0, 0, 0, 0, 0)


async def test_a_fund_of_another_region_has_no_statement(session):
    fund = await given.fund(session, region_code="640200000000")
    with pytest.raises(NotFound):
        await statements.fund_statement(
            session, await accountant(session), fund_id=fund.id, first=None, last=APRIL
        )
