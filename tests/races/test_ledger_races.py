"""The ledger under many at once, with real commits: no fund spends what it has not, nothing is posted twice, a month
is closed between two postings and never within one.

NUANXIN_SOAK=10 plays ten times as many rounds.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.funds import Fund
from app.models.identity import Role
from app.models.ledger import LedgerTurnover, Phase, RefusedTransfer, ReversalReason, Transfer, TransferKind
from app.models.reconciliation import DifferenceKind, DifferenceStatus, ReconciliationDifference
from app.services.idempotency import Key
from app.services.ledger import accounts, periods, posting, reversals
from app.services.ledger.posting import SUSPENSE, WECHAT, Entry
from app.services.reconciliation import differences
from tests.clients import a_worker
from tests.factories import ledger as given
from tests.races.test_booking_races import outcomes

pytestmark = pytest.mark.usefixtures("committed")
SOAK = int(os.environ.get("NUANXIN_SOAK", "1"))
CLIENTS = 12
POOR = "fund-insufficient"


async def send(entry: Entry, *, record: bool = False) -> bool:
    async with db.begin() as session:
        return await (posting.record if record else posting.ask)(session, entry)


async def a_fund(amount: int = 0, code: str = "CARE") -> Fund:
    async with db.begin() as session:
        fund = await given.fund(session, code)
        if amount:
            await given.give(session, fund, amount)
    return fund


async def left(fund: Fund) -> int:
    async with db.begin() as session:
        return await accounts.available(session, fund.id)


async def an_accountant() -> Actor:
    async with db.begin() as session:
        return (await a_worker(session, Role.ACCOUNTANT)).actor()


#: Per account: what its balances say, and what its transfers do.
WRONG = text("""
    SELECT a.code FROM ledger_account a
     WHERE (SELECT (sum(debits), sum(credits), sum(pending)) FROM account_balance b WHERE b.account_id = a.id)
        IS DISTINCT FROM (
           SELECT (coalesce(sum(amount_fen) FILTER (WHERE debit_account_id = a.id AND phase IN ('single', 'post')), 0),
                   coalesce(sum(amount_fen) FILTER (WHERE credit_account_id = a.id AND phase IN ('single', 'post')), 0),
                   coalesce(sum(amount_fen) FILTER (WHERE debit_account_id = a.id AND phase = 'hold'
                            AND NOT EXISTS (SELECT FROM transfer r WHERE r.pending_id = t.id)), 0))
             FROM transfer t)""")


async def check_books(*funds: Fund) -> None:
    """L1-L3, L8."""
    async with db.begin() as session:
        assert list(await session.scalars(WRONG)) == []
        sums = await session.execute(text("SELECT sum(debits), sum(credits) FROM account_balance"))
        debits, credits = sums.one()
        assert debits == credits
        both = select(Transfer.id).join(RefusedTransfer, RefusedTransfer.id == Transfer.id)
        assert list(await session.scalars(both)) == [], "posted or refused, never both"
    for fund in funds:
        assert await left(fund) >= 0


async def beside(first: Callable[[AsyncSession], Awaitable[Any]], second: Awaitable[Any]) -> str:
    """What the second hears that runs while the first has done its work and not committed it."""
    async with db.begin() as session:
        await first(session)
        other = asyncio.ensure_future(outcomes(second))
        await asyncio.wait([other], timeout=0.2)
        assert not other.done(), "it waits"
    return (await other)[0]


@pytest.mark.parametrize(("have", "winners"), [(10, 1), (19, 1), (CLIENTS * 10 - 1, CLIENTS - 1)])
async def test_of_many_who_would_overdraw_a_fund_only_those_win_for_whom_there_is_money(
    have: int, winners: int
) -> None:
    for number in range(2 * SOAK):
        fund = await a_fund(have, f"F{number}")
        said = await outcomes(*(send(given.payment(fund, 10)) for _ in range(CLIENTS)))
        assert Counter(said) == Counter({"done": winners, POOR: CLIENTS - winners})
        assert await left(fund) == have - 10 * winners
        await check_books(fund)


async def test_more_refusals_at_once_than_there_are_connections() -> None:
    fund = await a_fund(9)
    entries = [given.payment(fund, 10) for _ in range(40)]
    assert set(await outcomes(*map(send, entries))) == {POOR}
    async with db.begin() as session:
        kept = await session.scalar(select(func.count()).select_from(RefusedTransfer))
    assert kept == len(entries), "each of them for good"


async def test_of_many_who_post_the_same_one_does() -> None:
    fund = await a_fund(1_000)
    for make in (given.gift, given.payment):
        entry, before = make(fund, 7), await left(fund)
        record = make is given.gift
        answers = await asyncio.gather(*(send(entry, record=record) for _ in range(CLIENTS)))
        assert Counter(answers) == {True: 1, False: CLIENTS - 1}
        assert abs(await left(fund) - before) == 7
    await check_books(fund)


async def test_of_many_who_post_other_content_under_one_id_one_does() -> None:
    fund, id = await a_fund(1_000), new_id()
    said = await outcomes(*(send(given.gift(fund, 1 + n, id=id), record=True) for n in range(CLIENTS)))
    assert Counter(said) == {"done": 1, "transfer-mismatch": CLIENTS - 1}
    await check_books(fund)


async def test_the_same_refused_and_asked_for_again_while_money_comes_has_one_answer() -> None:
    """L4: all hear the same, whoever came first."""
    for number in range(4 * SOAK):
        fund = await a_fund(4, f"F{number}")
        entry = given.payment(fund, 10)
        gifts = [send(given.gift(fund, 3), record=True) for _ in range(3)]
        said = await outcomes(*(send(entry) for _ in range(4)), *gifts, *(send(entry) for _ in range(4)))
        heard = set(said[:4] + said[-4:])
        assert heard in ({"done"}, {POOR})
        assert (await outcomes(send(entry)))[0] in heard
        await check_books(fund)


async def test_of_two_who_resolve_a_hold_one_does() -> None:
    for _ in range(2 * SOAK):
        fund = await a_fund(1_000, f"F{random.randrange(10**6)}")
        hold = given.payment(fund, 100)
        await send(hold)
        ways = [
            given.resolution(hold, phase, id=new_id()) for phase in (Phase.POST, Phase.VOID) * (CLIENTS // 2)
        ]
        said = await outcomes(*(send(entry, record=True) for entry in ways))
        assert Counter(said) == {"done": 1, "hold-resolved": CLIENTS - 1}
        posted = ways[said.index("done")].phase is Phase.POST
        assert await left(fund) == (900 if posted else 1_000)
        await check_books(fund)


async def test_of_many_who_reverse_a_transfer_one_does() -> None:
    actor, fee = await an_accountant(), given.fee(60)
    await send(fee, record=True)

    async def reverse() -> None:
        async with db.begin() as session:
            await reversals.reverse(
                session, actor, attempt=new_id(), transfer_id=fee.id, reason=ReversalReason.ENTERED_TWICE
            )

    said = await outcomes(*(reverse() for _ in range(CLIENTS)))
    assert Counter(said) == {"done": 1, "already-reversed": CLIENTS - 1}
    await check_books()


@pytest.mark.parametrize("first", ["reverse", "resolve"])
async def test_money_in_suspense_is_explained_or_never_came(first: str) -> None:
    """One of them waits for the other, and then is too late."""
    actor, fund, id = await an_accountant(), await a_fund(), new_id()
    put = Entry(id, WECHAT, SUSPENSE, 500, TransferKind.UNMATCHED, f"bill_line/{id}", clock.today())
    await send(put, record=True)
    row = ReconciliationDifference(
        id=id, bill_date=clock.today(), kind=DifferenceKind.UNEXPLAINED, status=DifferenceStatus.INVESTIGATING,
        reference="x", ours_fen=0, theirs_fen=500, transfer_id=id, created_at=clock.now(),
    )  # fmt: skip
    async with db.begin() as session:
        session.add(row)

    async def resolve(session: AsyncSession) -> None:
        body = differences.Resolve(version=1, action=differences.Action.FUND, fund_id=fund.id, note="x")
        await differences.resolve(session, actor, id=id, body=body)

    async def reverse(session: AsyncSession) -> None:
        why, key = ReversalReason.NOT_RECEIVED, Key(new_id(), b"x")
        await reversals.correct(session, actor, key=key, transfer_id=id, reason=why)

    async def alone(work: Callable[[AsyncSession], Awaitable[None]]) -> None:
        async with db.begin() as session:
            await work(session)

    if first == "reverse":
        assert await beside(reverse, alone(resolve)) == "nothing-in-suspense"
    else:
        assert await beside(resolve, alone(reverse)) == "reversed-elsewhere"
    assert await left(fund) == (0 if first == "reverse" else 500)
    await check_books(fund)


async def test_a_gift_that_is_being_recorded_is_no_money_yet() -> None:
    fund = await a_fund(4)
    entry = given.payment(fund, 10)
    async with db.begin() as session:
        await given.give(session, fund, 6)
        assert await outcomes(send(entry)) == [POOR]
    assert await outcomes(send(entry), send(given.payment(fund, 10))) == [POOR, "done"]
    await check_books(fund)


async def test_no_gift_waits_while_a_payment_is_decided_and_changes_nothing_of_it() -> None:
    fund = await a_fund(9)
    entry = given.payment(fund, 10)
    async with db.begin() as session:
        with pytest.raises(posting.FundInsufficient):
            await posting.ask(session, entry)
        gifts = [send(given.gift(fund, 1), record=True) for _ in range(CLIENTS)]
        assert set(await asyncio.wait_for(asyncio.gather(*gifts), 2)) == {True}
    assert await outcomes(send(entry), send(given.payment(fund, 10))) == [POOR, "done"]
    await check_books(fund)


async def test_of_two_payments_the_second_waits_until_the_first_is_decided() -> None:
    fund = await a_fund(10)

    async def paid(session: AsyncSession) -> None:
        await posting.ask(session, given.payment(fund, 10))

    assert await beside(paid, send(given.payment(fund, 1))) == POOR
    await check_books(fund)


async def test_a_month_is_closed_after_what_was_being_posted_into_it() -> None:
    fund, actor = await a_fund(), await an_accountant()
    month, last = month_before()

    async def gift(session: AsyncSession) -> None:
        await given.give(session, fund, 70, on=last)

    assert await beside(gift, close(actor, month)) == "done"
    await check_sums(month, 70)


async def test_what_is_posted_while_its_month_is_closed_waits_and_is_not_in_it() -> None:
    fund, actor = await a_fund(100), await an_accountant()
    month, last = month_before()
    late = given.gift(fund, 30, on=last)

    async def closed(session: AsyncSession) -> None:
        await periods.close(session, actor, key=Key(new_id(), b"x"), month=month)

    both = outcomes(send(given.payment(fund, 1, on=last)), send(late, record=True))

    async def posted() -> list[str]:
        return await both

    said: list[str] = []

    async def second() -> None:
        said.extend(await posted())

    assert await beside(closed, second()) == "done"
    assert said == ["month-closed", "done"]
    async with db.begin() as session:
        assert (await session.get_one(Transfer, late.id)).effective_on == clock.today()
    await check_sums(month, 0)


async def test_months_are_closed_in_the_middle_of_it_all() -> None:
    """Whatever was posted into the month is in its sums, to the fen."""
    fund, actor = await a_fund(), await an_accountant()
    month, last = month_before()

    async def gifts() -> None:
        for _ in range(6 * SOAK):
            await send(given.gift(fund, 1, on=last), record=True)

    async def closing() -> None:
        await asyncio.sleep(0.02)
        await close(actor, month)

    assert set(await outcomes(*(gifts() for _ in range(CLIENTS)), closing())) == {"done"}
    async with db.begin() as session:
        within = select(func.count()).select_from(Transfer).where(Transfer.effective_on == last)
        await check_sums(month, await session.scalar(within) or 0)
    assert await left(fund) == CLIENTS * 6 * SOAK
    await check_books(fund)


def month_before() -> tuple[date, date]:
    """Its first day and its last."""
    last = clock.today().replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


async def close(actor: Actor, month: date) -> None:
    async with db.begin() as session:
        await periods.close(session, actor, key=Key(new_id(), b"x"), month=month)


async def check_sums(month: date, amount: int) -> None:
    async with db.begin() as session:
        row = select(func.coalesce(func.sum(LedgerTurnover.credits), 0)).where(LedgerTurnover.month == month)
        assert await session.scalar(row) == amount


async def test_everything_at_once_does_not_deadlock() -> None:
    """Six in ten bring money, the others want it: from two funds, each also to the other."""
    funds = [await a_fund(20, code) for code in ("A1", "B2")]

    async def client(seed: int) -> Counter[str]:
        chance, said, holds = random.Random(seed), Counter[str](), list[Entry]()
        for _ in range(12 * SOAK):
            entry, record = an_entry(chance, funds, holds)
            [answer] = await outcomes(send(entry, record=record))
            said[answer] += 1
            if entry.phase is Phase.HOLD and answer == "done":
                holds.append(entry)
        return said

    said = sum(await asyncio.gather(*(client(seed) for seed in range(CLIENTS))), Counter[str]())
    assert set(said) <= {"done", POOR}, said
    assert said["done"] > said[POOR] > 0
    await check_books(*funds)


def an_entry(chance: random.Random, funds: list[Fund], holds: list[Entry]) -> tuple[Entry, bool]:
    one, other = chance.sample(funds, 2)
    today = clock.today()
    if chance.random() < 0.6:
        # Two accounts of one part each, in both directions.
        cash, fees = chance.sample([posting.CASH, posting.FEES], 2)
        fee = Entry(new_id(), cash, fees, 1, TransferKind.FEE, "bill_line/x", today)
        return (fee if chance.random() < 0.3 else given.gift(one, chance.randint(1, 40))), True
    if holds and chance.random() < 0.4:
        return given.resolution(holds.pop(), chance.choice([Phase.POST, Phase.VOID]), id=new_id()), True
    if chance.random() < 0.3:
        codes = accounts.income_code(one), accounts.income_code(other)
        return Entry(
            new_id(), *codes, chance.randint(1, 90), TransferKind.LEFTOVER, "campaign/x", today
        ), False
    return given.payment(one, chance.randint(1, 120), phase=chance.choice([Phase.HOLD, Phase.SINGLE])), False
