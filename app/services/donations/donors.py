"""Who stands behind a gift: the person that a resident's account is bound to."""

import uuid
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.donations import Donation
from app.models.households import Person
from app.models.identity import ResidentAccount


async def bound_name(db: AsyncSession, account_id: uuid.UUID) -> str | None:
    query = select(Person.name).join(ResidentAccount, ResidentAccount.person_id == Person.id)
    return await db.scalar(query.where(ResidentAccount.id == account_id))


async def person_of(db: AsyncSession, gift: Donation) -> uuid.UUID | None:
    """Whose file reading this gift goes into; None for bodies, unknown donors and unbound accounts."""
    return await db.scalar(select(ResidentAccount.person_id).where(ResidentAccount.id == gift.account_id))


def day_of(gift: Donation) -> date:
    """In China."""
    return gift.donated_at.astimezone(clock.SHANGHAI).date()
