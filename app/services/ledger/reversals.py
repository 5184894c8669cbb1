"""Corrections of the ledger: a transfer is reversed, once, and entered anew as it should be."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Conflict, WrongState
from app.models.donations import Donation
from app.models.ledger import LedgerAccount, Phase, Reversal, ReversalReason, Transfer, TransferKind
from app.models.reconciliation import DifferenceStatus, ReconciliationDifference
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.ledger import posting
from app.services.ledger.flows import MOVED
from app.services.ledger.posting import Entry, transfer_id
from app.services.reconciliation import suspense

D, K = ReconciliationDifference, TransferKind
#: What a record of its own stands behind: its own step reverses it, so that the two never differ.
ELSEWHERE = (K.DONATION, K.IN_KIND, K.REFUND, K.DISBURSEMENT, K.DELIVERY, K.LEFTOVER)
#: Of a difference whose money is in suspense still.
UNSETTLED = (DifferenceStatus.OPEN, DifferenceStatus.INVESTIGATING)


class ReversedElsewhere(Conflict):
    zh, en = "该笔记录对应捐赠、退款、支出或已处理的差异", "A gift or another record stands behind this"
    do_zh, do_en = "请在对应的记录中更正", "Correct that one: the ledger follows"


async def correct(
    db: AsyncSession, actor: Actor, *, key: Key, transfer_id: uuid.UUID, reason: ReversalReason
) -> Transfer:
    """By hand: what was posted of fees, payouts or money in suspense. ReversedElsewhere for the rest."""
    row = await fetch(db, actor, Transfer, transfer_id)
    if row.kind in ELSEWHERE or await _explained(db, row):
        raise ReversedElsewhere
    if await idempotency.claim(db, actor, key):
        return await reverse(db, actor, attempt=key.id, transfer_id=transfer_id, reason=reason)
    query = select(Transfer).where(Transfer.id == _id(transfer_id, key.id), visible(actor, Transfer))
    return (await db.scalars(query)).one()


async def _explained(db: AsyncSession, row: Transfer) -> bool:
    """Money that has left suspense again, or is leaving it, is not taken out of it a second time; a gift that it became
    is corrected as one. The difference is locked: whoever settles it meanwhile comes before or after."""
    if row.kind is K.MATCHED:
        return bool(await db.scalar(select(Donation.id).where(Donation.transfer_id == row.id)))
    differences = select(D.status).where(D.transfer_id == row.id).order_by(D.id).with_for_update()
    return any(status not in UNSETTLED for status in await db.scalars(differences))


def _id(reversed_id: uuid.UUID, attempt: uuid.UUID) -> uuid.UUID:
    return transfer_id("reverse", reversed_id, attempt)


async def reverse(
    db: AsyncSession, actor: Actor, *, attempt: uuid.UUID, transfer_id: uuid.UUID, reason: ReversalReason
) -> Transfer:
    """The same amount back, dated today, with who and why. FundInsufficient where the fund has spent it meanwhile;
    AlreadyReversed the second time; WrongState for a hold, a reversal, or the closing of a year. A refused `attempt`
    stays refused; another may succeed. The difference that it was booked for is looked into again."""
    row = await fetch(db, actor, Transfer, transfer_id)
    if row.phase not in MOVED or row.kind in (K.REVERSAL, K.CLOSING):
        raise WrongState
    codes = select(LedgerAccount.id, LedgerAccount.code).where(
        LedgerAccount.id.in_([row.debit_account_id, row.credit_account_id])
    )
    code: dict[int, str] = dict((await db.execute(codes)).all())
    id = _id(row.id, attempt)
    posted = await posting.ask(db, Entry(
        id, code[row.credit_account_id], code[row.debit_account_id], row.amount_fen, K.REVERSAL, row.reference,
        clock.today(), Phase.SINGLE, group=row.group_id, reverses=row.id, currency=row.currency,
    ))  # fmt: skip
    if posted:
        made = {"reason": reason, "reversed_by": actor.account_id, "reversed_at": clock.now()}
        db.add(Reversal(id=id, transfer_id=row.id, **made))
        await audit.record(db, actor, "reverse", "transfer", row.id, purpose=reason)
        if row.group_id is not None:
            await suspense.open_again(db, actor, row.group_id)
    return await fetch(db, actor, Transfer, id)
