"""The planning job around `placing`: one at a time for a rotation, seen from outside while it runs."""

import uuid
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import fetch
from app.db import begin
from app.errors import Problem
from app.models.rotations import Rotation, RotationStatus, RotationTurn, RotationWork, TurnStatus
from app.services import audit
from app.services.rotations import placing
from app.services.rotations.group import years_of
from app.services.rotations.steps import PLANNER, alone


async def work(rotation_id: uuid.UUID) -> None:
    """May be repeated after a crash: it begins again from what was there before."""
    try:
        async with begin() as db:
            if not await alone(db, rotation_id):
                return
            await _set(rotation_id, work=RotationWork.RUNNING)
            rotation = await fetch(db, PLANNER, Rotation, rotation_id)
            if rotation.status is not RotationStatus.ENDED and years_of(rotation):
                await placing.arrange(db, rotation)
                await audit.record(db, PLANNER, "arrange", "rotation", rotation_id)
            await _finish(db, rotation_id)
    except Problem:
        await _set(rotation_id, work=RotationWork.FAILED)
    except Exception:
        await _set(rotation_id, work=RotationWork.FAILED)
        raise


async def _set(rotation_id: uuid.UUID, **values: Any) -> None:
    """In a transaction of its own, to be seen meanwhile. The version stays: it counts what people change."""
    async with begin() as db:
        await db.execute(update(Rotation).where(Rotation.id == rotation_id).values(values))


async def _finish(db: AsyncSession, rotation_id: uuid.UUID) -> None:
    """Whoever changed the capacities meanwhile has queued it again."""
    turns = (RotationTurn.rotation_id == rotation_id, RotationTurn.status != TurnStatus.DROPPED)
    waiting = (RotationTurn.status == TurnStatus.PLANNED) & RotationTurn.month.is_(None)
    people, unplaced = (
        await db.execute(select(func.count(), func.count().filter(waiting)).where(*turns))
    ).one()
    done = case((Rotation.work == RotationWork.RUNNING.value, RotationWork.DONE.value), else_=Rotation.work)
    await db.execute(
        update(Rotation)
        .where(Rotation.id == rotation_id)
        .values(work=done, people=people, placed=people - unplaced, planned_at=clock.now())
        .execution_options(synchronize_session=False)
    )
