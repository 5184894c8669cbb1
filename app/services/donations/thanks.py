"""After a gift: thanks when it has come, and a name forgotten when it never came."""

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import in_batches
from app.models.donations import Donation, DonationStatus, ShownAs
from app.models.funds import Fund
from app.models.identity import ResidentAccount
from app.models.messages import NoticeKind
from app.services import messages
from app.services.messages import Notice
from app.services.proofs import leaves

BATCH = 500
KEPT = timedelta(days=30)


async def thank_all() -> int:
    """Every gift that has come since, once: in the donor's inbox, if a person is bound to the account."""
    return await in_batches(_thank_some, BATCH)


async def _thank_some(db: AsyncSession) -> int:
    query = (
        select(Donation.id, Donation.donated_at, Fund.zh, ResidentAccount.person_id)
        .join(Fund, Fund.id == Donation.fund_id)
        .join(ResidentAccount, ResidentAccount.id == Donation.account_id)
        .where(Donation.status == DonationStatus.RECEIVED, Donation.thanked_at.is_(None))
        .order_by(Donation.id)
        .limit(BATCH)
        .with_for_update(of=Donation, skip_locked=True)
    )
    gifts = (await db.execute(query)).all()
    notices = [
        Notice([person], id, {"service": fund, "time": at.isoformat()}) for id, at, fund, person in gifts
    ]
    await messages.tell_many(db, NoticeKind.DONATION_RECEIVED, notices, entity="donation")
    told = update(Donation).where(Donation.id.in_([gift.id for gift in gifts]))
    await db.execute(told.values(thanked_at=clock.now()).execution_options(synchronize_session=False))
    return len(gifts)


async def forget_abandoned() -> int:
    """Of gifts that were begun and never paid, after a month, nothing is kept of who it was. Nothing of them is in the
    ledger, so that what is committed to may still change; should the money come after all, nobody is named."""
    return await in_batches(_forget_some, BATCH)


async def _forget_some(db: AsyncSession) -> int:
    query = (
        select(Donation)
        .where(
            Donation.status == DonationStatus.ABANDONED, Donation.donor_name_sealed.is_not(None),
            Donation.created_at < clock.now() - KEPT,
        )
        .order_by(Donation.created_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )  # fmt: skip
    gifts = list(await db.scalars(query))
    for gift in gifts:
        assert gift.salt is not None
        gift.donor_name, gift.public_name, gift.shown_as = None, None, ShownAs.ANONYMOUS
        gift.commitment = leaves.commitment(gift.salt, gift.number, None)
    return len(gifts)
