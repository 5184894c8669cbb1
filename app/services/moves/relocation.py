"""The rows change: in one transaction a family, or who of it leaves, lives elsewhere and is counted there."""

import uuid
from collections.abc import Collection, Mapping
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Conflict, Invalid
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from app.models.moves import Move
from app.services import eligibility, regions
from app.services.corrections import following as corrections
from app.services.households import belonging, family_types
from app.services.households.handbook import note
from app.services.moves.following import follow

People = Mapping[uuid.UUID, tuple[Person, Membership]]
Relations = Mapping[uuid.UUID, Relation]


class MoveOutdated(Conflict):
    zh, en = "该家庭的情况已变化", "The household has changed since this move was proposed"
    do_zh, do_en = (
        "请撤回后按现在的成员和住址重新办理",
        "Withdraw it and propose it anew from what is there now",
    )


def route(move: Move) -> str:
    """The names of the regions as they were then."""
    return f"{move.from_region_name} → {move.to_region_name}"


def movers_of(move: Move) -> dict[uuid.UUID, Relation]:
    return {uuid.UUID(one["person_id"]): Relation(one["relation"]) for one in move.members}


def heir(people: People, leaving: Collection[uuid.UUID], head_id: uuid.UUID | None) -> uuid.UUID | None:
    """Where the head goes, who of those who stay heads the household. Where the head stays nobody else becomes it."""
    staying = people.keys() - set(leaving)
    if head_id is not None and head_id not in staying:
        raise Invalid.at("/head_id", "不是留下的成员", "not one of those who stay")
    if not any(people[id][1].relation is Relation.HEAD for id in people.keys() & set(leaving)):
        return None
    if head_id is None and len(staying) > 1:
        raise belonging.NewHeadNeeded
    return head_id


async def relocate(db: AsyncSession, actor: Actor, move: Move) -> None:
    """As the accepted move says, or MoveOutdated when what it was proposed from is no longer so."""
    rows = await belonging.lock(db, filter(None, (move.household_id, move.to_household_id)))
    row = target = rows[move.household_id]
    if row.status is not HouseholdStatus.ACTIVE or row.region_code != move.from_region_code:
        raise MoveOutdated
    people, named = await belonging.members(db, row), movers_of(move)
    if not named.keys() <= people.keys():
        raise MoveOutdated
    try:
        await regions.require(db, {"/to_region_code": move.to_region_code})
        head_id = heir(people, named or people, move.head_id)
    except (Invalid, belonging.NewHeadNeeded):
        raise MoveOutdated from None
    if named:
        target = await _target(db, actor, move, rows)
        await part(
            db, actor, row, target, people, named, on=move.moved_on, head_id=head_id, text=route(move)
        )  # fmt: skip
        for id in named:
            await note(
                db, actor, target, "member_joined", route(move), person_id=id, happened_on=move.moved_on
            )  # fmt: skip
    else:
        await _all(db, actor, move, row, people)
    await family_types.settle(db, [row.id, target.id])


async def _all(db: AsyncSession, actor: Actor, move: Move, row: Household, people: People) -> None:
    before, row.address = row.address, move.address
    row.region_code, row.local_number = move.to_region_code, None  # that was the other village's own
    for person, _ in people.values():
        person.region_code = row.region_code
    await follow(db, people, row.region_code)
    await corrections.follow(db, row.region_code, households=[row.id])
    await eligibility.lapse(db, people)
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
    row = await found(db, actor, move.to_region_code, HouseholdStatus.ACTIVE, move.address)
    move.to_household_id = row.id
    return row


async def found(
    db: AsyncSession, actor: Actor, region_code: str, status: HouseholdStatus, address: str | None
) -> Household:
    """A new household of people who are registered already."""
    now = clock.now()
    row = Household(
        id=new_id(),
        region_code=region_code,
        status=status,
        verified_at=now,
        verified_by=actor.id,
        created_at=now,
    )
    row.address = address
    db.add(row)
    await db.flush()  # memberships and moves refer to it
    return row


async def part(
    db: AsyncSession, actor: Actor, row: Household, target: Household, people: People, named: Relations,
    *, on: date, head_id: uuid.UUID | None, text: str | None,
) -> None:  # fmt: skip
    """These members leave a household and belong to another; one of those who stay heads it, or it is closed."""
    steps: belonging.Steps = []
    leaving = {id: people[id] for id in named}
    head_left = any(membership.relation is Relation.HEAD for _, membership in leaving.values())
    days = {id: belonging.leave(steps, membership, on) for id, (_, membership) in leaving.items()}
    await db.flush()  # one active membership each: the old one ends first
    for id, relation in (await _as_married(db, target, named)).items():
        belonging.join(db, target, leaving[id][0], relation, days[id])
    await belonging.settle_head(db, row, head_id, Relation.HEAD if head_left else None, steps)
    if target.status is HouseholdStatus.ACTIVE:
        await follow(db, leaving, target.region_code)
    await eligibility.lapse(db, leaving)
    for household in (row, target):
        belonging.touch(household)
    for id in leaving:
        await note(db, actor, row, "member_left", text, person_id=id, happened_on=on)
    if row.status is HouseholdStatus.CLOSED:
        await note(db, actor, row, "closed")


async def _as_married(db: AsyncSession, target: Household, named: Relations) -> dict[uuid.UUID, Relation]:
    """Spouse of the head there is who is married to the head now, and nobody else: a marriage may have ended while the
    move waited."""
    heads = select(Membership.person_id).where(
        Membership.household_id == target.id, Membership.valid_to.is_(None),
        Membership.relation == Relation.HEAD,
    )  # fmt: skip
    coming = (id for id, relation in named.items() if relation is Relation.HEAD)
    head_id = next(coming, None) or await db.scalar(heads)
    spouse_id = head_id and await belonging.spouse_of(db, head_id)
    unmarried = {id: Relation.OTHER if one is Relation.SPOUSE else one for id, one in named.items()}
    return unmarried | {id: Relation.SPOUSE for id in named if id == spouse_id}
