"""Who stands behind a gift: the person that a resident's account is bound to."""

import uuid
from collections.abc import Iterable
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Unauthenticated
from app.models.donations import Donation, Pledge
from app.models.households import Person
from app.models.identity import ERASED, ResidentAccount


async def hold(db: AsyncSession, account_id: uuid.UUID) -> bool:
    """Before a name is written under the account: an erasure waits until that is done, and takes it with it. False: it
    was first, and nothing is written any more."""
    query = select(ResidentAccount.openid).where(ResidentAccount.id == account_id)
    openid = (await db.scalars(query.with_for_update(read=True, key_share=True))).one()
    return not openid.startswith(ERASED)


async def hold_own(db: AsyncSession, actor: Actor) -> None:
    """The same, of who asks."""
    if not await hold(db, actor.account_id):
        raise Unauthenticated


async def bound_name(db: AsyncSession, account_id: uuid.UUID) -> str | None:
    query = select(Person.name).join(ResidentAccount, ResidentAccount.person_id == Person.id)
    return await db.scalar(query.where(ResidentAccount.id == account_id))


async def person_of(db: AsyncSession, given: Donation | Pledge) -> uuid.UUID | None:
    """Into whose file goes what is done with this; None for bodies, unknown donors and unbound accounts."""
    if given.account_id is None:
        return None
    return await db.scalar(select(ResidentAccount.person_id).where(ResidentAccount.id == given.account_id))


async def people_of(db: AsyncSession, gifts: Iterable[Donation]) -> dict[uuid.UUID | None, uuid.UUID | None]:
    """The same of many, by account."""
    accounts = {gift.account_id for gift in gifts if gift.account_id}
    query = select(ResidentAccount.id, ResidentAccount.person_id).where(ResidentAccount.id.in_(accounts))
    return dict((await db.execute(query)).all())


def day_of(gift: Donation) -> date:
    """In China."""
    return clock.day_of(gift.donated_at)
