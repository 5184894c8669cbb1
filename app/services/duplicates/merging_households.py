"""Two households that are one: members, categories and requests move, the other is closed and points to the kept."""

import uuid

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch
from app.errors import Invalid, WrongState
from app.models.duplicates import Merge
from app.models.households import Household, HouseholdStatus, Membership, Relation
from app.services import idempotency
from app.services.duplicates import obstacles
from app.services.duplicates.changes import Changes, put
from app.services.duplicates.merging import (
    HOUSEHOLD,
    MEMBERSHIP,
    end_categories,
    raise_versions,
    references,
    write,
)
from app.services.duplicates.obstacles import MergeBlocked
from app.services.households import belonging, family_types
from app.services.households.handbook import note
from app.services.idempotency import Key


async def households(
    db: AsyncSession, actor: Actor, *, key: Key, kept_id: uuid.UUID, lost_id: uuid.UUID, reason: str
) -> Merge:
    """Both of one village: who lives elsewhere is moved first. The other's members come without a relation
    to the head; who is in both twice is two people still, to be merged next. The handbook of the kept one shows both.
    """
    if kept_id == lost_id:
        raise Invalid.at("/lost_id", "不能与自身合并", "the same household")
    if await idempotency.claim(db, actor, key):
        kept, lost = await _hold(db, actor, kept_id, lost_id)
        if found := await obstacles.of_households(db, kept, lost):
            raise MergeBlocked(*found)
        changes: Changes = []
        await _one_head(db, changes, kept_id, lost_id)
        await end_categories(db, changes, "household_id", kept_id, lost_id)
        await references(db, changes, "household", kept_id, lost_id)
        closed = {"status": HouseholdStatus.CLOSED, "merged_into": kept_id}
        await put(db, changes, HOUSEHOLD, HOUSEHOLD.c.id == lost_id, **closed)
        await write(db, actor, key, changes, reason, kept_household_id=kept_id, lost_household_id=lost_id)
        await raise_versions(db, kept, lost)
        await family_types.settle(db, [kept_id])
        for row in (kept, lost):
            await note(db, actor, row, "household_merged")
    return await fetch(db, actor, Merge, key.id)


async def _hold(
    db: AsyncSession, actor: Actor, kept_id: uuid.UUID, lost_id: uuid.UUID
) -> tuple[Household, Household]:
    """Both and their members. NotFound where one is not the actor's to see."""
    for id in sorted((kept_id, lost_id)):
        await fetch(db, actor, Household, id)
    rows = await belonging.lock(db, [kept_id, lost_id])
    for row in rows.values():
        if row.status is not HouseholdStatus.ACTIVE:
            raise WrongState(status_now=row.status)
    for id in sorted(rows):
        await belonging.members(db, rows[id])
    return rows[kept_id], rows[lost_id]


async def _one_head(db: AsyncSession, changes: Changes, kept_id: uuid.UUID, lost_id: uuid.UUID) -> None:
    """Whose spouse or child somebody was, was said of the other's head: of this one it has to be said anew."""
    heads = select(Membership.id).where(
        Membership.household_id == kept_id,
        Membership.relation == Relation.HEAD,
        Membership.valid_to.is_(None),
    )
    if await db.scalar(heads) is None:
        return
    column = MEMBERSHIP.c
    theirs = and_(column.household_id == lost_id, column.valid_to.is_(None))
    await put(db, changes, MEMBERSHIP, theirs, relation=Relation.OTHER)
