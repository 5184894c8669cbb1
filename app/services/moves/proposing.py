"""A move is proposed by one village and decided by the other; where both are one's own, it happens at once."""

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, Invalid, NotFound, WrongState
from app.models.households import Household, HouseholdStatus, Person
from app.models.moves import Move, MoveSide, MoveStatus
from app.services import documents, idempotency, regions
from app.services.households import belonging
from app.services.households.handbook import note
from app.services.households.registration import locked
from app.services.idempotency import Key
from app.services.moves.plans import (
    AskForMove,
    Mover,
    OtherSideDecides,
    Plan,
    ProposeMove,
    check,
    require_one_head,
)
from app.services.moves.relocation import People, heir, movers_of, relocate, route


class NotFoundByDocument(Conflict):
    zh, en = "没有与该姓名和证件一致的在册人员", "Nobody is registered with this name and document"
    do_zh, do_en = (
        "请核对姓名和证件；尚未登记的请登记家庭",
        "Check both; who is not registered yet registers a household",
    )


async def propose(db: AsyncSession, actor: Actor, *, key: Key, plan: ProposeMove) -> Move:
    """By the village that the family leaves; the other accepts it."""
    if await idempotency.claim(db, actor, key):
        await _lock_visible(db, actor, plan.household_id, plan.to_household_id)
        row = await locked(db, actor, plan.household_id, plan.version, HouseholdStatus.ACTIVE)
        await begin(
            db, actor, row, plan, plan.members, id=key.id, head_id=plan.head_id, side=MoveSide.RELEASING
        )  # fmt: skip
    return await fetch(db, actor, Move, key.id)


async def ask(db: AsyncSession, actor: Actor, *, key: Key, plan: AskForMove) -> Move:
    """By the village where somebody has arrived, for the household of the person with this name and document."""
    if not regions.reaches(actor, plan.to_region_code):
        raise regions.RegionOutsideOwn
    if await idempotency.claim(db, actor, key):
        person_id = await find(db, plan)
        if plan.to_household_id is not None:
            await fetch(db, actor, Household, plan.to_household_id)
        rows = await belonging.lock_homes(db, [person_id], filter(None, [plan.to_household_id]))
        home = await belonging.home_of(db, person_id)
        row = rows.get(home) if home else None
        if row is None or row.status is not HouseholdStatus.ACTIVE:
            raise NotFoundByDocument
        movers = [Mover(person_id=person_id, relation=plan.relation)] if plan.alone else []
        await begin(db, actor, row, plan, movers, id=key.id, side=MoveSide.RECEIVING)
    return await fetch(db, actor, Move, key.id)


async def _lock_visible(db: AsyncSession, actor: Actor, *ids: uuid.UUID | None) -> None:
    """In one order, so that two moves crosswise cannot deadlock; nothing that the actor cannot see."""
    named = [id for id in ids if id is not None]
    for id in named:
        await fetch(db, actor, Household, id)
    await belonging.lock(db, named)


async def find(db: AsyncSession, plan: AskForMove) -> uuid.UUID:
    """Both name and document must fit: neither alone tells anything."""
    document = documents.read(plan.document_kind, plan.document_number)
    who = func.coalesce(Person.merged_into, Person.id)
    query = select(who).where(Person.document_index == document.index, Person.name == plan.name)
    found = await db.scalar(query)
    if found is None:
        raise NotFoundByDocument
    return found


async def begin(
    db: AsyncSession, actor: Actor, row: Household, plan: Plan, movers: Sequence[Mover], *, id: uuid.UUID,
    side: MoveSide, head_id: uuid.UUID | None = None,
) -> Move:  # fmt: skip
    """The household is locked. Named members belong to it; a household to join is visible to who names it. Who heads
    those that stay is said by the village that they stay in: beginning it, or accepting it."""
    await check(db, plan, movers, from_code=row.region_code)
    people = await require_members(db, row, movers)
    releases = regions.reaches(actor, row.region_code)
    head_id = heir(people, {one.person_id for one in movers} or people, head_id) if releases else None
    if plan.to_household_id is not None:
        await _require_home(db, actor, plan.to_household_id, plan.to_region_code, row.id)
    here, there = await regions.get(db, row.region_code), await regions.get(db, plan.to_region_code)
    move = Move(
        id=id, household_id=row.id, members=[mover.model_dump(mode="json") for mover in movers],
        to_household_id=plan.to_household_id, head_id=head_id, from_region_code=here.code,
        from_region_name=here.name, to_region_code=there.code, to_region_name=there.name,
        moved_on=plan.moved_on, status=MoveStatus.PROPOSED, begun_by=side, proposed_by=actor.id,
        created_at=clock.now(),
    )  # fmt: skip
    move.address = plan.address
    db.add(move)
    await db.flush()  # another one under way is refused here
    if releases and regions.reaches(actor, there.code):
        await _finish(db, actor, move)
    else:
        await note(db, actor, row, "move_proposed", route(move), happened_on=move.moved_on)
    return move


