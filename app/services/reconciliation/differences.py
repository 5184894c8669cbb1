"""The work list: what the bills and the books do not agree on, and what was done about it.

open → investigating → resolved, or written_off: proposed by one, approved by another; matched when a later bill or
notice explains it. Money in suspense leaves it in the same transaction as the step."""

import uuid
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import new_id
from app.errors import Conflict, Forbidden, Invalid, StaleVersion, Unfit, WrongState
from app.models.donations import Channel, Donation, DonationStatus, ShownAs
from app.models.funds import Fund, FundStatus
from app.models.ledger import Transfer, TransferKind
from app.models.reconciliation import (
    BillFile,
    BillLine,
    BillType,
    DifferenceKind,
    DifferenceStatus,
    LineKind,
    ReconciliationDifference,
)
from app.services import audit
from app.services.donations import naming
from app.services.ledger import accounts, posting
from app.services.ledger.posting import BANK, FEES, SUSPENSE, WECHAT, Entry, transfer_id
from app.services.plain import Body, Note, example
from app.services.proofs import leaves
from app.services.reconciliation.fetching import refuse_others

S = DifferenceStatus
LIVE = (S.OPEN, S.INVESTIGATING)
Version = Annotated[int, Field(ge=1, le=2**31)]


class OwnProposal(Forbidden, constraint="ck_reconciliation_difference_four_eyes"):
    zh, en = "不能审批本人提出的处理意见", "Nobody approves what they proposed"
    do_zh, do_en = "请由其他有审批权限的人员审批", "Let somebody else who may approve do it"


class NothingInSuspense(Conflict):
    zh, en = "该差异没有待查款项", "No money of this difference is in suspense"
    do_zh, do_en = "请说明原因，或申请核销", "Note what explains it, or propose to write it off"


class MoneyInSuspense(Conflict):
    zh, en = "该差异的款项仍在待查科目中", "The money of this difference is in suspense still"
    do_zh, do_en = "请归入基金、转为自有资金，或申请核销", "Say whose it is, or propose to write it off"


class Action(StrEnum):
    """`fund`: the money in suspense is a fund's, a gift or money that went back to a donor. `own_money`: it went
    between our bank account and our balance at WeChat. `note`: there is none, and the note explains it."""

    NOTE = "note"
    FUND = "fund"
    OWN_MONEY = "own_money"


class Seen(Body):
    model_config = example(version=1)

    version: Version


class Resolve(Body):
    model_config = example(version=2, action="note", note="已与微信支付核对，次日账单已补列")

    version: Version
    action: Action
    note: Note
    fund_id: uuid.UUID | None = None

    @model_validator(mode="after")
    def _fund(self) -> Self:
        if (self.fund_id is not None) != (self.action is Action.FUND):
            raise Unfit(
                "归入基金时须写明基金，其他情形不写", "name the fund for `fund`, and for nothing else"
            )
        return self


class Propose(Body):
    model_config = example(version=2, note="金额 0.01 元，多次核对无法查明")

    version: Version
    note: Note


@dataclass(frozen=True, slots=True)
class Line:
    """Of a bill that speaks of it."""

    bill_date: date
    bill_type: BillType
    line: int
    at: datetime
    kind: LineKind
    transaction_id: str
    out_trade_no: str
    out_refund_no: str | None
    status: str
    amount_fen: int
    fee_fen: int


async def listing(
    db: AsyncSession, actor: Actor, *, status: DifferenceStatus | None, after: uuid.UUID | None, limit: int
) -> list[ReconciliationDifference]:
    query = select(ReconciliationDifference).where(visible(actor, ReconciliationDifference))
    if status is not None:
        query = query.where(ReconciliationDifference.status == status)
    if after is not None:
        query = query.where(ReconciliationDifference.id > after)
    return list(await db.scalars(query.order_by(ReconciliationDifference.id).limit(limit)))


async def detail(
    db: AsyncSession, actor: Actor, id: uuid.UUID
) -> tuple[ReconciliationDifference, list[Line]]:
    """With what the bills say of it."""
    row = await fetch(db, actor, ReconciliationDifference, id)
    return row, await _lines(db, row.reference)


async def _lines(db: AsyncSession, about: str) -> list[Line]:
    query = (
        select(
            BillFile.bill_date, BillFile.bill_type, BillLine.line, BillLine.at, BillLine.kind,
            BillLine.transaction_id, BillLine.out_trade_no, BillLine.out_refund_no, BillLine.status,
            BillLine.amount_fen, BillLine.fee_fen,
        )
        .join(BillFile, BillFile.id == BillLine.file_id)
        .where(or_(BillLine.transaction_id == about, BillLine.out_refund_no == about))
        .order_by(BillFile.bill_date, BillLine.line)
        .limit(100)
    )  # fmt: skip
    return [Line(*row) for row in await db.execute(query)]


async def investigate(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int
) -> ReconciliationDifference:
    """Somebody looks into it."""
    row = await _held(db, actor, id, version, S.OPEN)
    row.status = S.INVESTIGATING
    return await _done(db, actor, row, "investigate")


