"""What moved on the accounts: of closed months as it was added up once, of the others from the transfers."""

from collections.abc import Collection
from datetime import date

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Interval,
    Subquery,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    union_all,
    values,
)

from app.models.ledger import LedgerPeriod, LedgerTurnover, Phase, Transfer

#: Whatever else a transfer is, these moved money.
MOVED = (Phase.SINGLE, Phase.POST)


def open_from() -> ColumnElement[date]:
    """The first day whose month is not closed."""
    after = cast(func.max(LedgerPeriod.month) + literal("1 month").cast(Interval), Date)
    return func.coalesce(select(after).scalar_subquery(), literal("-infinity").cast(Date))


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def flows(until: date, accounts: Collection[int] | None = None) -> Subquery:
    """Before `until`, the first day of a month: `day`, `account_id`, `kind`, `debits`, `credits`. A closed month is
    as of its first day. In one statement, so that a month which is being closed counts once."""
    closed = select(
        LedgerTurnover.month.label("day"), LedgerTurnover.account_id, LedgerTurnover.kind, LedgerTurnover.debits,
        LedgerTurnover.credits,
    ).where(LedgerTurnover.month < until)  # fmt: skip
    if accounts is not None:
        closed = closed.where(LedgerTurnover.account_id.in_(accounts))
    moved = _open_transfers(until, accounts)
    sides = (
        values(column("account_id", BigInteger), column("debits", BigInteger), column("credits", BigInteger))
        .data([(moved.c.debit_account_id, moved.c.amount, 0), (moved.c.credit_account_id, 0, moved.c.amount)])
        .alias("side")
        .lateral()
    )
    both = select(moved.c.day, sides.c.account_id, moved.c.kind, sides.c.debits, sides.c.credits).join(
        sides, literal(True)
    )
    return union_all(
        closed, both if accounts is None else both.where(sides.c.account_id.in_(accounts))
    ).subquery("flow")


def _open_transfers(until: date, accounts: Collection[int] | None) -> Subquery:
    query = (
        select(
            Transfer.effective_on.label("day"), Transfer.debit_account_id, Transfer.credit_account_id, Transfer.kind,
            cast(func.sum(Transfer.amount_fen), BigInteger).label("amount"),
        )
        .where(Transfer.effective_on >= open_from(), Transfer.effective_on < until, Transfer.phase.in_(MOVED))
        .group_by(Transfer.effective_on, Transfer.debit_account_id, Transfer.credit_account_id, Transfer.kind)
    )  # fmt: skip
    if accounts is not None:
        either = or_(Transfer.debit_account_id.in_(accounts), Transfer.credit_account_id.in_(accounts))
        query = query.where(either)
    return query.subquery("moved")
