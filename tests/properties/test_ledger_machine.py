"""L1-L9 (what the books promise): whatever is recorded, asked for, held, posted, voided, reversed, told twice or told
differently, in whatever order, and whichever months are closed meanwhile, the model foretells each answer, and after
each step debits equal credits, balances are what the transfers say, no fund has spent what it never had, and nothing
that was posted has changed. L10 is in test_payment_order_of_events.py, L11 in services/test_reconciliation.py, S1-S5
in test_seal_machine.py.

NUANXIN_SOAK=30 plays thirty times as many histories.
"""

import os
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.db import new_id
from app.errors import Problem
from app.models.ledger import Phase, ReversalReason, Transfer, TransferKind
from app.services.idempotency import Key
from app.services.ledger import accounts, periods, posting, reversals, statements
from app.services.ledger.flows import next_month
from app.services.ledger.posting import REFUSALS, Entry, transfer_id
from tests.factories import ledger as given
from tests.properties.ledger_stage import Stage, stands

SOAK = int(os.environ.get("NUANXIN_SOAK", "1"))
BEGIN = datetime(2026, 11, 20, 9, tzinfo=clock.SHANGHAI)
# Small, so that a fund is often too poor by one.
amounts, gifts, some = st.integers(1, 9), st.integers(1, 25), st.integers(0, 30)
ago = st.sampled_from([0, 0, 0, 10, 25])
funds = st.integers(0, 1)


