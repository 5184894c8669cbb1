"""Spending by budget line and purpose, told so that no family can be found in it.

Payments to people are told in batches: a closed month's, once at least five of one line (and campaign) have come
together; until then they wait, and go with those of a later month. A batch is never told in parts, nor told anew, so
no difference between any two figures, of whatever periods, is about fewer than five. An open month is not told by line:
what came between two looks might be one payment. That money left the fund is public at once, payment by payment: what
for is what might point to a family.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Subquery, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.models.disbursements import Disbursement, PayeeKind
from app.models.funds import BudgetLine
from app.models.ledger import Phase, Transfer
from app.services.ledger.flows import open_from

#: No fewer payments to people are told together.
FEWEST = 5


@dataclass(frozen=True, slots=True)
class Paid:
    """Payments of one month that are alike."""

    campaign_id: uuid.UUID | None
    code: str
    to_person: bool
    month: date
    purpose: str
    payments: int
    fen: int


@dataclass(frozen=True, slots=True)
class Purpose:
    """None: several purposes, of each too few to be told alone."""

    purpose: str | None
    payments: int
    spent_fen: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told in a month, of one line and campaign. Purposes only of what people received."""

    campaign_id: uuid.UUID | None
    code: str
    month: date
    payments: int
    fen: int
    purposes: list[Purpose]


@dataclass(frozen=True, slots=True)
class Line:
    """A budget line: `payments` to people are told in groups of five or more, those to bodies one by one."""

    code: str
    zh: str
    en: str
    payments: int
    spent_fen: int
    purposes: list[Purpose]


async def batches(db: AsyncSession, fund_ids: Collection[uuid.UUID]) -> list[Batch]:
    """All that was ever told of these funds."""
    return told(await _paid(db, fund_ids))


def told(paid: Iterable[Paid]) -> list[Batch]:
    """With more months closed, the same batches and some more."""
    place = attrgetter("code", "to_person", "month")
    rows = sorted(paid, key=lambda one: (str(one.campaign_id), *place(one)))
    groups = groupby(rows, key=attrgetter("campaign_id", "code", "to_person"))
    return [
        batch
        for (_, _, to_person), group in groups
        for batch in _in_batches(group, FEWEST if to_person else 0)
    ]


def _moved(fund_ids: Collection[uuid.UUID]) -> Subquery:
    """In closed months. A payment that was entered in error, or came back, counts as none with less money."""
    post, back = aliased(Transfer), aliased(Transfer)
    columns = (
        Disbursement.campaign_id, Disbursement.budget_line_id, Disbursement.payee_kind, Disbursement.purpose,
    )  # fmt: skip
    posted = (post.pending_id == Disbursement.hold_id) & (post.phase == Phase.POST)
    of_fund = Disbursement.fund_id.in_(fund_ids)
    paid = (
        select(*columns, post.effective_on, post.amount_fen.label("amount"), literal(1).label("n"))
        .join(post, posted)
        .where(of_fund, post.effective_on < open_from())
    )
    returned = (
        select(*columns, back.effective_on, -back.amount_fen, literal(0))
        .join(post, posted)
        .join(back, back.reverses_id == post.id)
        .where(of_fund, back.effective_on < open_from())
    )
    return union_all(paid, returned).subquery("moved")


async def _paid(db: AsyncSession, fund_ids: Collection[uuid.UUID]) -> list[Paid]:
    moved = _moved(fund_ids)
    month = func.date_trunc("month", moved.c.effective_on).label("month")
    to_person = (moved.c.payee_kind == PayeeKind.PERSON).label("to_person")
    alike = moved.c.campaign_id, BudgetLine.code, to_person, month, moved.c.purpose
    query = (
        select(*alike, func.sum(moved.c.n), func.sum(moved.c.amount))
        .join(BudgetLine, BudgetLine.id == moved.c.budget_line_id)
        .group_by(*alike)
    )
    return [
        Paid(campaign, code, person, at.date(), purpose, int(count), int(amount))
        for campaign, code, person, at, purpose, count, amount in await db.execute(query)
    ]


def _in_batches(rows: Iterable[Paid], fewest: int) -> list[Batch]:
    """Of one line and campaign, month by month."""
    made, waiting = list[Batch](), list[Paid]()
    for month, group in groupby(rows, key=lambda one: one.month):
        waiting += group
        payments = sum(one.payments for one in waiting)
        if payments >= fewest:
            first = waiting[0]
            purposes = _purposes(waiting, fewest) if fewest else []
            fen = sum(one.fen for one in waiting)
            made.append(Batch(first.campaign_id, first.code, month, payments, fen, purposes))
            waiting = []
    return made


def _purposes(rows: list[Paid], fewest: int) -> list[Purpose]:
    """The batch once more, in groups none of which is smaller than it may be."""
    groups = sorted(
        _by_purpose((one.purpose, one.payments, one.fen) for one in rows), key=lambda one: -one.payments
    )
    named = [one for one in groups if one.payments >= fewest]
    rest = groups[len(named) :]
    while rest and named and sum(one.payments for one in rest) < fewest:
        rest.append(named.pop())
    if not rest:
        return named
    return [*named, Purpose(None, sum(one.payments for one in rest), sum(one.spent_fen for one in rest))]


def _by_purpose(parts: Iterable[tuple[str | None, int, int]]) -> list[Purpose]:
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0, 0])
    for purpose, payments, fen in parts:
        sums[purpose][0] += payments
        sums[purpose][1] += fen
    return [Purpose(purpose, payments, fen) for purpose, (payments, fen) in sums.items()]


async def lines(
    db: AsyncSession, fund_id: uuid.UUID, first: date | None = None, last: date | None = None
) -> list[Line]:
    """Of the batches that were told from one month to another, or ever: by budget line."""
    within = [
        one
        for one in await batches(db, [fund_id])
        if (first is None or one.month >= first) and (last is None or one.month <= last)
    ]
    named = select(BudgetLine).where(BudgetLine.fund_id == fund_id).order_by(BudgetLine.year)
    names = {line.code: line for line in await db.scalars(named)}  # as the last year calls it
    return [
        Line(
            code, names[code].zh, names[code].en, sum(one.payments for one in group), sum(one.fen for one in group),
            _by_purpose((p.purpose, p.payments, p.spent_fen) for one in group for p in one.purposes),
        )
        for code in sorted({one.code for one in within})
        if (group := [one for one in within if one.code == code])
    ]  # fmt: skip
