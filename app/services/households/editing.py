"""What a worker changes in a verified household directly: where it lives within its village."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid
from app.models.households import Household, HouseholdStatus
from app.services import audit
from app.services.households.handbook import note, people_of
from app.services.households.registration import locked


async def edit(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, address: str, purpose: str
) -> Household:
    """A new address in the same village: another village is a move, other facts are corrections that somebody
    else approves. Of two workers who edit at once, the second is shown both versions."""
    row = await locked(db, actor, id, version, HouseholdStatus.ACTIVE, yours={"address": address})
    if row.address == address:
        raise Invalid.at("/address", "与现在的地址相同", "this is the address already")
    await change_address(db, actor, row, address)
    await audit.record(
        db, actor, "edit", "household", row.id, people=await people_of(db, row), purpose=purpose
    )
    return row


async def change_address(db: AsyncSession, actor: Actor, row: Household, address: str) -> None:
    old, row.address = row.address, address
    await db.flush()  # raises the version that the answer shows
    await note(
        db, actor, row, "edited", "address", detail={"old": {"address": old}, "new": {"address": address}}
    )