async def require_members(db: AsyncSession, row: Household, movers: Sequence[Mover]) -> People:
    """All who belong to the household, those named among them."""
    known = await belonging.members(db, row)
    if any(mover.person_id not in known for mover in movers):
        raise Invalid.at("/members", "不是该家庭的成员", "not a member of this household")
    return known


async def _require_home(
    db: AsyncSession, actor: Actor, id: uuid.UUID, region_code: str, own_id: uuid.UUID
) -> None:
    there = await fetch(db, actor, Household, id)
    if there.id == own_id or there.region_code != region_code or there.status is not HouseholdStatus.ACTIVE:
        raise Invalid.at(
            "/to_household_id", "不是该村（社区）的在册家庭", "not another household of that village"
        )


async def _finish(db: AsyncSession, actor: Actor, move: Move) -> None:
    await relocate(db, actor, move)
    move.status, move.decided_at, move.decided_by = MoveStatus.ACCEPTED, clock.now(), actor.id
    await db.flush()  # raises the version that the answer shows


async def _waiting(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, joined_id: uuid.UUID | None = None
) -> Move:
    """Locked after its households, in the order of whoever proposes the next one: neither waits for the other."""
    query = select(Move.household_id, Move.to_household_id).where(Move.id == id, visible(actor, Move))
    homes = (await db.execute(query)).one_or_none()
    if homes is None:
        raise NotFound
    if joined_id is not None:
        await fetch(db, actor, Household, joined_id)
    await belonging.lock(db, filter(None, (*homes, joined_id)))
    move = await fetch_version(db, actor, Move, id, version)
    if move.status is not MoveStatus.PROPOSED:
        raise WrongState(status_now=move.status)
    return move


def _require_side(actor: Actor, move: Move, side: MoveSide) -> None:
    code = move.from_region_code if side is MoveSide.RELEASING else move.to_region_code
    if not regions.reaches(actor, code):
        raise OtherSideDecides


def _other(side: MoveSide) -> MoveSide:
    return MoveSide.RECEIVING if side is MoveSide.RELEASING else MoveSide.RELEASING


async def accept(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, head_id: uuid.UUID | None = None,
    to_household_id: uuid.UUID | None = None, members: Sequence[Mover] = (),
) -> Move:  # fmt: skip
    """By the other side; household, people and what is still to be done for them change hands now. The receiving
    village may say which household of its own they join, the releasing one who heads those that stay."""
    move = await _waiting(db, actor, id, version, to_household_id)
    _require_side(actor, move, _other(move.begun_by))
    if to_household_id is not None:
        await _join(db, actor, move, to_household_id, members)
    if regions.reaches(actor, move.from_region_code):
        await _name_head(db, move, head_id or move.head_id)
    elif head_id is not None:
        why = "留下成员的户主由迁出方指定", "the village that they leave says who heads those that stay"
        raise Invalid.at("/head_id", *why)
    await _finish(db, actor, move)
    return move


async def _name_head(db: AsyncSession, move: Move, head_id: uuid.UUID | None) -> None:
    row = await db.get_one(Household, move.household_id)
    people = await belonging.members(db, row)
    move.head_id = heir(people, movers_of(move) or people, head_id)


async def _join(
    db: AsyncSession, actor: Actor, move: Move, to_household_id: uuid.UUID, members: Sequence[Mover]
) -> None:
    require_one_head(members, founding=False)
    if not members or {str(one.person_id) for one in members} != {one["person_id"] for one in move.members}:
        why = (
            "请为每位迁入成员填写与户主的关系",
            "give the relation of each of those who move, and of nobody else",
        )
        raise Invalid.at("/members", *why)
    await _require_home(db, actor, to_household_id, move.to_region_code, move.household_id)
    move.to_household_id = to_household_id
    move.members = [one.model_dump(mode="json") for one in members]


async def decline(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str) -> Move:
    """By the other side, with the reason."""
    move = await _waiting(db, actor, id, version)
    _require_side(actor, move, _other(move.begun_by))
    move.reason = reason
    return await _drop(db, actor, move, MoveStatus.DECLINED, {"reason": reason})


async def withdraw(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Move:
    """By the side that began it."""
    move = await _waiting(db, actor, id, version)
    _require_side(actor, move, move.begun_by)
    return await _drop(db, actor, move, MoveStatus.WITHDRAWN, None)


async def _drop(
    db: AsyncSession, actor: Actor, move: Move, status: MoveStatus, detail: dict[str, str] | None
) -> Move:
    """Nothing has changed but the move; the address of where nobody moved is not kept."""
    move.status, move.decided_at, move.decided_by, move.address = status, clock.now(), actor.id, None
    row = (await db.scalars(select(Household).where(Household.id == move.household_id))).one()
    kind = "move_declined" if status is MoveStatus.DECLINED else "move_withdrawn"
    await note(db, actor, row, kind, route(move), detail=detail)
    await db.flush()  # raises the version that the answer shows
    return move
