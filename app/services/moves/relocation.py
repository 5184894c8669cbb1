"""The rows change: in one transaction a family, or who of it leaves, lives elsewhere and is counted there."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Conflict
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from app.models.moves import Move
from app.services import eligibility
from app.services.appointments import families as appointments
from app.services.follow_ups import families as follow_ups
from app.services.households import belonging
from app.services.households.handbook import note
from app.services.results import families as results

People = Mapping[uuid.UUID, tuple[Person, Membership]]


class MoveOutdated(Conflict):
    zh, en = "该家庭的情况已变化", "The household has changed since this move was proposed"
    do_zh, do_en = (
        "请撤回后按现在的成员和住址重新办理",
        "Withdraw it and propose it anew from what is there now",
    )


def route(move: Move) -> str:
    """The names of the regions as they were then."""
    return f"{move.from_region_name} → {move.to_region_name}"


async def relocate(db: AsyncSession, actor: Actor, move: Move) -> None:
    """As the accepted move says, or MoveOutdated when who is to move is no longer there."""
    rows = await belonging.lock(db, filter(None, (move.household_id, move.to_household_id)))
    row = rows[move.household_id]
    if row.status is not HouseholdStatus.ACTIVE or row.region_code != move.from_region_code:
        raise MoveOutdated
    people = await belonging.members(db, row)
    if move.members:
        named = {uuid.UUID(one["person_id"]): Relation(one["relation"]) for one in move.members}
        if not named.keys() <= people.keys():
            raise MoveOutdated
        target = await _target(db, actor, move, rows)
        await _some(db, actor, move, {id: people[id] for id in named}, named, row, target)
    else:
        await _all(db, actor, move, row, people)


async def _all(db: AsyncSession, actor: Actor, move: Move, row: Household, people: People) -> None:
    before, row.address = row.address, move.address
    row.region_code, row.local_number = move.to_region_code, None  # that was the other village's own
    for person, _ in people.values():
        person.region_code = row.region_code
    await _hand_over(db, people, row.region_code)
    detail = {"old": before, "new": row.address}
    await note(db, actor, row, "moved", route(move), happened_on=move.moved_on, detail=detail)


async def _target(
    db: AsyncSession, actor: Actor, move: Move, rows: Mapping[uuid.UUID, Household]
) -> Household:
    """The household to join, or a new one."""
    if move.to_household_id is not None:
        there = rows[move.to_household_id]
        if there.status is not HouseholdStatus.ACTIVE or there.region_code != move.to_region_code:
            raise MoveOutdated
        return there
    now = clock.now()
    row = Household(
        id=new_id(), region_code=move.to_region_code, status=HouseholdStatus.ACTIVE, verified_at=now,
        verified_by=actor.id, created_at=now,
    )  # fmt: skip
    row.address = move.address
    db.add(row)
    await db.flush()  # the move and the memberships refer to it
    move.to_household_id = row.id
    return row


async def _some(
    db: AsyncSession, actor: Actor, move: Move, leaving: People, named: Mapping[uuid.UUID, Relation],
    row: Household, target: Household,
) -> None:  # fmt: skip
    steps: belonging.Steps = []
    head_left = any(membership.relation is Relation.HEAD for _, membership in leaving.values())
    days = {id: belonging.leave(steps, membership, move.moved_on) for id, (_, membership) in leaving.items()}
    await db.flush()  # one active membership each: the old one ends first
    for id, (person, _) in leaving.items():
        belonging.join(db, target, person, named[id], days[id])
    await belonging.settle_head(db, row, move.head_id, Relation.HEAD if head_left else None, steps)
    await _hand_over(db, leaving, target.region_code)
    for household, kind in ((row, "member_left"), (target, "member_joined")):
        belonging.touch(household)
        for id in leaving:
            await _note(db, actor, household, kind, move, id)
    if row.status is HouseholdStatus.CLOSED:
        await note(db, actor, row, "closed")


async def _note(
    db: AsyncSession, actor: Actor, row: Household, kind: str, move: Move, person_id: uuid.UUID
) -> None:
    await note(db, actor, row, kind, route(move), person_id=person_id, happened_on=move.moved_on)


async def _hand_over(db: AsyncSession, people: Collection[Any], region_code: str) -> None:
    """What is still to be done goes with the people."""
    await appointments.hand_over(db, people, region_code)
    await follow_ups.hand_over(db, people, region_code)
    await results.hand_over(db, people, region_code)
    await eligibility.lapse(db, people)
