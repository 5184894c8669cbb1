"""What an accountant reads: the trial balance of a month, the journal, how a fund stands."""

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Select, func, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, fetch, visible
from app.errors import NotFound
from app.models.funds import Fund
from app.models.ledger import (
    AccountClass,
    LedgerAccount,
    LedgerPeriod,
    Phase,
    Transfer,
    TransferKind,
)
from app.services.ledger import accounts
from app.services.ledger.flows import MOVED, flows, next_month


@dataclass(frozen=True, slots=True)
class Columns:
    """Six columns, in fen: what stood there, what moved, what stands there. A balance is on one side."""

    opening_debit_fen: int
    opening_credit_fen: int
    debits_fen: int
    credits_fen: int
    closing_debit_fen: int
    closing_credit_fen: int


@dataclass(frozen=True, slots=True)
class TrialLine:
    code: str
    zh: str
    en: str
    account_class: AccountClass
    columns: Columns


@dataclass(frozen=True, slots=True)
class ClassTotal:
    account_class: AccountClass
    columns: Columns


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Debits and credits of `totals` are equal, column by column: each transfer is on both sides."""

    month: str
    closed: bool
    lines: list[TrialLine]
    classes: list[ClassTotal]
    totals: Columns


async def trial_balance(db: AsyncSession, month: date) -> TrialBalance:
    """科目余额表 of the whole association for the month of this first day: every account that ever moved."""
    flow = flows(next_month(month))
    before, within = flow.c.day < month, flow.c.day >= month
    query = (
        select(
            LedgerAccount, func.sum(flow.c.credits - flow.c.debits).filter(before),
            func.sum(flow.c.debits).filter(within), func.sum(flow.c.credits).filter(within),
        )
        .join(flow, flow.c.account_id == LedgerAccount.id)
        .group_by(LedgerAccount.id)
        .order_by(LedgerAccount.code)
    )  # fmt: skip
    lines = [
        TrialLine(
            account.code, account.zh, account.en, account.account_class, _columns(opening, debits, credits)
        )
        for account, opening, debits, credits in await db.execute(query)
    ]
    classes = [
        ClassTotal(one, _sum(line.columns for line in lines if line.account_class is one))
        for one in AccountClass
    ]
    closed = await db.scalar(select(LedgerPeriod.id).where(LedgerPeriod.month == month))
    return TrialBalance(
        f"{month:%Y-%m}", closed is not None, lines, classes, _sum(line.columns for line in lines)
    )


def _columns(opening: int | None, debits: int | None, credits: int | None) -> Columns:
    first, debit, credit = int(opening or 0), int(debits or 0), int(credits or 0)
    last = first + credit - debit
    return Columns(max(-first, 0), max(first, 0), debit, credit, max(-last, 0), max(last, 0))


def _sum(columns: Iterable[Columns]) -> Columns:
    rows = [
        (one.opening_debit_fen, one.opening_credit_fen, one.debits_fen, one.credits_fen, one.closing_debit_fen,
         one.closing_credit_fen)
        for one in columns
    ]  # fmt: skip
    return Columns(*(sum(place) for place in zip(*rows, strict=True))) if rows else Columns(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One transfer. `reference`: what it is about, a table and an id."""

    id: uuid.UUID
    effective_on: date
    recorded_at: datetime
    kind: TransferKind
    phase: Phase
    debit: str
    debit_zh: str
    debit_en: str
    credit: str
    credit_zh: str
    credit_en: str
    amount_fen: int
    currency: str
    reference: str
    group_id: uuid.UUID | None
    reverses_id: uuid.UUID | None


Place = tuple[date, datetime, uuid.UUID]


def place_of(line: JournalLine) -> Place:
    return line.effective_on, line.recorded_at, line.id


async def journal(
    db: AsyncSession, actor: Actor, *, first: date, last: date, account: str | None, after: Place | None, limit: int
) -> list[JournalLine]:  # fmt: skip
    """序时账 from one day to another, in the order of days and then of recording; of one account, if named. Holds are
    not in it: nothing has moved yet."""
    query = await journal_query(db, actor, first=first, last=last, account=account, after=after, limit=limit)
    return [
        JournalLine(
            t.id, t.effective_on, t.recorded_at, t.kind, t.phase, debit.code, debit.zh, debit.en, credit.code,
            credit.zh, credit.en, t.amount_fen, t.currency, t.reference, t.group_id, t.reverses_id,
        )
        for t, debit, credit in await db.execute(query)
    ]  # fmt: skip