class LedgerMachine(RuleBasedStateMachine):
    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(BEGIN, tick=False)
        self.traveller = self.clock.start()
        self.stage.do(self.stage.empty())
        self.model = self.stage.model()
        #: All that was ever sent, and whether as done or as asked for.
        self.sent: list[tuple[Entry, bool]] = []
        self.attempts: list[tuple[uuid.UUID, uuid.UUID]] = []
        self.kept: dict[uuid.UUID, Row[Any]] = {}

    def teardown(self) -> None:
        """L7: it cannot be bent, and what was tried changes nothing."""
        for change in (
            "UPDATE transfer SET amount_fen = amount_fen + 1",
            "DELETE FROM transfer",
            "TRUNCATE transfer",
        ):

            async def bend(session: AsyncSession, change: str = change) -> None:
                await session.execute(text(change))

            with pytest.raises(Exception, match="append-only"):
                self.said(bend)
        self.stage.do(self.look())
        self.clock.stop()

    # What is done

    def said(self, work: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
        """What a transaction of its own answers, or the kind of problem."""

        async def attempt() -> Any:
            async with db.begin() as session:
                return await work(session)

        try:
            return self.stage.do(attempt())
        except Problem as problem:
            return type(problem)

    def send(self, entry: Entry, *, record: bool) -> None:
        way = posting.record if record else posting.ask
        self.sent.append((entry, record))
        expected = self.model.post(entry, record=record, today=clock.today())
        assert self.said(lambda session: way(session, entry)) == REFUSALS.get(expected, expected == "posted")

    def day(self, days: int) -> date:
        return clock.today() - timedelta(days=days)

    @initialize()
    def begin(self) -> None:
        for to in (0, 1):
            self.send(given.gift(self.stage.funds[to], 20), record=True)

    @rule(to=funds, amount=gifts, days=ago)
    def give(self, to: int, amount: int, days: int) -> None:
        self.send(given.gift(self.stage.funds[to], amount, on=self.day(days)), record=True)

    @rule(amount=amounts, days=ago)
    def pay_a_fee(self, amount: int, days: int) -> None:
        self.send(given.fee(amount, on=self.day(days)), record=True)

    @rule(of=funds, amount=amounts, days=ago, phase=st.sampled_from([Phase.HOLD, Phase.HOLD, Phase.SINGLE]))
    def want(self, of: int, amount: int, days: int, phase: Phase) -> None:
        self.send(given.payment(self.stage.funds[of], amount, on=self.day(days), phase=phase), record=False)

    @rule(of=funds, short=st.integers(-1, 1))
    def want_nearly_all(self, of: int, short: int) -> None:
        left = self.model.available(self.stage.funds[of].code) - short
        if left > 0:
            self.send(given.payment(self.stage.funds[of], left), record=False)

    @rule(of=funds, amount=amounts)
    def move_to_the_other_fund(self, of: int, amount: int) -> None:
        debit, credit = (accounts.income_code(self.stage.funds[one]) for one in (of, 1 - of))
        entry = Entry(new_id(), debit, credit, amount, TransferKind.LEFTOVER, "campaign/x", clock.today())
        self.send(entry, record=False)

    @precondition(lambda self: self.holds())
    @rule(
        number=some,
        phase=st.sampled_from([Phase.POST, Phase.VOID]),
        less=st.sampled_from([0, 0, 1, -1]),
        once=st.booleans(),
    )
    def resolve(self, number: int, phase: Phase, less: int, once: bool) -> None:
        """A hold: with all, less or more of it; under its own id, or under another."""
        hold = self.holds()[number % len(self.holds())]
        id = transfer_id(phase, hold.id) if once else new_id()
        self.send(given.resolution(hold, phase, max(hold.amount - less, 1), id=id), record=True)

    def holds(self) -> list[Entry]:
        return [one for one in self.model.books.values() if one.phase is Phase.HOLD]

    @precondition(lambda self: self.sent)
    @rule(number=some)
    def again(self, number: int) -> None:
        """The same once more: also what was refused, when there may be money for it by now."""
        entry, record = self.sent[-1 - number % len(self.sent)]
        self.send(entry, record=record)

    @precondition(lambda self: self.sent)
    @rule(number=some, change=st.sampled_from(["amount", "credit", "reference", "effective"]))
    def again_but_otherwise(self, number: int, change: str) -> None:
        entry, record = self.sent[-1 - number % len(self.sent)]
        if entry.pending is None:
            others = {
                "amount": entry.amount + 1, "credit": posting.CASH, "reference": "donation/other",
                "effective": clock.today(),
            }  # fmt: skip
            self.send(replace(entry, **{change: others[change]}), record=record)

    @rule(number=some, which=st.sampled_from(["other", "other", "same", "attempt"]))
    def reverse(self, number: int, which: str) -> None:
        """Another one, or the last one again: as a new attempt, or as the same."""
        if which == "other" or not self.attempts:
            books = list(self.model.books)
            self.attempts.append((books[number % len(books)], new_id()))
        elif which == "same":
            self.attempts.append((self.attempts[-1][0], new_id()))
        id, attempt = self.attempts[-1]
        row = self.model.books[id]
        said = self.said(
            lambda session: reversals.reverse(
                session,
                self.stage.accountant,
                attempt=attempt,
                transfer_id=id,
                reason=ReversalReason.WRONG_AMOUNT,
            )
        )
        if row.phase not in (Phase.SINGLE, Phase.POST) or row.kind in (
            TransferKind.REVERSAL,
            TransferKind.CLOSING,
        ):
            assert said.__name__ == "WrongState"
            return
        back = Entry(
            transfer_id("reverse", id, attempt), row.credit, row.debit, row.amount, TransferKind.REVERSAL,
            row.reference, clock.today(), reverses=id,
        )  # fmt: skip
        expected = self.model.post(back, record=False, today=clock.today())
        assert said == REFUSALS[expected] if expected in REFUSALS else said.id == back.id

    @precondition(lambda self: self.wants())
    @rule(number=some, amount=gifts)
    def again_with_more_money(self, number: int, amount: int) -> None:
        """L4: what was refused stays so, though there is money for it by now."""
        entry = self.wants()[number % len(self.wants())]
        to = next(fund for fund in self.stage.funds if self.model.limits[entry.debit] == fund.code)
        self.send(given.gift(to, amount), record=True)
        self.send(entry, record=False)

    def wants(self) -> list[Entry]:
        return [one for one in self.model.refused.values() if one.reverses is None]

    @rule(days=st.integers(1, 10))
    def pass_time(self, days: int) -> None:
        self.traveller.shift(timedelta(days=days))

    @rule(other=st.sampled_from([0, 0, 0, -1, 32]), over=st.booleans())
    def close_a_month(self, other: int, over: bool) -> None:
        """The next one to be closed, mostly, when it is over or before; with a December the year."""
        begun = min(one.effective for one in self.model.books.values()).replace(day=1)
        month = (max(begun, self.model.open_from) + timedelta(days=other)).replace(day=1)
        if over:
            end = datetime(*next_month(month).timetuple()[:3], tzinfo=clock.SHANGHAI)
            self.traveller.move_to(max(end, clock.now()))
        key = Key(new_id(), b"x")
        expected = self.model.close(month, today=clock.today())
        said = self.said(lambda session: periods.close(session, self.stage.accountant, key=key, month=month))
        assert said.month == month if expected == "closed" else said == periods.OUTCOMES[expected]
        if expected == "closed":
            self.look_back(month)

    def look_back(self, month: date) -> None:
        """What was closed is what the model says stood there then."""
        balance = self.said(lambda session: statements.trial_balance(session, month))
        found = {
            line.code: line.columns.closing_credit_fen - line.columns.closing_debit_fen
            for line in balance.lines
        }
        then = self.model.balances(next_month(month))
        assert {code: fen for code, fen in found.items() if fen} == {
            code: credit - debit for code, (debit, credit, _) in then.items() if credit != debit
        }
        assert balance.totals.debits_fen == balance.totals.credits_fen

    # What holds after each step

    @invariant()
    def the_books_are_right(self) -> None:
        self.stage.do(self.look())

    async def look(self) -> None:
        async with db.begin() as session:
            rows = (await session.execute(select(Transfer.__table__))).all()
            there = await stands(session)
        self.nothing_changed(rows)
        # L2: what the parts of the balances add up to is what the transfers say, and the model.
        assert there == {code: sums for code, sums in self.model.balances().items() if any(sums)}
        assert {row.id for row in rows} == set(self.model.books)
        # L1: debits are credits.
        assert sum(debit for debit, _, _ in there.values()) == sum(credit for _, credit, _ in there.values())
        for fund in self.stage.funds:
            mine = [sums for code, sums in there.items() if self.model.limits.get(code) == fund.code]
            # L3: what is not held yet is never less than nothing; L8: nor is more spent than was received.
            assert sum(credit - debit - held for debit, credit, held in mine) >= 0

    def nothing_changed(self, rows: list[Row[Any]]) -> None:
        """L7, L4: what was once there is there, as it was."""
        now = {row.id: row for row in rows}
        assert {id: now.get(id) for id in self.kept} == self.kept
        self.kept = now


def test_the_books_are_right_in_every_order_of_events(server: str, worker_id: str) -> None:
    name = f"ledger_{worker_id}"
    stage = LedgerMachine.stage = Stage(server, name)
    try:
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                max_examples=10 * SOAK, stateful_step_count=40, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
                # To make a failure smaller takes minutes; it is told at once.
                phases=[hypothesis.Phase.generate],
            ),
        )  # fmt: skip
    finally:
        stage.do(stage.close(server, name))
        stage.runner.close()
