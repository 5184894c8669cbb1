"""What becomes of follow-ups when a family changes."""

import uuid
from collections.abc import Collection
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpKind
from app.services.follow_ups.events import event_of, live
from app.services.follow_ups.rules import issued_on, rules_of
from app.services.follow_ups.work import report_of
from app.services.households.belonging import Steps, change


async def live_of(db: AsyncSession, person_id: uuid.UUID) -> list[FollowUp]:
    """What is still to be done for somebody, locked."""
    query = select(FollowUp).where(FollowUp.person_id == person_id, live())
    rows = await db.scalars(query.order_by(FollowUp.kind, FollowUp.id).with_for_update())
    return list(rows)


def restate(db: AsyncSession, actor: Actor, rows: Collection[FollowUp]) -> None:
    """The steps of follow-ups that have changed with their person's life."""
    db.add_all(event_of(actor, row) for row in dict.fromkeys(rows))


async def born(
    db: AsyncSession, actor: Actor, members: Collection[uuid.UUID], on: date, steps: Steps
) -> None:
    """A child was born to a household: the visit about the outcome of the one pregnancy that is followed there is due
    so many days after the birth, whenever that was expected. A birth before the report was issued, and only recorded
    now, is none of it."""
    query = select(FollowUp).where(
        FollowUp.person_id.in_(members), FollowUp.kind == FollowUpKind.OUTCOME, live()
    )
    rows = list(await db.scalars(query.order_by(FollowUp.id).with_for_update()))
    if len({row.person_id for row in rows}) != 1:
        return
    for row in rows:
        report = await report_of(db, row)
        rule = (await rules_of(db, report)).of(row.kind, row.topic)
        if rule is None or rule.after_birth_days is None or on < issued_on(report):
            continue
        change(steps, row, "born_on", on)
        change(steps, row, "due_on", on + timedelta(days=rule.after_birth_days))
        db.add(event_of(actor, row, FollowUpAction.MOVED, happened_on=on))
