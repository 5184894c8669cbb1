"""Places in waiting lists when two people turn out to be one."""

import uuid

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.services.duplicates.changes import Changes, put, table
from app.services.duplicates.obstacles import MergeBlocked

LIVE = ("waiting", "offered")


async def move(
    db: AsyncSession, changes: Changes, kept_id: uuid.UUID, old: uuid.UUID, new: uuid.UUID
) -> None:
    """Who waits twice in one line keeps the own place in it. An offer that is open there is answered first."""
    place = table("waitlist_entry")
    own = place.alias()
    same = and_(own.c.clinic_id == place.c.clinic_id, own.c.service_id == place.c.service_id)
    twice = exists().where(own.c.subject_id == new, own.c.status.in_(LIVE), same)
    theirs = or_(place.c.person_id == kept_id, place.c.spouse_id == kept_id)  # by index
    both = and_(theirs, place.c.subject_id == old, place.c.status.in_(LIVE), twice)
    if await db.scalar(select(place.c.id).where(both, place.c.status == "offered").limit(1)):
        raise MergeBlocked("appointments")
    await put(db, changes, place, both, status="withdrawn")
    await put(db, changes, place, and_(theirs, place.c.subject_id == old), subject_id=new)
