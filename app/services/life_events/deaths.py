"""Somebody died: everything of that person ends, and nobody is asked for anything any more."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.follow_ups import FollowUpStatus
from app.models.households import Category, Household, Membership, Person
from app.services import eligibility, identity
from app.services.appointments import families as appointments
from app.services.follow_ups import families as follow_ups
from app.services.households import belonging
from app.services.households.belonging import Steps, change
from app.services.life_events import couples
from app.services.life_events.events import Death, require_not_before


async def die(
    db: AsyncSession, actor: Actor, row: Household, event: Death, person: Person, membership: Membership,
    steps: Steps,
) -> None:  # fmt: skip
    """Membership, marriage and categories end on that day; appointments to come are called off, follow-ups dropped,
    the account is bound no more. The dead are counted nowhere. A household without a head gets a new one."""
    require_not_before("/event/happened_on", event.happened_on, person.birth_date)
    day = event.happened_on
    change(steps, person, "died_on", day)
    person.region_code = None
    former = membership.relation
    belonging.leave(steps, membership, day)
    # Also what was booked as a couple: all appointments are locked before the first slot is.
    await appointments.call_off_of_person(db, actor, person.id, reason="death")
    if couple := await belonging.couple_of(db, person.id):
        await couples.end(db, actor, couple, max(day, couple.valid_from), steps, reason="death")
    held = select(Category).where(Category.person_id == person.id, Category.valid_to.is_(None))
    for category in await db.scalars(held.with_for_update()):
        change(steps, category, "valid_to", max(day, category.valid_from))
    await eligibility.lapse(db, [person.id])
    await _drop_follow_ups(db, actor, person, steps)
    await identity.release(db, actor, person)
    await belonging.settle_head(db, row, event.head_id, former, steps)


async def _drop_follow_ups(db: AsyncSession, actor: Actor, person: Person, steps: Steps) -> None:
    rows = await follow_ups.live_of(db, person.id)
    for row in rows:
        change(steps, row, "status", FollowUpStatus.OBSOLETE)
    follow_ups.restate(db, actor, rows)
