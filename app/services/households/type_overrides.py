"""A worker decides a household's family type otherwise than the rule, and takes it back."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import WrongState
from app.models.households import FamilyType, Household, HouseholdStatus
from app.services.households import family_types
from app.services.households.handbook import note
from app.services.households.registration import locked


async def override(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, family_type: FamilyType, reason: str
) -> Household:
    """The worker knows better than the rule, and says why. It holds until it is taken back."""
    row = await locked(
        db, actor, id, version, HouseholdStatus.ACTIVE, yours={"family_type": family_type.value}
    )
    detail = {"old": row.family_type, "new": family_type, "reason": reason}
    row.family_type, row.family_type_overridden_by = family_type, actor.account_id
    row.family_type_reason = reason
    await db.flush()  # raises the version that the answer shows
    await note(db, actor, row, "family_type_overridden", family_type, detail=detail)
    return row


async def clear(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Household:
    """The rule decides again."""
    row = await locked(db, actor, id, version, HouseholdStatus.ACTIVE)
    if row.family_type_overridden_by is None:
        raise WrongState
    row.family_type_overridden_by = row.family_type_reason = None
    await db.flush()  # raises the version that the answer shows
    await note(db, actor, row, "family_type_by_rule")
    await family_types.settle(db, [row.id])
    return row