async def journal_query(
    db: AsyncSession, actor: Actor, *, first: date, last: date, account: str | None, after: Place | None, limit: int
) -> Select[Transfer, LedgerAccount, LedgerAccount]:  # fmt: skip
    order = (Transfer.effective_on, Transfer.recorded_at, Transfer.id)
    found = select(Transfer.id).where(
        Transfer.effective_on.between(first, last), Transfer.phase.in_(MOVED), visible(actor, Transfer)
    )
    if after is not None:
        found = found.where(tuple_(*order) > after)
    found = found.order_by(*order).limit(limit)
    if account is not None:
        id = await _account_id(db, actor, account)
        # An index for each side.
        sides = [
            found.where(side == id).subquery()
            for side in (Transfer.debit_account_id, Transfer.credit_account_id)
        ]
        found = union_all(*(select(side.c.id) for side in sides))  # type: ignore[assignment]
    debit, credit = aliased(LedgerAccount), aliased(LedgerAccount)
    return (
        select(Transfer, debit, credit)
        .join(debit, debit.id == Transfer.debit_account_id)
        .join(credit, credit.id == Transfer.credit_account_id)
        .where(Transfer.id.in_(found))
        .order_by(*order)
        .limit(limit)
    )


async def _account_id(db: AsyncSession, actor: Actor, code: str) -> int:
    query = select(LedgerAccount.id).where(LedgerAccount.code == code, visible(actor, LedgerAccount))
    id = await db.scalar(query)
    if id is None:
        raise NotFound
    return id


@dataclass(frozen=True, slots=True)
class FundFlows:
    """In fen. `given`, less what was entered in error; `transferred`: from other funds, less what went to them.
    opening + given - refunded + transferred - spent = closing. `held` and `available`: as of now."""

    opening_fen: int
    given_fen: int
    refunded_fen: int
    transferred_fen: int
    spent_fen: int
    closing_fen: int
    held_fen: int
    available_fen: int


@dataclass(frozen=True, slots=True)
class FundStatement:
    """Payment providers' fees are the association's own cost (5301): what was given is not made less by them."""

    fund_id: uuid.UUID
    code: str
    zh: str
    en: str
    first_month: str | None
    last_month: str
    money: FundFlows
    goods: FundFlows


async def fund_statement(
    db: AsyncSession, actor: Actor, *, fund_id: uuid.UUID, first: date | None, last: date
) -> FundStatement:
    """How a fund came to stand where it stands, from the beginning or from one month to another."""
    fund = await fetch(db, actor, Fund, fund_id)
    money = await _fund_flows(db, fund.id, first, last)
    goods = await _fund_flows(db, accounts.goods_limit(fund.id), first, last)
    since = f"{first:%Y-%m}" if first else None
    return FundStatement(fund.id, fund.code, fund.zh, fund.en, since, f"{last:%Y-%m}", money, goods)


async def _fund_flows(db: AsyncSession, limit_id: uuid.UUID, first: date | None, last: date) -> FundFlows:
    query = select(LedgerAccount.id, LedgerAccount.account_class).where(LedgerAccount.limit_id == limit_id)
    classes: dict[int, AccountClass] = dict((await db.execute(query)).all())
    flow = flows(next_month(last), classes)
    earlier = flow.c.day < (first or date.min)
    moved = select(
        flow.c.account_id, flow.c.kind, earlier, func.sum(flow.c.credits - flow.c.debits)
    ).group_by(flow.c.account_id, flow.c.kind, earlier)  # fmt: skip
    sums = Counter[str]()
    for account_id, kind, before, amount in await db.execute(moved):
        sums["opening" if before else _part(kind, classes[account_id])] += int(amount)
    closing = sums.total() - sums["-"]
    return FundFlows(
        sums["opening"], sums["given"], -sums["refunded"], sums["transferred"], -sums["spent"], closing,
        await accounts.held(db, limit_id), await accounts.available(db, limit_id),
    )  # fmt: skip


def _part(kind: TransferKind, of: AccountClass) -> str:
    if kind is TransferKind.CLOSING:
        return "-"  # from one account of the fund to another
    if of is AccountClass.COST:
        return "spent"
    return {TransferKind.REFUND: "refunded", TransferKind.LEFTOVER: "transferred"}.get(kind, "given")
