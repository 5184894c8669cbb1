"""Closing the books: month by month, and with December the year."""

import uuid
from datetime import date

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, lies_in, visible
from app.errors import Conflict, Forbidden, Invalid
from app.models.ledger import AccountClass, LedgerAccount, LedgerPeriod, TransferKind
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.ledger import posting
from app.services.ledger.flows import flows, next_month
from app.services.ledger.posting import Entry, MonthClosed, transfer_id
from app.settings import settings

#: As in sql/post_transfer.sql, where it is shared.
HOLD_BOOKS = text("SELECT pg_advisory_xact_lock(7301664013)")
CLOSE = text("SELECT close_ledger_month(:id, :month, :by, :now)")


class BooksOfWholeAssociation(Forbidden):
    zh, en = "账簿由本会会计结账", "The books are closed by the association's own accountant"
    do_zh, do_en = "请联系本会会计", "Ask the accountant of the whole association"


class BookMonthNotOver(Invalid):
    zh, en = "该月份尚未结束", "This month is not over"
    do_zh, do_en = "月末之后方可结账", "Books are closed when the month is over"


class EarlierMonthOpen(Conflict):
    zh, en = "之前的月份尚未结账", "A month before it is open"
    do_zh, do_en = "请按月份顺序结账", "Close the months one after the other"


OUTCOMES = {"already": MonthClosed, "not_over": BookMonthNotOver, "earlier_open": EarlierMonthOpen}


async def close(db: AsyncSession, actor: Actor, *, key: Key, month: date) -> LedgerPeriod:
    """Nothing is dated into it afterwards. With December, income and costs of the year go into net assets
    (年末结转). One set of books: by an accountant of the whole association."""
    if not lies_in(settings().region_code, actor.region_code):
        raise BooksOfWholeAssociation
    if await idempotency.claim(db, actor, key):
        if month.month == 12:
            await db.execute(HOLD_BOOKS)
            await _carry_forward(db, month, key.id)
        outcome = await db.scalar(
            CLOSE, {"id": key.id, "month": month, "by": actor.account_id, "now": clock.now()}
        )
        if outcome in OUTCOMES:
            raise OUTCOMES[outcome]
        await audit.record(db, actor, "close", "ledger_period", key.id)
    return await fetch(db, actor, LedgerPeriod, key.id)


async def _carry_forward(db: AsyncSession, december: date, period_id: uuid.UUID) -> None:
    """What stands on each account of income or cost goes to the net assets of the same fund; what belongs to no fund,
    to the unrestricted ones. Whatever is being posted has ended: the books are held."""
    to = select(LedgerAccount.limit_id, LedgerAccount.code).where(
        LedgerAccount.account_class == AccountClass.NET_ASSETS
    )
    net_assets = dict((await db.execute(to)).all())
    flow = flows(next_month(december))
    left = func.sum(flow.c.credits - flow.c.debits)
    query = (
        select(LedgerAccount.code, LedgerAccount.limit_id, left)
        .join(flow, flow.c.account_id == LedgerAccount.id)
        .where(LedgerAccount.account_class.in_([AccountClass.INCOME, AccountClass.COST]))
        .group_by(LedgerAccount.id)
        .having(left != 0)
        .order_by(LedgerAccount.id)
    )
    for code, limit, balance in (await db.execute(query)).all():
        debit, credit = (code, net_assets[limit]) if balance > 0 else (net_assets[limit], code)
        await posting.record(db, Entry(
            transfer_id("closing", december.year, code), debit, credit, abs(int(balance)), TransferKind.CLOSING,
            f"ledger_period/{period_id}", december.replace(day=31),
        ))  # fmt: skip


async def listing(db: AsyncSession, actor: Actor, *, before: date | None, limit: int) -> list[LedgerPeriod]:
    """The closed months, latest first."""
    query = (
        select(LedgerPeriod)
        .where(visible(actor, LedgerPeriod))
        .order_by(LedgerPeriod.month.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(LedgerPeriod.month < before)
    return list(await db.scalars(query))
