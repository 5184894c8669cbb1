"""What becomes of follow-ups when a family changes."""

import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.follow_ups import FollowUp
from app.services.follow_ups.derivation import event_of
from app.services.follow_ups.work import LIVE


async def live_of(db: AsyncSession, person_id: uuid.UUID) -> list[FollowUp]:
    """What is still to be done for somebody, locked."""
    query = select(FollowUp).where(FollowUp.person_id == person_id, FollowUp.status.in_(LIVE))
    rows = await db.scalars(query.order_by(FollowUp.kind, FollowUp.id).with_for_update())
    return list(rows)


def restate(db: AsyncSession, actor: Actor, rows: Collection[FollowUp]) -> None:
    """The steps of follow-ups whose status has changed with their person's life."""
    db.add_all(event_of(actor, row) for row in rows)
