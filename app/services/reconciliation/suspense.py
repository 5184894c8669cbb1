"""Money in suspense: whose it turns out to be, and what becomes of it. A difference says where it came from."""

import uuid
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Conflict, Invalid
from app.models.donations import Channel, Donation, DonationStatus, ShownAs
from app.models.funds import Fund, FundStatus
from app.models.ledger import Transfer, TransferKind
from app.models.reconciliation import BillLine, DifferenceKind, DifferenceStatus, ReconciliationDifference
from app.services import audit
from app.services.donations import naming
from app.services.ledger import accounts, posting
from app.services.ledger.posting import SUSPENSE, WECHAT, Entry, transfer_id
from app.services.proofs import leaves

D, S = ReconciliationDifference, DifferenceStatus


class NothingInSuspense(Conflict):
    zh, en = "该差异没有待查款项", "No money of this difference is in suspense"
    do_zh, do_en = "请说明原因，或申请核销", "Note what explains it, or propose to write it off"


class NotAPayment(Conflict):
    """A gift by the bank or in cash; money that was topped up, moved, or went out."""

    zh, en = "该款项不是微信支付收款，无法原路退款", "It came by no payment of WeChat Pay"
    do_zh, do_en = (
        "请按原渠道退还；捐赠请冲销登记，待查款项请说明归属",
        "Pay it back the way it came; reverse the gift, or say whose the money in suspense is",
    )


async def waits(db: AsyncSession, row: ReconciliationDifference) -> bool:
    """Unless somebody has reversed what put it there."""
    if row.transfer_id is None:
        return False
    reversed: ColumnElement[bool] = exists().where(Transfer.reverses_id == row.transfer_id)
    return not await db.scalar(select(reversed))


def refuse_no_payment(row: ReconciliationDifference) -> None:
    if row.kind is DifferenceKind.UNEXPLAINED or row.theirs_fen < 0:
        raise NotAPayment


async def move(
    db: AsyncSession, row: ReconciliationDifference, debit: str, credit: str, fen: int, kind: TransferKind
) -> None:
    """Less than nothing the other way round."""
    if fen < 0:
        debit, credit = credit, debit
    if fen:
        await posting.record(db, _entry(row, debit, credit, abs(fen), kind))


async def to(db: AsyncSession, row: ReconciliationDifference, account: str) -> None:
    await move(db, row, account, SUSPENSE, -row.theirs_fen, TransferKind.MATCHED)


def _entry(
    row: ReconciliationDifference, debit: str, credit: str, fen: int, kind: TransferKind,
    commitment: bytes | None = None,
) -> Entry:  # fmt: skip
    # With the version: what was reversed may leave suspense once more.
    id = transfer_id("matched", row.id, row.version)
    about = f"reconciliation_difference/{row.id}"
    return Entry(id, debit, credit, fen, kind, about, clock.today(), commitment=commitment, group=row.id)


async def to_fund(db: AsyncSession, actor: Actor, row: ReconciliationDifference, fund: Fund) -> None:
    """A gift of nobody named; what went out is taken from the fund, FundInsufficient if that has spent it."""
    if fund.status is not FundStatus.OPEN:
        raise Invalid.at("/fund_id", "该基金已关闭", "this fund is closed")
    income = accounts.income_code(fund)
    if row.theirs_fen < 0:
        # A new name each time: refused today, it may be taken from this fund later, or from another.
        asked = replace(_entry(row, income, SUSPENSE, -row.theirs_fen, TransferKind.MATCHED), id=new_id())
        await posting.ask(db, asked)
        return
    salt, number = leaves.new_salt(), naming.new_number()
    commitment = leaves.commitment(salt, number, None)
    entry = _entry(row, SUSPENSE, income, row.theirs_fen, TransferKind.MATCHED, commitment)
    gift = Donation(
        id=new_id(), number=number, fund_id=fund.id, channel=Channel.WECHAT, amount_fen=row.theirs_fen,
        status=DonationStatus.RECEIVED, donated_at=await _came_at(db, row), transfer_id=entry.id,
        shown_as=ShownAs.ANONYMOUS, salt=salt, commitment=commitment, source=row.reference,
        recorded_by=actor.account_id, created_at=clock.now(),
    )  # fmt: skip
    await posting.record(db, entry)
    db.add(gift)
    await audit.record(db, actor, "record", "donation", gift.id)


async def _came_at(db: AsyncSession, row: ReconciliationDifference) -> datetime:
    query = select(BillLine.at).where(BillLine.transfer_id == row.transfer_id).limit(1)
    return await db.scalar(query) or row.created_at


async def behind(db: AsyncSession, gift: Donation) -> ReconciliationDifference | None:
    """Out of whose money in suspense the gift was made, if it was."""
    query = (
        select(ReconciliationDifference)
        .join(Transfer, Transfer.group_id == ReconciliationDifference.id)
        .where(Transfer.id == gift.transfer_id, Transfer.kind == TransferKind.MATCHED)
    )
    return await db.scalar(query)


async def refund_ended(db: AsyncSession, actor: Actor, id: uuid.UUID, *, gone: bool) -> None:
    """Back to who paid it; or in suspense as before, and somebody looks into it."""
    await _now(db, actor, id, S.RESOLVED if gone else S.INVESTIGATING, S.REFUNDING)


async def open_again(db: AsyncSession, actor: Actor, id: uuid.UUID) -> None:
    """What had been booked of it was reversed."""
    await _now(db, actor, id, S.INVESTIGATING, S.MATCHED, S.RESOLVED, S.WRITTEN_OFF)


async def never_left(db: AsyncSession, actor: Actor, id: uuid.UUID) -> None:
    """A refund not made here, that WeChat has closed: what it took is at WeChat again."""
    row = await _now(db, actor, id, S.MATCHED, S.OPEN, S.INVESTIGATING)
    if row is not None and await waits(db, row):
        await to(db, row, WECHAT)


async def _now(
    db: AsyncSession, actor: Actor, id: uuid.UUID, status: DifferenceStatus, *since: DifferenceStatus
) -> ReconciliationDifference | None:
    row = await db.scalar(
        update(D)
        .where(D.id == id, D.status.in_(since))
        .values(
            status=status, resolved_at=None if status is S.INVESTIGATING else clock.now(), proposed_by=None,
            approved_by=None, version=D.version + 1,
        )
        .returning(D)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    if row is not None:
        await audit.record(db, actor, status.value, "reconciliation_difference", id)
    return row
