"""The steps of a disbursement: it moves only along STEPS, each by one UPDATE … WHERE status IN (…), under the eyes of
three people: who submits does not approve, and neither of them pays."""

import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version
from app.db import begin, new_id
from app.errors import Conflict, Forbidden, Invalid, WrongState
from app.models.disbursements import Disbursement, DisbursementEvent, DisbursementStatus
from app.models.funds import BudgetLine, Fund, FundStatus
from app.models.ledger import Phase, ReversalReason, TransferKind
from app.services import audit, idempotency
from app.services.disbursements import limits
from app.services.funds.funds import FundClosed
from app.services.idempotency import Key
from app.services.ledger import accounts, posting, reversals
from app.services.ledger.posting import Entry

S = DisbursementStatus
STEPS: dict[S, frozenset[S]] = {
    S.SUBMITTED: frozenset({S.DRAFT}),
    S.REJECTED: frozenset({S.SUBMITTED}),
    S.APPROVED: frozenset({S.SUBMITTED}),
    S.PAID: frozenset({S.APPROVED}),
    S.ACKNOWLEDGED: frozenset({S.PAID}),
    S.VOIDED: frozenset({S.APPROVED, S.PAID}),
    S.EXPIRED: frozenset({S.APPROVED}),
}
#: An approval that is not paid by then gives the money back to the fund.
VALID = timedelta(days=60)
EXPIRY = Actor.system("expiry")


class OwnDisbursement(Forbidden, constraint="ck_disbursement_submitter_approver"):
    zh, en = "不能审批本人经办的支出", "Nobody decides about what they drafted, changed, submitted or paid"
    do_zh, do_en = "请由其他有审批权限的人员审批", "Let somebody else who may approve do it"


class PayerDecided(Forbidden, constraint="ck_disbursement_payer"):
    zh, en = "提交人、审批人不能办理付款", "Who submitted or approved does not pay"
    do_zh, do_en = "请由其他财务人员付款", "Let another accountant pay"


class BudgetExceeded(Conflict):
    """`left_fen`: what is left of the budget line."""

    zh, en = "超出预算项目余额", "More than is left of the budget line"
    do_zh, do_en = "请减少金额，或由管理员调整预算", "Ask for less, or have the budget changed"


class BudgetYearOver(Conflict):
    zh, en = "预算项目不属于本年度", "The budget line is not of this year"
    do_zh, do_en = "请驳回后按本年度预算项目重新申请", "Reject it and draft anew under a line of this year"


class InBankFile(WrongState):
    zh, en = "该笔支出在银行付款文件中，尚无结果", "It is in a file with the bank, which has not answered"
    do_zh, do_en = "请先上传银行结果，或撤销该付款文件", "Upload the bank's answer, or cancel the file first"


