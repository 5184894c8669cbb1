"""The statement of a fund over a month, a quarter or a year."""

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import NotFound
from app.models.donations import Channel
from app.models.ledger import AccountClass, LedgerAccount, Transfer, TransferKind
from app.services.ledger import posting, statements
from app.services.ledger.flows import MOVED, flows, next_month, open_from
from app.services.proofs import reading
from app.services.transparency import gifts, spending
from app.services.transparency.spending import Line

Period = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}(-Q[1-4]|-0[1-9]|-1[0-2])?$")]
READER = Actor.system("public door")
#: Where money came in. What nothing explained at first came through WeChat Pay.
CHANNELS = {
    posting.WECHAT: Channel.WECHAT, posting.SUSPENSE: Channel.WECHAT, posting.BANK: Channel.BANK,
    posting.CASH: Channel.CASH, posting.PLATFORM: Channel.PLATFORM, posting.GOODS: Channel.IN_KIND,
}  # fmt: skip
#: What FundFlows counts elsewhere.
NOT_GIVEN = (TransferKind.REFUND, TransferKind.LEFTOVER, TransferKind.CLOSING)


@dataclass(frozen=True, slots=True)
class Given:
    """None: a correction that came through no channel."""

    channel: Channel | None
    amount_fen: int


@dataclass(frozen=True, slots=True)
class PublicStatement:
    """In fen. opening + given - refunded + transferred - spent = closing. `given`: by channel, goods by their worth;
    `given_fen`: of it the money. `provisional`: a month of it is not closed, so that it may still change. `lines`: what
    is told of the spending by budget line; `other_fen`: the spending of the period that is not, less what was told in
    it of earlier months. `association_fees_fen`: what payment providers charged the association for all its funds;
    gifts are not made less by them. `tree_head`: of the log that has every transfer, to add up the same from it."""

    fund_id: uuid.UUID
    period: str
    first_on: date
    last_month: str
    provisional: bool
    opening_fen: int
    given: list[Given]
    given_fen: int
    refunded_fen: int
    transferred_fen: int
    spent_fen: int
    lines: list[Line]
    other_fen: int
    closing_fen: int
    goods_opening_fen: int
    goods_given_fen: int
    goods_handed_out_fen: int
    goods_closing_fen: int
    association_fees_fen: int
    tree_head: str = f"{reading.AT}/head"


@dataclass(frozen=True, slots=True)
class PublicSpending:
    """Since the fund was opened. `other_fen`: of `spent_fen` what is not told by line: months that are not closed, and
    payments to people of which fewer than five are together."""

    spent_fen: int
    lines: list[Line]
    other_fen: int


def months_of(period: str) -> tuple[date, date]:
    """The first days of its first and its last month. NotFound for one that has not begun."""
    year, part = int(period[:4]), period[5:]
    first, last = 1, 12
    if part.startswith("Q"):
        first, last = int(part[1]) * 3 - 2, int(part[1]) * 3
    elif part:
        first = last = int(part)
    if date(year, first, 1) > clock.today():
        raise NotFound
    return date(year, first, 1), date(year, last, 1)


async def statement(db: AsyncSession, *, fund_id: uuid.UUID, period: str) -> PublicStatement:
    first, last = months_of(period)
    await db.execute(gifts.FROM_INDEX)
    whole = await statements.fund_statement(db, READER, fund_id=fund_id, first=first, last=last)
    lines = await spending.lines(db, fund_id, first, last)
    provisional = (await db.scalars(select(open_from()))).one() <= last
    money, goods = whole.money, whole.goods
    return PublicStatement(
        fund_id, period, first, f"{last:%Y-%m}", provisional, money.opening_fen,
        await _by_channel(db, fund_id, first, last), money.given_fen, money.refunded_fen, money.transferred_fen,
        money.spent_fen, lines, money.spent_fen - sum(line.spent_fen for line in lines), money.closing_fen,
        goods.opening_fen, goods.given_fen, goods.spent_fen, goods.closing_fen, await _fees(db, first, last),
    )  # fmt: skip


async def spent(db: AsyncSession, *, fund_id: uuid.UUID, in_all: int) -> PublicSpending:
    lines = await spending.lines(db, fund_id)
    return PublicSpending(in_all, lines, in_all - sum(line.spent_fen for line in lines))


async def _by_channel(db: AsyncSession, fund_id: uuid.UUID, first: date, last: date) -> list[Given]:
    """By the account on the other side of the fund's income."""
    accounts = list(await db.scalars(select(LedgerAccount)))
    codes = {one.id: one.code for one in accounts}
    income = {
        one.id for one in accounts if one.fund_id == fund_id and one.account_class is AccountClass.INCOME
    }
    sides = Transfer.debit_account_id, Transfer.credit_account_id
    query = (
        select(*sides, func.sum(Transfer.amount_fen))
        .where(
            or_(*(side.in_(income) for side in sides)), Transfer.effective_on >= first,
            Transfer.effective_on < next_month(last), Transfer.phase.in_(MOVED), Transfer.kind.not_in(NOT_GIVEN),
        )
        .group_by(*sides)
    )  # fmt: skip
    sums = Counter[Channel | None]()
    for debit, credit, fen in await db.execute(query):
        other, sign = (debit, 1) if credit in income else (credit, -1)
        sums[CHANNELS.get(codes[other])] += sign * int(fen)
    return [Given(channel, fen) for channel, fen in sums.items() if fen]


async def _fees(db: AsyncSession, first: date, last: date) -> int:
    account = await db.scalar(select(LedgerAccount.id).where(LedgerAccount.code == posting.FEES))
    flow = flows(next_month(last), [account] if account else [])
    charged = select(func.sum(flow.c.debits - flow.c.credits))
    within = charged.where(flow.c.day >= first, flow.c.kind != TransferKind.CLOSING)
    return int(await db.scalar(within) or 0)
