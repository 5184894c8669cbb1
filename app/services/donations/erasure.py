"""What becomes of somebody's gifts in an erasure: the books stay, and nobody can tell any more whose they were."""

import uuid
from datetime import date

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch_version
from app.errors import Conflict
from app.models.donations import Donation, Pledge, PledgeStatus, ReceiptRequest, ReceiptStatus, ShownAs
from app.services import audit

S = ReceiptStatus
SAYS_WHO = ("payer_sealed", "payer_number_sealed", "reason_sealed")


class DonorAsksThemselves(Conflict):
    zh, en = "该笔捐赠属于小程序用户或捐赠单位", "This gift is of somebody with an account here, or of a body"
    do_zh, do_en = (
        "请捐赠人在小程序中申请注销；捐赠单位请修改联系人",
        "The donor asks in the mini-program; of a body, change who answers for it",
    )


async def forget_donor(db: AsyncSession, account_id: uuid.UUID) -> None:
    """All gifts of an account. What it promised and has not given is cancelled: nobody could be reminded of it."""
    await _forget(db, Donation.account_id == account_id)
    promised = update(Pledge).where(Pledge.account_id == account_id, Pledge.status == PledgeStatus.OPEN)
    await db.execute(promised.values(status=PledgeStatus.CANCELLED, version=Pledge.version + 1))


async def forget_gift(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, purpose: str) -> None:
    """Of a donor by the bank or in cash who has no account here, and asks at the office (PIPL art. 47)."""
    row = await fetch_version(db, actor, Donation, id, version)
    if row.account_id is not None or row.organization_donor_id is not None:
        raise DonorAsksThemselves
    await _forget(db, Donation.id == id)
    await audit.record(db, actor, "forget", "donation", id, purpose=purpose)


async def _forget(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Name and salt go: the commitment in the public log stays, every proof holds, and it opens to nobody. A receipt
    that was issued is an accounting document and keeps its payer; one that was not is refused."""
    forgotten = {"donor_name_sealed": None, "salt": None, "public_name": None, "shown_as": ShownAs.ANONYMOUS}
    await db.execute(update(Donation).where(which).values(version=Donation.version + 1, **forgotten))
    papers = update(ReceiptRequest).where(ReceiptRequest.donation_id.in_(select(Donation.id).where(which)))
    never_issued = papers.where(ReceiptRequest.status.in_([S.REQUESTED, S.REFUSED]))
    emptied = dict.fromkeys(SAYS_WHO)
    refused = {"status": S.REFUSED, "version": ReceiptRequest.version + 1}
    await db.execute(never_issued.values(**emptied, **refused))


async def forget_old_payers(db: AsyncSession, *, before: date) -> None:
    """Whom receipts were for, that are older than accounting documents are kept."""
    issued_on, asked_at = ReceiptRequest.issued_on, ReceiptRequest.requested_at
    never = and_(issued_on.is_(None), asked_at < clock.midnight(before))
    old = update(ReceiptRequest).where(or_(issued_on < before, never))
    says = old.where(ReceiptRequest.payer_sealed.is_not(None))
    await db.execute(says.values(version=ReceiptRequest.version + 1, **dict.fromkeys(SAYS_WHO)))
