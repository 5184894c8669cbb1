"""Spending under many at once, with real commits: one decision, one payment, no fen more than fund and budget have."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.disbursements import BankFileLine, Disbursement, DisbursementEvent, DisbursementStatus
from app.models.funds import BudgetLine
from app.services import disbursements
from app.services.disbursements import Asked, NewBankFile, drafts
from app.services.idempotency import Key
from app.services.ledger import accounts
from tests.factories import disbursements as made
from tests.factories import ledger as given
from tests.factories.disbursements import House, key
from tests.races.test_booking_races import outcomes
from tests.races.test_ledger_races import check_books

pytestmark = pytest.mark.usefixtures("committed")
S = DisbursementStatus
ROUNDS = 3


async def do(call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    async with db.begin() as session:
        return await call(session, *args, **kwargs)


async def approve(
    house: House, row: Disbursement, attempt: Key | None = None, who: Actor | None = None
) -> Any:
    return await do(
        disbursements.approve, who or house.county, key=attempt or key(), id=row.id, version=row.version
    )


async def stand(house: House) -> tuple[int, int]:
    """Of the fund what may still be spent, of the line what is committed."""
    async with db.begin() as session:
        committed = await session.scalar(
            select(BudgetLine.committed_fen).where(BudgetLine.id == house.line.id)
        )
        return await accounts.available(session, house.fund.id), committed or 0


async def now(row: Disbursement) -> Disbursement:
    async with db.begin() as session:
        return await session.get_one(Disbursement, row.id)


async def test_one_approves_once_from_however_many_sessions() -> None:
    house = await do(made.house)
    for _ in range(ROUNDS):
        row, before = await do(made.submitted, house, 100), await stand(house)
        said = await outcomes(
            *(approve(house, row) for _ in range(4)), approve(house, row, who=house.supervisor)
        )
        assert Counter(said) == {"done": 1, "stale-version": 4}
        assert await stand(house) == (before[0] - 100, before[1] + 100)
    row, attempt = await do(made.submitted, house, 100), key()
    assert set(await outcomes(*(approve(house, row, attempt) for _ in range(4)))) == {"done"}, (
        "one request, sent again"
    )
    async with db.begin() as session:
        steps = select(DisbursementEvent.status).where(DisbursementEvent.disbursement_id == row.id)
        assert Counter(await session.scalars(steps)) == {S.DRAFT: 1, S.SUBMITTED: 1, S.APPROVED: 1}
    await check_books(house.fund)


async def test_of_rejecting_and_approving_one_happens() -> None:
    house = await do(made.house)
    for _ in range(ROUNDS):
        row, (before, _) = await do(made.submitted, house, 100), await stand(house)
        reject = do(disbursements.reject, house.supervisor, id=row.id, version=row.version, reason="x")
        said = await outcomes(reject, approve(house, row))
        assert Counter(said) == {"done": 1, "stale-version": 1}
        approved = (await now(row)).status is S.APPROVED
        assert (await stand(house))[0] == before - 100 * approved


async def test_of_paying_voiding_expiring_and_a_bank_file_one_happens() -> None:
    house = await do(made.house)
    for _ in range(ROUNDS):
        row = await do(made.approved, house, 100)
        async with db.begin() as session:
            await session.execute(
                update(Disbursement).where(Disbursement.id == row.id).values(expires_at=clock.now())
            )
        before = (await stand(house))[0]
        one = {"id": row.id, "version": row.version}
        said = await outcomes(
            do(disbursements.pay, house.accountant, **one),
            do(disbursements.void, house.county, reason="x", **one),
            disbursements.expire_due(),
        )
        status = (await now(row)).status
        assert {S.PAID: said[0], S.VOIDED: said[1], S.EXPIRED: said[2]}[status] == "done"
        assert set(said[:2]) <= {"done", "stale-version"}
        assert (await stand(house))[0] == before + 100 * (status is not S.PAID)
    await check_books(house.fund)


async def test_many_approvals_take_no_fen_more_than_fund_and_budget_have() -> None:
    """Of twelve at once, each another payment."""
    for money, budget, refusal in ((499, 1_200, "fund-insufficient"), (1_200, 499, "budget-exceeded")):
        house = await do(made.house, money=money, budget=budget, code=f"F{money}")
        rows = [await do(made.submitted, house, 100) for _ in range(12)]
        said = await outcomes(*(approve(house, row) for row in rows))
        assert Counter(said) == {"done": 4, refusal: 8}
        assert await stand(house) == (money - 400, 400)
        left = [await now(row) for row, outcome in zip(rows, said, strict=True) if outcome != "done"]
        assert {(row.status, row.version, row.hold_id) for row in left} == {(S.SUBMITTED, 2, None)}
        await check_books(house.fund)


async def test_one_fen_too_little_is_refused_for_good_and_a_new_attempt_is_judged_anew() -> None:
    house = await do(made.house, money=999)
    row, attempt = await do(made.submitted, house, 1_000), key()
    assert await outcomes(approve(house, row, attempt)) == ["fund-insufficient"]
    await do(given.give, house.fund, 1)
    assert await outcomes(approve(house, row, attempt)) == ["fund-insufficient"]
    assert await stand(house) == (1_000, 0)
    assert await outcomes(approve(house, row, key())) == ["done"]
    assert await stand(house) == (0, 1_000)
    await check_books(house.fund)


async def test_a_payment_goes_into_one_bank_file_or_is_paid_by_hand() -> None:
    house = await do(made.house)
    for _ in range(ROUNDS):
        rows = [await do(made.approved, house, 100) for _ in range(2)]
        new = NewBankFile(fund_id=house.fund.id, disbursement_ids=[row.id for row in rows])
        files = [do(disbursements.make_bank_file, house.accountant, key=key(), new=new) for _ in range(3)]
        pay = do(disbursements.pay, house.accountant, id=rows[1].id, version=rows[1].version)
        said = await outcomes(*files, pay)
        assert Counter(said)["done"] == 1
        assert set(said) <= {"done", "not-to-pay", "stale-version"}
        async with db.begin() as session:
            lines = select(BankFileLine).where(BankFileLine.disbursement_id.in_([row.id for row in rows]))
            assert len((await session.scalars(lines)).all()) == (0 if said[3] == "done" else 2)


async def test_the_bank_s_answer_uploaded_by_many_and_a_cancellation() -> None:
    house = await do(made.house)
    for _ in range(ROUNDS):
        rows = [await do(made.approved, house, 100) for _ in range(2)]
        new = NewBankFile(fund_id=house.fund.id, disbursement_ids=[row.id for row in rows])
        file = await do(disbursements.make_bank_file, house.accountant, key=key(), new=new)
        data = made.answer((rows[0].number, "1.00", "成功"), (rows[1].number, "1.00", "失败"))
        before = (await stand(house))[0]
        take = [
            do(disbursements.take_answer, house.accountant, id=file.id, data=data, commit=True)
            for _ in range(3)
        ]
        cancel = do(
            disbursements.cancel_bank_file, house.accountant, id=file.id, version=file.version, reason="x"
        )
        said = await outcomes(*take, cancel)
        cancelled = said[3] == "done"
        assert set(said[:3]) == ({"wrong-state"} if cancelled else {"done"})
        paid, failed = [await now(row) for row in rows]
        assert (paid.status, failed.status) == (S.APPROVED if cancelled else S.PAID, S.APPROVED)
        assert failed.bank_file_id is None
        assert (await stand(house))[0] == before, "held, or paid out of what was held"
    await check_books(house.fund)


async def test_a_payment_that_ends_while_its_source_asks_again_is_asked_for_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = await do(made.house)
    asked = [Asked(house.new(10), "grant", new_id()) for _ in range(2)]
    old = await do(disbursements.request_many, house.officer, asked)
    insert = drafts._insert

    async def meanwhile(session: AsyncSession, rows: list[Disbursement]) -> set[uuid.UUID]:
        """One is rejected after it was met, and before it is read."""
        monkeypatch.undo()
        met = await insert(session, rows)
        await do(disbursements.reject, house.county, id=old[0].id, version=old[0].version, reason="x")
        return met

    monkeypatch.setattr(drafts, "_insert", meanwhile)
    rows = await do(disbursements.request_many, house.officer, asked)
    assert (rows[0].id != old[0].id, rows[1].id == old[1].id) == (True, True)
    assert [(await now(row)).status for row in (*old, rows[0])] == [S.REJECTED, S.SUBMITTED, S.SUBMITTED]


async def test_of_many_who_ask_for_the_same_source_one_payment_comes() -> None:
    house = await do(made.house)
    asked = [Asked(house.new(10), "grant", new_id()) for _ in range(4)]

    async def request(session: AsyncSession, turn: int) -> list[Disbursement]:
        order = asked if turn % 2 else asked[::-1]
        return await disbursements.request_many(session, house.officer, order)

    answers = await asyncio.gather(*(do(request, turn) for turn in range(6)))
    assert len({row.id for rows in answers for row in rows}) == 4
    async with db.begin() as session:
        assert len((await session.scalars(select(Disbursement))).all()) == 4
        assert len((await session.scalars(select(DisbursementEvent))).all()) == 4
