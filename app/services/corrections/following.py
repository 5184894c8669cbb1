"""What is asked for goes with whom it is about."""

import uuid
from collections.abc import Collection

from sqlalchemy import Update, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.corrections import Correction, CorrectionStatus


async def follow(
    db: AsyncSession, region_code: str, *, people: Collection[uuid.UUID] = (), households: Collection[uuid.UUID] = ()
) -> None:  # fmt: skip
    """The office of the region where these people or households are counted now decides, and no other."""
    theirs = or_(Correction.person_id.in_(people), Correction.household_id.in_(households))
    moved = update(Correction).where(theirs, Correction.region_code != region_code)
    await _change(db, moved.values(region_code=region_code))


async def lapse(db: AsyncSession, person_id: uuid.UUID) -> None:
    """Nobody can decide about somebody who belongs nowhere: what is asked for is as if it had been taken back."""
    waiting = update(Correction).where(
        Correction.person_id == person_id, Correction.status == CorrectionStatus.OPEN
    )
    await _change(db, waiting.values(status=CorrectionStatus.WITHDRAWN))


async def _change(db: AsyncSession, statement: Update) -> None:
    """Whoever has an older version in hand hears that it is stale."""
    raised = statement.values(version=Correction.version + 1)
    await db.execute(raised.execution_options(synchronize_session=False))
