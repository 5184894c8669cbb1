"""Posting: the one way in which anything enters the ledger (app/models/sql/post_transfer.sql).

What has happened is recorded and never refused; what is wanted is asked for, and a fund that has too little refuses it
for good: the same id asked for again is refused again. A transfer's id is made from what it is about (`transfer_id`),
so that told twice, by whomever, it is posted once.
"""

import uuid
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import aside
from app.errors import Conflict, Problem
from app.models.ledger import Phase, TransferKind

#: Of the chart of accounts (民间非营利组织会计制度).
CASH, BANK, WECHAT, PLATFORM, GOODS = "1001", "1002", "100901", "100902", "1201"
SUSPENSE, NET_ASSETS, FEES = "220901", "3101", "5301"
NAMESPACE = uuid.UUID("6f1f1c8e-5c0b-5c0e-9a43-6b7d3f0a2c11")


class FundInsufficient(Conflict):
    zh, en = "该基金余额不足", "The fund does not have this much"
    do_zh, do_en = (
        "请减少金额，或待有新的捐赠后另行申请",
        "Ask for less, or apply anew when more has been given",
    )


class MonthClosed(Conflict):
    zh, en = "该月份已结账", "The books of this month are closed"
    do_zh, do_en = "请记入尚未结账的月份", "Date it into a month that is open"


class HoldResolved(Conflict):
    zh, en = "该笔冻结资金已支付或已解除", "This hold was already posted or voided"
    do_zh, do_en = "请刷新后查看处理结果", "Reload to see what became of it"


class AlreadyReversed(Conflict):
    zh, en = "该笔账务记录已冲销", "This transfer was already reversed"
    do_zh, do_en = "同一笔记录只能冲销一次，请刷新后查看", "It is reversed once only: reload to see it"


class MoreThanHeld(Conflict):
    zh, en = "金额超过已冻结的金额", "More than was held"
    do_zh, do_en = "请核对金额", "Check the amount"


class TransferMismatch(Conflict):
    """The same id was used with other content: nothing was changed."""

    zh, en = "同一编号的账务记录内容不一致", "This transfer was recorded with other content"
    do_zh, do_en = "请联系财务人员核对", "Ask the accountant to look into it"


REFUSALS: dict[str, type[Problem]] = {
    "insufficient": FundInsufficient,
    "closed_month": MonthClosed,
    "already_resolved": HoldResolved,
    "already_reversed": AlreadyReversed,
    "more_than_held": MoreThanHeld,
    "mismatch": TransferMismatch,
}
#: Kept: a retry never turns it into a payment. A closed month needs none of that. It is never opened again, so that the
#: same request is refused each time; dated into an open month it is another, under the same id too.
STICKY = "insufficient"


@dataclass(frozen=True, slots=True)
class Entry:
    """Debit and credit are account codes. `reference` is a table and an id: `disbursement/0198…`; nothing personal."""

    id: uuid.UUID
    debit: str
    credit: str
    amount: int
    kind: TransferKind
    reference: str
    effective: date
    phase: Phase = Phase.SINGLE
    group: uuid.UUID | None = None
    pending: uuid.UUID | None = None
    reverses: uuid.UUID | None = None
    commitment: bytes | None = None
    currency: str = "CNY"


POST = text(
    "SELECT post_transfer(:id, :debit, :credit, :amount, :kind, :reference, :effective, :now, :record, :phase, :group, "
    ":pending, :reverses, :commitment, :currency)"
)
REFUSE = text(
    "SELECT refuse_transfer(:id, :debit, :credit, :amount, :kind, :reference, :reason, :now, :phase, :reverses, "
    ":currency)"
)


def transfer_id(*about: object) -> uuid.UUID:
    """Of what it is about: `transfer_id("wechat", transaction_id)`. The same words give the same id."""
    return uuid.uuid5(NAMESPACE, ":".join(map(str, about)))


async def record(db: AsyncSession, entry: Entry) -> bool:
    """Money has moved already, so it is not refused; false when it was recorded before. In a closed month it is dated
    today. For a hold: `phase` post with what was paid, or void with all of it, and `pending` its id."""
    return await _post(db, entry, record=True)


async def ask(db: AsyncSession, entry: Entry) -> bool:
    """Money is to move, or to be held for it (`phase` hold): FundInsufficient, for this id for good, when the fund has
    too little, whatever is held counted as gone; MonthClosed for a day in a closed month. False when it was posted
    before. In a transaction, not in autocommit: its locks last until the refusal is kept."""
    return await _post(db, entry, record=False)


async def _post(db: AsyncSession, entry: Entry, *, record: bool) -> bool:
    given: dict[str, Any] = {**asdict(entry), "now": clock.now()}
    outcome = await db.scalar(POST, {**given, "record": record})
    if outcome == STICKY:
        async with aside() as own:
            await own.execute(REFUSE, {**given, "reason": outcome})
    if outcome in REFUSALS:
        raise REFUSALS[outcome]
    return bool(outcome == "posted")
