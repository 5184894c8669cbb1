"""What becomes of whom money went to: the books keep it as long as they must, and no longer."""

import uuid
from datetime import date

from sqlalchemy import exists, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.disbursements import Disbursement, DisbursementEvent, DisbursementStatus

S = DisbursementStatus
#: Nothing was paid, and nothing will be.
ENDED = (S.REJECTED, S.VOIDED, S.EXPIRED)
#: Somebody waits for it.
UNDER_WAY = (S.DRAFT, S.SUBMITTED, S.APPROVED)
GONE = {"payee_sealed": None, "bank_account_sealed": None, "version": Disbursement.version + 1}


async def forget_payee(db: AsyncSession, person_id: uuid.UUID) -> None:
    """Who is erased: a payment that was made keeps the name it was made to, and leads to no file any more; one that
    never was says no name."""
    theirs = update(Disbursement).where(Disbursement.person_id == person_id)
    await db.execute(
        theirs.where(Disbursement.status.in_(ENDED), Disbursement.paid_by.is_(None)).values(GONE)
    )
    await db.execute(theirs.values(person_id=None, version=Disbursement.version + 1))


async def forget_old_payees(db: AsyncSession, *, before: date) -> None:
    """Of payments of which the last step is older than accounting documents are kept, of people and of bodies."""
    since, step = clock.midnight(before), DisbursementEvent
    later = exists().where(step.disbursement_id == Disbursement.id, step.at >= since)
    says = or_(Disbursement.payee_sealed.is_not(None), Disbursement.bank_account_sealed.is_not(None))
    ended = Disbursement.status.not_in(UNDER_WAY)
    old = update(Disbursement).where(Disbursement.created_at < since, says, ended, ~later)
    await db.execute(old.values(GONE))
