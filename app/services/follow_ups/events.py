"""The steps of follow-ups: one held for a step, and the event that stays of it."""

from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import WrongState
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpEvent, FollowUpNote, FollowUpStatus
from app.services import audit
from app.services.results.foetal_sex import FoetalSexRefused, states_foetal_sex

LIVE = (FollowUpStatus.OPEN, FollowUpStatus.IN_PROGRESS)


class NotLive(WrongState):
    zh, en = "该随访已办结或已作废", "This follow-up is done or obsolete"


def having(*statuses: FollowUpStatus) -> ColumnElement[bool]:
    """Written out, so that the indexes of a part of the table serve."""
    return FollowUp.status.in_(bindparam("statuses", statuses, expanding=True, literal_execute=True))


def live() -> ColumnElement[bool]:
    return having(*LIVE)


def event_of(
    actor: Actor, row: FollowUp, action: FollowUpAction = FollowUpAction.CHANGED, *,
    happened_on: date | None = None, contacted_on: date | None = None, note_id: UUID | None = None,
) -> FollowUpEvent:  # fmt: skip
    stepped = action is FollowUpAction.STEPPED
    assigned = action in (FollowUpAction.ASSIGNED, FollowUpAction.HANDED_OVER)
    return FollowUpEvent(
        follow_up_id=row.id, at=clock.now(), status=row.status, action=action, step=row.step if stepped else None,
        happened_on=happened_on, contacted_on=contacted_on, assignee_id=row.assignee_id if assigned else None,
        note_id=note_id, actor_role=actor.role, actor_id=actor.id,
    )  # fmt: skip


def refuse_foetal_sex(at: str, **written: str | None) -> None:
    for name, words in written.items():
        if words and states_foetal_sex(words):
            raise FoetalSexRefused.at(f"{at}/{name}", "不得出现胎儿性别", "states the foetal sex")


async def write(db: AsyncSession, row: FollowUp, *, place: str | None, note: str | None) -> UUID | None:
    """What somebody wrote, apart from the step that it belongs to."""
    if place is None and note is None:
        return None
    written = FollowUpNote(id=new_id(), follow_up_id=row.id)
    written.place, written.note = place, note
    db.add(written)
    await db.flush()  # the step refers to it
    return written.id


async def record(
    db: AsyncSession, actor: Actor, row: FollowUp, action: FollowUpAction, verb: str, *,
    happened_on: date | None = None, contacted_on: date | None = None, note_id: UUID | None = None,
) -> None:  # fmt: skip
    await db.flush()  # raises the version that the answer shows
    more = {"happened_on": happened_on, "contacted_on": contacted_on}
    db.add(event_of(actor, row, action, note_id=note_id, **more))
    await audit.record(db, actor, verb, "follow_up", row.id, people=[row.person_id])