async def submit(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Disbursement:
    """A draft is complete and goes to whoever approves."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    await _payable_from(db, row)
    return await step(db, actor, row, S.SUBMITTED, submitted_by=actor.account_id)


async def reject(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str) -> Disbursement:
    """With what is wrong. It stays on record; a corrected one is a new draft."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    return await step(db, actor, row, S.REJECTED, reason)


async def approve(db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, version: int) -> Disbursement:
    """Within the role's limit, the budget line and the fund: the money is held until it is paid or set free. A refusal
    leaves it submitted, and stands for this key; when more has been given, a new key is a new attempt."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Disbursement, id)
    row = await fetch_version(db, actor, Disbursement, id, version)
    await _require_others(db, actor, row)
    await limits.require(db, actor, row)
    fund = await _payable_from(db, row)
    hold, expires = posting.transfer_id("hold", "disbursement", row.id, key.id), clock.now() + VALID
    decided: dict[str, Any] = {"approved_by": actor.account_id, "hold_id": hold, "expires_at": expires}
    row = await step(db, actor, row, S.APPROVED, **decided)
    await _commit(db, row, row.amount_fen)
    await posting.ask(db, _entry(row, fund, hold, Phase.HOLD, row.amount_fen, clock.today()))
    return row


async def pay(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, paid_fen: int | None = None,
    paid_on: date | None = None, reason: str | None = None,
) -> Disbursement:  # fmt: skip
    """The bank has paid, all or less: what is left of the hold returns to fund and budget."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    if actor.id in (row.submitted_by, row.approved_by):
        raise PayerDecided
    _outside_bank_files(row)
    paid, on = row.amount_fen if paid_fen is None else paid_fen, paid_on or clock.today()
    if not 0 < paid <= row.amount_fen:
        raise Invalid.at("/paid_fen", "应大于 0 且不超过批准金额", "more than 0 and no more than approved")
    _require_since_asked(row, on, "/paid_on")
    row = await step(db, actor, row, S.PAID, reason, paid_by=actor.account_id, paid_fen=paid)
    if paid < row.amount_fen:  # the budget before the books, as everywhere
        await _commit(db, row, paid - row.amount_fen)
    await _resolve(db, row, Phase.POST, paid, on)
    return row


async def void(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str) -> Disbursement:
    """Not to be paid after all, or paid and sent back by the bank: the money is free again. That it came back is
    decided as an approval is, and not by who paid."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    if row.status is S.PAID:
        return await _take_back(db, actor, row, reason)
    _outside_bank_files(row)
    return await _release(db, actor, row, S.VOIDED, reason)


async def _take_back(db: AsyncSession, actor: Actor, row: Disbursement, reason: str) -> Disbursement:
    await _require_others(db, actor, row)
    await limits.require(db, actor, row)
    assert row.hold_id is not None
    assert row.paid_fen is not None
    posted, paid = posting.transfer_id("post", row.hold_id), row.paid_fen
    row = await step(db, actor, row, S.VOIDED, reason, paid_fen=None)
    await _commit(db, row, -paid)
    await reversals.reverse(db, actor, attempt=row.id, transfer_id=posted, reason=ReversalReason.RETURNED)
    return row


async def acknowledge(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, on: date, note: str
) -> Disbursement:
    """The payee has confirmed by signature that it came."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    _require_since_asked(row, on, "/acknowledged_on")
    return await step(db, actor, row, S.ACKNOWLEDGED, note, acknowledged_on=on)


def since_asked(row: Disbursement, on: date) -> bool:
    return clock.day_of(row.created_at) <= on <= clock.today()


def _require_since_asked(row: Disbursement, on: date, pointer: str) -> None:
    if not since_asked(row, on):
        raise Invalid.at(
            pointer, "应在申请之后且不晚于今天", "not before it was asked for, nor in the future"
        )


async def expire_due() -> int:
    """Approved long ago and not paid. Each in a transaction of its own: whoever else holds two of them waits for none.
    Where a bank may be paying, nothing expires."""
    due = (
        select(Disbursement)
        .where(
            Disbursement.status == S.APPROVED, Disbursement.expires_at <= clock.now(),
            Disbursement.bank_file_id.is_(None),
        )
        .order_by(Disbursement.expires_at)
        .limit(1)
    )  # fmt: skip
    done = 0
    while True:
        async with begin() as db:
            row = await db.scalar(due.with_for_update(skip_locked=True))
            if row is None:
                return done
            await _release(db, EXPIRY, row, S.EXPIRED, None)
        done += 1


async def _release(
    db: AsyncSession, actor: Actor, row: Disbursement, to: S, reason: str | None
) -> Disbursement:
    """Hold and budget are given back."""
    row = await step(db, actor, row, to, reason)
    await _commit(db, row, -row.amount_fen)
    await _resolve(db, row, Phase.VOID, row.amount_fen, clock.today())
    return row


async def step(
    db: AsyncSession, actor: Actor, row: Disbursement, to: S, reason: str | None = None, **values: Any
) -> Disbursement:
    """One step along STEPS, with its event. Of two at once one finds the state changed."""
    changed = await db.scalar(
        update(Disbursement)
        .where(
            Disbursement.id == row.id, Disbursement.version == row.version, Disbursement.status.in_(STEPS[to])
        )
        .values(status=to, version=Disbursement.version + 1, **values)
        .returning(Disbursement)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    if changed is None:
        raise WrongState(status_now=row.status)
    await tell(db, actor, to, [changed], reason)
    await audit.record(db, actor, to.value, "disbursement", changed.id, people=[changed.person_id])
    return changed


async def tell(
    db: AsyncSession, actor: Actor, status: S, rows: Sequence[Disbursement], reason: str | None = None, *,
    reasons: Sequence[str] = (), bank_file_id: uuid.UUID | None = None,
) -> None:  # fmt: skip
    """An event of each, with one reason for all or one for each."""
    each: Sequence[str | None] = reasons or [reason] * len(rows)
    for row, own in zip(rows, each, strict=True):
        event = DisbursementEvent(id=new_id(), disbursement_id=row.id, at=clock.now(), status=status)
        event.actor_role, event.actor_id, event.bank_file_id = actor.role, actor.id, bank_file_id
        event.reason = own
        db.add(event)
    await db.flush()


def had_a_hand(actor: Actor) -> ColumnElement[bool]:
    """This actor drafted a disbursement, changed the draft, submitted or paid it."""
    return exists().where(
        DisbursementEvent.disbursement_id == Disbursement.id, DisbursementEvent.actor_id == actor.id,
        DisbursementEvent.status.in_([S.DRAFT, S.SUBMITTED, S.PAID]),
    )  # fmt: skip


async def _require_others(db: AsyncSession, actor: Actor, row: Disbursement) -> None:
    if await db.scalar(select(Disbursement.id).where(Disbursement.id == row.id, had_a_hand(actor))):
        raise OwnDisbursement


def _outside_bank_files(row: Disbursement) -> None:
    if row.status is S.APPROVED and row.bank_file_id is not None:
        raise InBankFile


async def _payable_from(db: AsyncSession, row: Disbursement) -> Fund:
    """Its fund, which is open; of its line the year has not passed."""
    fund = await db.get_one(Fund, row.fund_id)
    if fund.status is FundStatus.CLOSED:
        raise FundClosed
    line = await db.get_one(BudgetLine, row.budget_line_id)
    if line.year != clock.today().year:
        raise BudgetYearOver
    return fund


async def _commit(db: AsyncSession, row: Disbursement, more: int) -> None:
    """What is approved or paid counts against the line. Locked after the disbursement and before the fund."""
    line = await db.scalar(
        update(BudgetLine)
        .where(
            BudgetLine.id == row.budget_line_id,
            BudgetLine.committed_fen + more <= BudgetLine.amount_fen,
        )
        .values(committed_fen=BudgetLine.committed_fen + more)
        .returning(BudgetLine.id)
        .execution_options(synchronize_session=False)
    )
    if line is None:
        left = select(BudgetLine.amount_fen - BudgetLine.committed_fen)
        raise BudgetExceeded(left_fen=await db.scalar(left.where(BudgetLine.id == row.budget_line_id)))


async def _resolve(db: AsyncSession, row: Disbursement, phase: Phase, amount: int, on: date) -> None:
    assert row.hold_id is not None
    fund = await db.get_one(Fund, row.fund_id)
    id = posting.transfer_id(phase.value, row.hold_id)
    await posting.record(db, _entry(row, fund, id, phase, amount, on, pending=row.hold_id))


def _entry(
    row: Disbursement, fund: Fund, id: uuid.UUID, phase: Phase, amount: int, on: date, pending: uuid.UUID | None = None
) -> Entry:  # fmt: skip
    return Entry(
        id, debit=accounts.cost_code(fund), credit=posting.BANK, amount=amount, kind=TransferKind.DISBURSEMENT,
        reference=f"disbursement/{row.id}", effective=on, phase=phase, pending=pending,
    )  # fmt: skip
