"""What becomes of somebody's gifts in an erasure: the books stay, and nobody can tell any more whose they were."""

import uuid

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.donations import Donation, ReceiptRequest, ReceiptStatus, ShownAs


async def forget_donor(db: AsyncSession, account_id: uuid.UUID) -> None:
    """Name and salt go: the commitment in the public log stays, every proof holds, and it opens to nobody. A receipt
    that was issued is an accounting document and keeps its payer; one that was not is refused."""
    await db.execute(
        update(Donation)
        .where(Donation.account_id == account_id)
        .values(
            donor_name_sealed=None, salt=None, public_name=None, shown_as=ShownAs.ANONYMOUS,
            version=Donation.version + 1,
        )
    )  # fmt: skip
    gifts = select(Donation.id).where(Donation.account_id == account_id)
    papers = update(ReceiptRequest).where(ReceiptRequest.donation_id.in_(gifts))
    never_issued = ReceiptRequest.status.in_([ReceiptStatus.REQUESTED, ReceiptStatus.REFUSED])
    await db.execute(
        papers.where(never_issued).values(
            payer_sealed=None, payer_number_sealed=None, reason=None, status=ReceiptStatus.REFUSED,
            version=ReceiptRequest.version + 1,
        )
    )  # fmt: skip