async def resolve(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, body: Resolve
) -> ReconciliationDifference:
    """It is known what it was. Money in suspense is given to the fund it was meant for, as a gift of nobody named; what
    went out of it is taken from the fund, FundInsufficient if that has spent it."""
    row = await _held(db, actor, id, body.version, S.INVESTIGATING)
    if row.proposed_by is not None:
        raise WrongState
    waiting = await _in_suspense(db, row)
    if body.action is Action.NOTE:
        if waiting:
            raise MoneyInSuspense
    elif not waiting:
        raise NothingInSuspense
    elif body.action is Action.OWN_MONEY:
        await _out_of_suspense(db, row, BANK)
    elif body.fund_id is not None:
        await _to_fund(db, actor, row, await fetch(db, actor, Fund, body.fund_id))
    return await _end(db, actor, row, S.RESOLVED, body.note)


async def propose(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, body: Propose
) -> ReconciliationDifference:
    """To write it off, with the reason."""
    row = await _held(db, actor, id, body.version, S.INVESTIGATING)
    if row.proposed_by is not None:
        raise WrongState
    row.proposed_by, row.note = actor.account_id, body.note
    return await _done(db, actor, row, "propose")


async def decline(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> ReconciliationDifference:
    """The proposal is taken back, or not agreed to: it is looked into further."""
    row = await _held(db, actor, id, version, S.INVESTIGATING)
    if row.proposed_by is None:
        raise WrongState
    row.proposed_by = None
    return await _done(db, actor, row, "decline")


async def approve(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> ReconciliationDifference:
    """By somebody else. What it cost, or brought, is booked with the fundraising costs (5301)."""
    row = await _held(db, actor, id, version, S.INVESTIGATING)
    if row.proposed_by is None:
        raise WrongState
    if row.proposed_by == actor.account_id:
        raise OwnProposal
    if await _in_suspense(db, row):
        await _out_of_suspense(db, row, FEES)
    elif row.transfer_id is None and row.kind is not DifferenceKind.BILL:
        await _move(db, row, WECHAT, FEES, row.theirs_fen - row.ours_fen, TransferKind.FEE)
    row.approved_by = actor.account_id
    return await _end(db, actor, row, S.WRITTEN_OFF, row.note)


async def _held(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, status: DifferenceStatus
) -> ReconciliationDifference:
    refuse_others(actor)
    row = await fetch(db, actor, ReconciliationDifference, id, lock=True)
    if row.version != version:
        raise StaleVersion(current_version=row.version)
    if row.status is not status:
        raise WrongState
    return row


async def _end(
    db: AsyncSession, actor: Actor, row: ReconciliationDifference, status: DifferenceStatus, note: str | None
) -> ReconciliationDifference:
    row.status, row.note, row.resolved_at = status, note, clock.now()
    return await _done(db, actor, row, status.value)


async def _done(
    db: AsyncSession, actor: Actor, row: ReconciliationDifference, step: str
) -> ReconciliationDifference:
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, step, "reconciliation_difference", row.id)
    return row


async def _in_suspense(db: AsyncSession, row: ReconciliationDifference) -> bool:
    """Unless somebody has reversed what put it there."""
    if row.transfer_id is None:
        return False
    reversed: ColumnElement[bool] = exists().where(Transfer.reverses_id == row.transfer_id)
    return not await db.scalar(select(reversed))


async def _out_of_suspense(db: AsyncSession, row: ReconciliationDifference, to: str) -> None:
    await _move(db, row, to, SUSPENSE, -row.theirs_fen, TransferKind.MATCHED)


async def _move(
    db: AsyncSession, row: ReconciliationDifference, debit: str, credit: str, fen: int, kind: TransferKind
) -> None:
    """Less than nothing the other way round."""
    if fen < 0:
        debit, credit = credit, debit
    if fen:
        await posting.record(db, _entry(row, debit, credit, abs(fen), kind))


def _entry(
    row: ReconciliationDifference, debit: str, credit: str, fen: int, kind: TransferKind,
    commitment: bytes | None = None,
) -> Entry:  # fmt: skip
    return Entry(
        transfer_id("matched", row.id), debit, credit, fen, kind, f"reconciliation_difference/{row.id}",
        clock.today(), commitment=commitment, group=row.id,
    )  # fmt: skip


async def _to_fund(db: AsyncSession, actor: Actor, row: ReconciliationDifference, fund: Fund) -> None:
    if fund.status is not FundStatus.OPEN:
        raise Invalid.at("/fund_id", "该基金已关闭", "this fund is closed")
    income = accounts.income_code(fund)
    if row.theirs_fen < 0:
        # A new name each time: refused today, it may be taken from this fund later, or from another.
        asked = replace(_entry(row, income, SUSPENSE, -row.theirs_fen, TransferKind.MATCHED), id=new_id())
        await posting.ask(db, asked)
        return
    salt, number = leaves.new_salt(), naming.new_number()
    gift = Donation(
        id=new_id(), number=number, fund_id=fund.id, channel=Channel.WECHAT, amount_fen=row.theirs_fen,
        status=DonationStatus.RECEIVED, donated_at=await _came_at(db, row), transfer_id=transfer_id("matched", row.id),
        shown_as=ShownAs.ANONYMOUS, salt=salt, commitment=leaves.commitment(salt, number, None),
        source=row.reference, recorded_by=actor.account_id, created_at=clock.now(),
    )  # fmt: skip
    entry = _entry(row, SUSPENSE, income, row.theirs_fen, TransferKind.MATCHED, gift.commitment)
    await posting.record(db, entry)
    db.add(gift)
    await audit.record(db, actor, "record", "donation", gift.id)


async def _came_at(db: AsyncSession, row: ReconciliationDifference) -> datetime:
    query = select(BillLine.at).where(BillLine.transfer_id == row.transfer_id).limit(1)
    return await db.scalar(query) or row.created_at
