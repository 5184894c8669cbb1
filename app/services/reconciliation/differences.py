"""The work list: what the bills and the books do not agree on, and what was done about it.

open → investigating → resolved, or written_off: proposed by one, approved by another; refunding while the money is on
its way back to who paid it; matched when a later bill or notice explains it. Money in suspense leaves it in the same
transaction as the step."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, Forbidden, Unfit, WrongState
from app.models.funds import Fund
from app.models.ledger import TransferKind
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
from app.services.ledger.posting import BANK, FEES, WECHAT
from app.services.pages import oldest_first
from app.services.plain import Body, Note, example
from app.services.reconciliation import statements as sql
from app.services.reconciliation import suspense
from app.services.reconciliation.fetching import refuse_others
from app.services.reconciliation.suspense import NothingInSuspense

S = DifferenceStatus
LIVE = (S.OPEN, S.INVESTIGATING, S.REFUNDING)
Version = Annotated[int, Field(ge=1, le=2**31)]


class OwnProposal(Forbidden, constraint="ck_reconciliation_difference_four_eyes"):
    zh, en = "不能审批本人提出的处理意见", "Nobody approves what they proposed"
    do_zh, do_en = "请由其他有审批权限的人员审批", "Let somebody else who may approve do it"


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
    """By the day that they are of."""
    query = select(ReconciliationDifference).where(visible(actor, ReconciliationDifference))
    if status is not None:
        query = query.where(ReconciliationDifference.status == status)
    day, id = ReconciliationDifference.bill_date, ReconciliationDifference.id
    return list(await db.scalars(oldest_first(query, day, id, after, limit)))


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
    waiting = await suspense.waits(db, row)
    if body.action is Action.NOTE:
        if waiting:
            raise MoneyInSuspense
    elif not waiting:
        raise NothingInSuspense
    elif body.action is Action.OWN_MONEY:
        await suspense.to(db, row, BANK)
    elif body.fund_id is not None:
        await suspense.to_fund(db, actor, row, await fetch(db, actor, Fund, body.fund_id))
    return await _end(db, actor, row, S.RESOLVED, body.note)


async def refund(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> ReconciliationDifference:
    """All of it is to go back to who paid it: nothing else becomes of it until that has ended."""
    row = await _held(db, actor, id, version, S.INVESTIGATING)
    if row.proposed_by is not None:
        raise WrongState
    if not await suspense.waits(db, row):
        raise NothingInSuspense
    suspense.refuse_no_payment(row)
    row.status = S.REFUNDING
    return await _done(db, actor, row, "refund")


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
    if await suspense.waits(db, row):
        await suspense.to(db, row, FEES)
    elif row.transfer_id is None and row.kind is not DifferenceKind.BILL:
        await suspense.move(db, row, WECHAT, FEES, row.theirs_fen - row.ours_fen, TransferKind.FEE)
    row.approved_by = actor.account_id
    return await _end(db, actor, row, S.WRITTEN_OFF, row.note)


async def _held(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, status: DifferenceStatus
) -> ReconciliationDifference:
    refuse_others(actor)
    await db.execute(sql.ALONE)  # a comparison does not explain meanwhile what is decided here
    row = await fetch_version(db, actor, ReconciliationDifference, id, version)
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
