"""Moves between villages, out of the association's region and back; who is registered here and lives elsewhere."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.citizen.households import HouseholdSummary
from app.api.deps import (
    Day,
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    RegionCode,
    Text,
    Versioned,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.moves import MoveStatus
from app.services import moves, regions
from app.services.households import belonging
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["迁移 moves"])
Hand = Annotated[Actor, staff_may(Permission.HOUSEHOLD_MOVE)]
Search = Annotated[Actor, staff_may(Permission.REGISTRY_SEARCH)]


class AcceptMove(Versioned):
    """`head_id` where a head leaves others behind, by the village that they stay in; `to_household_id` to join an own
    household, with the relation of each of those who come."""

    model_config = example(version=1)

    head_id: uuid.UUID | None = None
    to_household_id: uuid.UUID | None = None
    members: Annotated[list[moves.Mover], Field(max_length=20)] = []


class DeclineMove(Versioned):
    model_config = example(version=1, reason="该户未在本村居住")

    reason: Note


class MoveOut(Versioned):
    model_config = example(version=3, left_on="2026-08-15", to_region_code="110101000000")

    left_on: Day
    to_region_code: RegionCode | None = None
    members: Annotated[
        list[moves.Mover],
        Field(max_length=20, description="Only these, as a household of their own; else the whole household"),
    ] = []
    head_id: Annotated[
        uuid.UUID | None, Field(description="When the head goes: the new head of those who stay")
    ] = None


class ComeBack(Versioned):
    model_config = example(version=4, returned_on="2026-11-01")

    returned_on: Day
    address: Annotated[str, Text(200)] | None = None


BEGUN = (
    Invalid,
    NotFound,
    StaleVersion,
    WrongState,
    moves.MoveUnderWay,
    moves.MoveOutdated,
    belonging.NewHeadNeeded,
    IdempotencyKeyReused,
    IdempotencyKeyTaken,
)
DECIDED = (Invalid, NotFound, StaleVersion, WrongState, moves.OtherSideDecides)


@router.post("/moves", status_code=201, summary="移交迁移 Hand over who moves", responses=problems(*BEGUN))
async def propose_move(db: Db, actor: Hand, key: IdempotencyKey, body: moves.ProposeMove) -> moves.MoveRow:
    """By the village that is left. Done at once where both villages are the worker's own, else once it is accepted."""
    return await moves.view(db, actor, await moves.propose(db, actor, key=key, plan=body))


@router.post(
    "/moves/requests",
    status_code=201,
    summary="申请接收迁入 Ask for who has arrived",
    responses=problems(*BEGUN, regions.RegionOutsideOwn, moves.NotFoundByDocument),
)
async def ask_for_move(db: Db, actor: Hand, key: IdempotencyKey, body: moves.AskForMove) -> moves.MoveRow:
    """By the village where somebody has arrived, with name and document. The other one accepts."""
    return await moves.view(db, actor, await moves.ask(db, actor, key=key, plan=body))


@router.get("/moves", summary="迁移列表 Moves from and to the region", response_model=Listing[moves.MoveRow])
async def list_moves(db: Db, actor: Hand, page: Paging, status: MoveStatus | None = None) -> dict[str, Any]:
    """Newest first; the head's name is masked."""
    before = page.after_one(uuid.UUID)
    rows = await moves.listing(db, actor, status=status, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/moves/{id}/accept",
    summary="接收迁移 Accept a move",
    responses=problems(*DECIDED, moves.MoveOutdated, belonging.NewHeadNeeded, belonging.Deceased),
)
async def accept_move(db: Db, actor: Hand, id: uuid.UUID, body: AcceptMove) -> moves.MoveRow:
    """By the other side. Household, people and what is still to be done for them change hands now."""
    move = await moves.accept(
        db,
        actor,
        id=id,
        version=body.version,
        head_id=body.head_id,
        to_household_id=body.to_household_id,
        members=body.members,
    )
    return await moves.view(db, actor, move)


@router.post("/moves/{id}/decline", summary="退回迁移 Decline a move", responses=problems(*DECIDED))
async def decline_move(db: Db, actor: Hand, id: uuid.UUID, body: DeclineMove) -> moves.MoveRow:
    """By the other side, with the reason."""
    move = await moves.decline(db, actor, id=id, version=body.version, reason=body.reason)
    return await moves.view(db, actor, move)


@router.post("/moves/{id}/withdraw", summary="撤回迁移 Withdraw a move", responses=problems(*DECIDED))
async def withdraw_move(db: Db, actor: Hand, id: uuid.UUID, body: Versioned) -> moves.MoveRow:
    """By the side that began it."""
    move = await moves.withdraw(db, actor, id=id, version=body.version)
    return await moves.view(db, actor, move)


@router.post(
    "/households/{id}/move-out",
    summary="迁出本会辖区 Moved out of the association's region",
    responses=problems(Invalid, NotFound, StaleVersion, WrongState, belonging.NewHeadNeeded),
)
async def move_out(db: Db, actor: Hand, id: uuid.UUID, body: MoveOut) -> HouseholdSummary:
    """Kept with all its members, who are counted nowhere here until they come back. Answers with the household that
    lives outside: of those named, a new one."""
    row = await moves.move_out(
        db,
        actor,
        id=id,
        version=body.version,
        left_on=body.left_on,
        to_region_code=body.to_region_code,
        members=body.members,
        head_id=body.head_id,
    )
    return HouseholdSummary.model_validate(row)


@router.post(
    "/households/{id}/come-back",
    summary="迁回本会辖区 Came back",
    responses=problems(Invalid, NotFound, StaleVersion, WrongState),
)
async def come_back(db: Db, actor: Hand, id: uuid.UUID, body: ComeBack) -> HouseholdSummary:
    """To the village that they left; from there they may move on."""
    row = await moves.come_back(
        db,
        actor,
        id=id,
        version=body.version,
        returned_on=body.returned_on,
        address=body.address,
    )
    return HouseholdSummary.model_validate(row)


@router.get(
    "/people-away",
    summary="户籍在本地、居住在外县的人员 Registered here, living in another county",
    response_model=Listing[moves.PersonAway],
)
async def people_away(db: Db, actor: Search, page: Paging) -> dict[str, Any]:
    """Masked names and the county where they live: they are counted and looked after there."""
    rows = await moves.people_away(db, actor, after=page.after(str, uuid.UUID), limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.hukou_region_code, row.id))
