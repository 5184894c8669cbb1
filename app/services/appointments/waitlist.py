"""Waiting lists: a place that comes free goes to the first in line whom it suits."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor


async def offer_free(db: AsyncSession, actor: Actor, slot_id: uuid.UUID) -> int:
    """Hold each free place of an open slot for the next waiter that it suits; returns how many were offered."""
    return 0
