"""People registered twice: what is suspected, what becomes of it, merges and their undoing."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    RegionCode,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import NotFound, WrongState, problems
from app.models.households import DocumentKind, Sex
from app.services.duplicates import deciding, finding, merging, merging_households, undoing
from app.services.duplicates.deciding import DecidedElsewhere
from app.services.duplicates.obstacles import MergeBlocked
from app.services.duplicates.undoing import MergeBuiltUpon
from app.services.regions import RegionOutsideOwn

router = APIRouter(tags=["重复登记 duplicates"])
Decide = Annotated[Actor, staff_may(Permission.DUPLICATE_DECIDE)]
Unite = Annotated[Actor, staff_may(Permission.PERSON_MERGE)]


class SuspectView(View):
    """Masked. The region is the county and town."""

    id: uuid.UUID
    name: str
    sex: Sex
    birth_year: int
    document_kind: DocumentKind
    document_number: str
    phone: str | None
    region_name: str | None
    household_number: int | None
    created_at: datetime


class SuspicionView(View):
    """`reasons` name what agrees, `differs` what does not; `decidable` where both are in the caller's region."""

    id: uuid.UUID
    score: int
    reasons: list[str]
    found_at: datetime
    people: list[SuspectView]
    differs: list[str]
    decidable: bool


class MergeView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e20",
        kept_person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21",
        lost_person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e22",
        kept_household_id=None,
        lost_household_id=None,
        merged_at="2026-08-01T02:00:00Z",
        undone_at=None,
    )

    id: uuid.UUID
    kept_person_id: uuid.UUID | None
    lost_person_id: uuid.UUID | None
    kept_household_id: uuid.UUID | None
    lost_household_id: uuid.UUID | None
    merged_at: datetime
    undone_at: datetime | None


class Dismissal(Body):
    model_config = example(reason="已核对两人身份证，是同名的两个人")

    reason: Note


class Confirmation(Body):
    model_config = example(
        keep="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21", reason="同一人，护照与身份证各登记一次"
    )

    keep: uuid.UUID
    reason: Note


class MergeRequest(Body):
    model_config = example(
        kind="household",
        kept_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e23",
        lost_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e24",
        reason="同一户登记了两次",
    )

    kind: Literal["person", "household"]
    kept_id: uuid.UUID
    lost_id: uuid.UUID
    reason: Note


class SearchRequest(Body):
    model_config = example(region_code="640104001000")

    region_code: RegionCode


@router.get(
    "/duplicates", summary="疑似重复人员 People who may be one", response_model=Listing[SuspicionView]
)
async def list_duplicates(db: Db, actor: Decide, page: Paging) -> dict[str, Any]:
    """One of the two at least in the caller's region; the most certain first."""
    rows = await deciding.listing(db, actor, after=page.after(int, uuid.UUID), limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["score"], row["id"]))


@router.post(
    "/duplicates/search",
    status_code=202,
    summary="查找辖区内的重复人员 Search a region",
    responses=problems(RegionOutsideOwn),
)
async def search_duplicates(db: Db, actor: Unite, body: SearchRequest) -> None:
    """Queued. Who is new is compared every hour without being asked for, and at verification at once."""
    await finding.search(db, actor, region_code=body.region_code)


@router.post(
    "/duplicates/{id}/dismiss",
    status_code=204,
    summary="不是同一人 Two people",
    responses=problems(NotFound, WrongState, DecidedElsewhere),
)
async def dismiss_duplicate(db: Db, actor: Decide, id: uuid.UUID, body: Dismissal) -> None:
    """Remembered: the pair is not suspected again."""
    await deciding.dismiss(db, actor, id=id, reason=body.reason)


@router.post(
    "/duplicates/{id}/confirm",
    status_code=201,
    summary="是同一人，合并 One person: merge",
    responses=problems(NotFound, WrongState, DecidedElsewhere, MergeBlocked),
)
async def confirm_duplicate(
    db: Db, actor: Unite, id: uuid.UUID, key: IdempotencyKey, body: Confirmation
) -> MergeView:
    """`keep` stays; all that the other has moves there, and the other's document leads there."""
    merge = await deciding.confirm(db, actor, key=key, id=id, keep=body.keep, reason=body.reason)
    return MergeView.model_validate(merge)


@router.get("/merges", summary="合并记录 Merges", response_model=Listing[MergeView])
async def list_merges(db: Db, actor: Unite, page: Paging) -> dict[str, Any]:
    """Newest first, undone ones included."""
    before = page.after_one(uuid.UUID)
    rows = await deciding.merges(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/merges",
    status_code=201,
    summary="合并两人或两户 Merge two people or households",
    responses=problems(NotFound, WrongState, MergeBlocked),
)
async def merge(db: Db, actor: Unite, key: IdempotencyKey, body: MergeRequest) -> MergeView:
    """Both in the caller's region; two households of one village. What must be settled first is in `settle`."""
    unite = merging.people if body.kind == "person" else merging_households.households
    row = await unite(db, actor, key=key, kept_id=body.kept_id, lost_id=body.lost_id, reason=body.reason)
    return MergeView.model_validate(row)


@router.post(
    "/merges/{id}/undo",
    summary="撤销合并 Undo a merge",
    responses=problems(NotFound, WrongState, DecidedElsewhere, MergeBuiltUpon),
)
async def undo_merge(db: Db, actor: Unite, id: uuid.UUID, body: Dismissal) -> MergeView:
    """Every value is again what it was. Refused where something was changed since, which `changed` names. The newest
    merge of the one who is kept goes first; all that comes back lies in the caller's region."""
    return MergeView.model_validate(await undoing.undo(db, actor, id=id, reason=body.reason))
