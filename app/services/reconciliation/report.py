"""What passed through WeChat Pay in a day or a month, what is on 100901, and to the fen why it is not zero.

Whatever was paid waits at WeChat until it is paid out, less refunds and fees: the books on 100901 are what WeChat says
it holds (账户结余), or `unexplained_fen` is not zero and something is wrong that no difference names."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.models.ledger import LedgerAccount
from app.models.reconciliation import (
    BillFile,
    BillType,
    DifferenceKind,
    DifferenceStatus,
    ReconciliationDifference,
)
from app.services.ledger.flows import flows
from app.services.ledger.posting import SUSPENSE, WECHAT
from app.services.reconciliation.differences import LIVE

D = ReconciliationDifference
#: Longer than money waits for its pay-out.
BACK = timedelta(days=90)
#: Whatever touched the account from one day to another; write-offs apart.
MOVED = text("""
SELECT t.effective_on AS day, CASE WHEN t.reference LIKE 'reconciliation_difference/%' THEN 'by_hand' ELSE t.kind END
       AS kind, CAST(sum(CASE t.debit_account_id WHEN :account THEN t.amount_fen ELSE -t.amount_fen END) AS bigint)
  FROM (SELECT * FROM transfer WHERE debit_account_id = :account AND effective_on BETWEEN :first AND :last
        UNION ALL SELECT * FROM transfer WHERE credit_account_id = :account AND effective_on BETWEEN :first AND :last) t
 WHERE t.phase IN ('single', 'post') GROUP BY 1, 2, (t.debit_account_id = :account) ORDER BY 1""")
#: Booked by the day of WeChat's balance, and in no bill up to it: paid in the last second, on its way into the next.
AHEAD = text("""
SELECT CAST(coalesce(sum(fen), 0) AS bigint) FROM (
    SELECT t.amount_fen AS fen FROM transfer t
     WHERE t.debit_account_id = :account AND t.effective_on BETWEEN :before AND :day AND t.phase = 'single'
       AND t.kind IN ('donation', 'unmatched')
       AND NOT EXISTS (SELECT FROM bill_line l JOIN bill_file f ON f.id = l.file_id
                        WHERE l.transfer_id = t.id AND f.bill_date <= :day)
       AND NOT EXISTS (
           SELECT FROM reconciliation_difference d LEFT JOIN payment_order o ON o.transaction_id = d.reference
             LEFT JOIN donation g ON g.id = o.id
            WHERE d.kind = 'missing_there' AND d.status IN ('open', 'investigating', 'written_off')
              AND (g.transfer_id = t.id OR t.reference = 'wechat/' || d.reference))
    UNION ALL
    SELECT -t.amount_fen FROM transfer t JOIN refund r ON r.hold_id = t.pending_id
     WHERE t.credit_account_id = :account AND t.effective_on BETWEEN :before AND :day AND t.kind = 'refund'
       AND t.phase = 'post'
       AND NOT EXISTS (SELECT FROM bill_line l JOIN bill_file f ON f.id = l.file_id
                        WHERE l.out_refund_no = r.out_refund_no AND f.bill_date <= :day)
       AND NOT EXISTS (SELECT FROM reconciliation_difference d WHERE d.kind = 'missing_there'
                          AND d.reference = r.out_refund_no AND d.status <> 'matched')) AS ahead""")
#: In a bill by then, and booked later or not yet: refunds that WeChat has begun, payments recorded afterwards.
BEHIND = text("""
SELECT CAST(coalesce(sum(l.amount_fen) FILTER (WHERE l.kind = 'refund'), 0) AS bigint),
       CAST(coalesce(sum(l.amount_fen) FILTER (WHERE l.kind = 'payment'), 0) AS bigint)
  FROM bill_line l JOIN bill_file f ON f.id = l.file_id LEFT JOIN refund r ON r.out_refund_no = l.out_refund_no
 WHERE f.bill_type = 'trade' AND f.bill_date BETWEEN :since AND :day
   AND (l.kind = 'payment' OR l.kind = 'refund' AND l.status IN ('SUCCESS', 'PROCESSING'))
   AND (r.status IS DISTINCT FROM 'closed' OR r.finished_at >= :ended)
   AND NOT EXISTS (SELECT FROM transfer t WHERE t.id = l.transfer_id AND t.effective_on <= :day)
   AND NOT EXISTS (SELECT FROM transfer t
                    WHERE t.pending_id = r.hold_id AND t.phase = 'post' AND t.effective_on <= :day)
   AND NOT EXISTS (SELECT FROM reconciliation_difference d
                    WHERE d.reference = coalesce(l.out_refund_no, l.transaction_id) AND d.transfer_id IS NULL
                      AND d.status IN ('open', 'investigating', 'written_off'))""")
FEES_BEHIND = text("""
SELECT CAST(coalesce(sum(l.fee_fen), 0) AS bigint) FROM bill_line l JOIN bill_file f ON f.id = l.file_id
 WHERE f.bill_type = 'trade' AND f.bill_date BETWEEN :since AND :day AND l.fee_fen <> 0
   AND NOT EXISTS (SELECT FROM transfer t WHERE t.id = l.fee_transfer_id AND t.effective_on <= :day)""")


@dataclass(frozen=True, slots=True)
class NotPaidOut:
    day: date
    fen: int


@dataclass(frozen=True, slots=True)
class AtWechat:
    """What WeChat says it holds, after the last bill of the period; the books by then are that, and what follows:
    books = balance + not in the bills yet + refunds under way + differences + unexplained. `not_in_bills_yet_fen`: less
    what is in the bills and booked later."""

    day: date
    balance_fen: int
    books_fen: int
    not_in_bills_yet_fen: int
    refunds_under_way_fen: int
    differences_fen: int
    unexplained_fen: int


@dataclass(frozen=True, slots=True)
class ClearingReport:
    """In fen. opening + paid - refunded - fees - paid_out + corrected = closing. `paid` and `refunded` with what
    nothing explains yet, which is in suspense; `corrected`: reversed, written off."""

    first: date
    last: date
    opening_fen: int
    paid_fen: int
    refunded_fen: int
    fees_fen: int
    paid_out_fen: int
    corrected_fen: int
    closing_fen: int
    suspense_fen: int
    not_paid_out: list[NotPaidOut]
    at_wechat: AtWechat | None
    days_without_bill: list[date]
    open_differences: int


async def report(db: AsyncSession, actor: Actor, *, first: date, last: date) -> ClearingReport:
    """From one day to another, both included."""
    account = await _account(db, actor, WECHAT)
    opening = await _balance(db, account, first - timedelta(days=1))
    moved = (await db.execute(MOVED, {"account": account, "first": first, "last": last})).all()
    sums = _sums(moved)
    closing = opening + sum(fen for _, _, fen in moved)
    suspense = -await _balance(db, await _account(db, actor, SUSPENSE), last)
    live = D.status.in_(LIVE)
    differences = await db.scalar(select(func.count()).where(live, D.bill_date <= last, visible(actor, D)))
    return ClearingReport(
        first, last, opening, sums["paid"], sums["refunded"], sums["fees"], sums["paid_out"], sums["corrected"],
        closing, suspense, await _not_paid_out(db, account, last, closing), await _at_wechat(db, account, last),
        await _without_bill(db, actor, first, last), differences or 0,
    )  # fmt: skip


def _sums(moved: Any) -> dict[str, int]:
    sums = {"paid": 0, "refunded": 0, "fees": 0, "paid_out": 0, "corrected": 0}
    for _, kind, fen in moved:
        match kind:
            case "donation" | "unmatched" | "refund" if fen > 0:
                sums["paid"] += fen
            case "donation" | "unmatched" | "refund":
                sums["refunded"] -= fen
            case "fee":
                sums["fees"] -= fen
            case "settlement":
                sums["paid_out"] -= fen
            case _:
                sums["corrected"] += fen
    return sums


async def _account(db: AsyncSession, actor: Actor, code: str) -> int:
    query = select(LedgerAccount.id).where(LedgerAccount.code == code, visible(actor, LedgerAccount))
    return int((await db.scalars(query)).one())


async def _balance(db: AsyncSession, account: int, last: date) -> int:
    """By debit, at the end of a day: the months before it, and its own."""
    month = last.replace(day=1)
    flow = flows(month, [account])
    before = await db.scalar(
        select(func.sum(flow.c.debits - flow.c.credits)).where(flow.c.account_id == account)
    )
    moved = await db.execute(MOVED, {"account": account, "first": month, "last": last})
    return int(before or 0) + sum(int(fen) for _, _, fen in moved)


async def _not_paid_out(db: AsyncSession, account: int, last: date, closing: int) -> list[NotPaidOut]:
    """Paid out first what came first: what is left is of the latest days."""
    moved = await db.execute(MOVED, {"account": account, "first": last - BACK, "last": last})
    days: dict[date, int] = {}
    for day, kind, fen in moved:
        if kind != "settlement":
            days[day] = days.get(day, 0) + fen
    left, found = closing, []
    for day in sorted(days, reverse=True):
        if left <= 0 or days[day] <= 0:
            continue
        found.append(NotPaidOut(day, min(left, days[day])))
        left -= found[-1].fen
    return found[::-1]


async def _at_wechat(db: AsyncSession, account: int, last: date) -> AtWechat | None:
    query = (
        select(BillFile.bill_date, BillFile.balance_fen)
        .where(BillFile.bill_type == BillType.FUND_FLOW, BillFile.balance_fen.is_not(None))
        .where(BillFile.bill_date <= last)
        .order_by(BillFile.bill_date.desc())
        .limit(1)
    )
    found = (await db.execute(query)).one_or_none()
    if found is None:
        return None
    day, balance = found.bill_date, found.balance_fen or 0
    books = await _balance(db, account, day)
    about = {"account": account, "day": day}
    ahead = await db.scalar(AHEAD, {**about, "before": day - timedelta(days=1)}) or 0
    until = {"day": day, "since": day - timedelta(days=31)}
    ended = clock.midnight(day + timedelta(days=1))
    refunds, payments = (await db.execute(BEHIND, {**until, "ended": ended})).one()
    ahead += (await db.scalar(FEES_BEHIND, until) or 0) - payments
    differences = await _differences(db, day)
    unexplained = books - balance - ahead - refunds - differences
    return AtWechat(day, balance, books, ahead, refunds, differences, unexplained)


async def _differences(db: AsyncSession, day: date) -> int:
    """What the books have more by, as far as it is not in suspense, and not written off by then."""
    ended = clock.midnight(day + timedelta(days=1))
    still = D.status.in_(LIVE) | ((D.status == DifferenceStatus.WRITTEN_OFF) & (D.resolved_at >= ended))
    counted = (D.transfer_id.is_(None), D.kind != DifferenceKind.BILL, D.bill_date <= day, still)
    return int(await db.scalar(select(func.sum(D.ours_fen - D.theirs_fen)).where(*counted)) or 0)


async def _without_bill(db: AsyncSession, actor: Actor, first: date, last: date) -> list[date]:
    query = (
        select(BillFile.bill_date)
        .where(BillFile.bill_date.between(first, last), visible(actor, BillFile))
        .group_by(BillFile.bill_date)
        .having(func.count() == len(BillType))
    )
    there = set(await db.scalars(query))
    until = min(last, clock.today() - timedelta(days=1))
    days = [first + timedelta(days=n) for n in range((until - first).days + 1)]
    return [day for day in days if day not in there]
