"""The steps of turns that change together."""

import uuid
from typing import Any

from sqlalchemy import CTE, func, insert, literal, null, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import Insert

from app import clock
from app.access import Actor
from app.models.rotations import InvitedHow, RotationStep

PLANNER = Actor.system("rotations")
#: Of a job over all turns of a rotation.
AT_LONGEST = text("SET LOCAL statement_timeout = '10min'")


async def alone(db: AsyncSession, rotation_id: uuid.UUID) -> bool:
    """Whether no other job changes many turns of this rotation now: two would wait for each other's rows."""
    lock = func.pg_try_advisory_xact_lock(func.hashtextextended(str(rotation_id), 0))
    return bool(await db.scalar(select(lock)))


def note(turns: CTE, *, actor: Actor = PLANNER, reason: Any = None, how: InvitedHow | None = None) -> Insert:
    """A step for each row of an UPDATE … RETURNING id, status."""
    columns = ["turn_id", "at", "status", "reason", "how", "actor_role", "actor_id"]
    rows = select(
        turns.c.id, literal(clock.now()), turns.c.status, null() if reason is None else reason,
        null() if how is None else literal(how.value), literal(str(actor.role)),
        null() if actor.id is None else literal(actor.id),
    )  # fmt: skip
    return insert(RotationStep).from_select(columns, rows)
