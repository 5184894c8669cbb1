"""Taking a follow-up on and saying what came of it."""

import uuid
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import Invalid, StaleVersion, WrongState
from app.models.follow_ups import FollowUp, FollowUpStatus
from app.services import audit
from app.services.follow_ups.derivation import event_of
from app.services.follow_ups.outcomes import Outcome

LIVE = (FollowUpStatus.OPEN, FollowUpStatus.IN_PROGRESS)


class NotLive(WrongState):
    zh, en = "该随访已办结或已作废", "This follow-up is done or obsolete"


class AlreadyStarted(WrongState):
    zh, en = "该随访已开始", "This follow-up has already been started"


async def start(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    """Somebody takes it on; from now on only people decide about it."""
    row = await _hold(db, actor, follow_up_id, version)
    if row.status is not FollowUpStatus.OPEN:
        raise AlreadyStarted if row.status is FollowUpStatus.IN_PROGRESS else NotLive
    row.status = FollowUpStatus.IN_PROGRESS
    await _record(db, actor, row, "start")
    return row


async def complete(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, outcome: Outcome
) -> FollowUp:
    """The verdict of the worker who did it. It stands whatever the hospital sends later."""
    row = await _hold(db, actor, follow_up_id, version)
    if row.status not in LIVE:
        raise NotLive
    if outcome.kind is not row.kind:
        raise Invalid.at("/outcome/kind", "与随访类型不符", f"this is a {row.kind} follow-up")
    _not_in_future(outcome)
    row.status, row.outcome = FollowUpStatus.DONE, outcome.model_dump(mode="json", exclude_none=True)
    row.completed_by, row.completed_at = actor.account_id, clock.now()
    await _record(db, actor, row, "complete")
    return row


async def _hold(db: AsyncSession, actor: Actor, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    row = await fetch(db, actor, FollowUp, follow_up_id, lock=True)
    if row.version != version:
        raise StaleVersion
    return row


def _not_in_future(outcome: Outcome) -> None:
    for name in ("held_on", "seen_on", "last_menstrual_period", "delivered_on"):
        day = getattr(outcome, name, None)
        if day is not None and not date(2000, 1, 1) <= day <= clock.today():
            raise Invalid.at(f"/outcome/{name}", "日期应在 2000 年之后且不晚于今天", "between 2000 and today")


async def _record(db: AsyncSession, actor: Actor, row: FollowUp, action: str) -> None:
    await db.flush()  # raises the version that the answer shows
    db.add(event_of(actor, row))
    await audit.record(db, actor, action, "follow_up", row.id, people=[row.person_id])
