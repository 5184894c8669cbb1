"""What is overdue for too long is the township's concern too. It stays with the village; each deadline is told once."""

from typing import Any

from sqlalchemy import Integer, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import in_batches
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpEvent
from app.models.messages import NoticeKind
from app.services import audit
from app.services.follow_ups.events import live
from app.services.messages import Notice, tell_many

BATCH = 500


async def escalate(db: AsyncSession, actor: Actor) -> int:
    """One batch of those whose deadline has passed by as many days as their rule says. The person is asked, in neutral
    words, to get in touch."""
    due = FollowUp.due_on + FollowUp.escalate_days.cast(Integer) <= clock.today()
    again = FollowUp.escalated_for.is_distinct_from(FollowUp.due_on)
    some = select(FollowUp.id).where(live(), FollowUp.due_on < clock.today(), due, again)
    some = some.order_by(FollowUp.due_on, FollowUp.id).limit(BATCH).with_for_update(skip_locked=True)
    # The version stays: it is no change of what a worker has in hand.
    marked = update(FollowUp).where(FollowUp.id.in_(some)).values(escalated_for=FollowUp.due_on)
    marked = marked.returning(FollowUp.id, FollowUp.person_id, FollowUp.status, FollowUp.due_on)
    rows = (await db.execute(marked.execution_options(synchronize_session=False))).all()
    if not rows:
        return 0
    now, action = clock.now(), FollowUpAction.ESCALATED
    common: dict[str, Any] = {"at": now, "action": action, "actor_role": actor.role, "actor_id": actor.id}
    events = [{**common, "follow_up_id": row.id, "status": row.status} for row in rows]
    await db.execute(insert(FollowUpEvent), events)
    notices = [Notice([row.person_id], row.id, {}, once=row.due_on.isoformat()) for row in rows]
    await tell_many(db, NoticeKind.CONTACT_REQUESTED, notices, entity="follow_up")
    await audit.record(db, actor, "escalate", "follow_up", people=[row.person_id for row in rows])
    return len(rows)


async def escalate_all() -> int:
    """Every morning."""
    return await in_batches(lambda db: escalate(db, Actor.system("escalation")), BATCH)
