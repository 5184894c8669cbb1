"""Villages and changes of boundaries: stated by the administrator, households of a split assigned by their workers."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Day,
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    RegionCode,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import NotFound, WrongState, problems
from app.models.households import HouseholdStatus
from app.models.regions import SuccessionKind
from app.services import regions
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["行政区划 regions"])
Manage = Annotated[Actor, staff_may(Permission.REGION_MANAGE)]
Move = Annotated[Actor, staff_may(Permission.HOUSEHOLD_MOVE)]
SHOWN = 200


async def _csv(request: Request) -> bytes:
    return await request.body()


Csv = Annotated[bytes, Depends(_csv)]
CSV_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string", "maxLength": 1_000_000, "description": "UTF-8 or GB18030"}
            }
        },
    }
}
DryRun = Annotated[bool, Query(description="Look only; false changes")]


class RegionChange(View):
    code: str
    name: str
    old_name: str | None


class RegionImport(View):
    """Of many changes the first 200 of each kind; the numbers are of all."""

    model_config = example(
        dry_run=True,
        added=1,
        renamed=0,
        ended=0,
        unchanged=12,
        skipped=1,
        changes={
            "added": [{"code": "640104001004", "name": "北塔社区居委会", "old_name": None}],
            "renamed": [],
            "ended": [],
        },
    )

    dry_run: bool
    added: int
    renamed: int
    ended: int
    unchanged: int
    skipped: int = Field(description="Entries that are no division of their own: 市辖区 and the like")
    changes: dict[str, list[RegionChange]]


class SuccessionView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11",
        kind="moved",
        old_code="640104001000",
        new_code="640104099000",
        old_name="凤凰北街街道",
        new_name="凤凰街街道",
        effective_on="2027-01-01",
        source="银政发〔2026〕1号",
        applied_at=None,
    )

    id: uuid.UUID
    kind: SuccessionKind
    old_code: str
    new_code: str
    old_name: str
    new_name: str | None
    effective_on: date
    source: str
    applied_at: datetime | None


class SuccessionImport(View):
    dry_run: bool
    stated: int
    known: int


class UnassignedHousehold(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03", number=100124, status="active", head="李*国", version=3
    )

    id: uuid.UUID
    number: int
    status: HouseholdStatus
    head: str | None
    version: int


class AssignRegion(Body):
    model_config = example(region_code="640104001012", household_ids=["0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03"])

    region_code: RegionCode
    household_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=500)]


class Assigned(View):
    assigned: int = Field(description="How many moved; those that lay there already are not counted")


@router.post(
    "/regions/import",
    summary="导入村级区划 Import villages",
    responses=problems(regions.RegionFileRefused),
    openapi_extra=CSV_BODY,
)
async def import_regions(
    db: Db, actor: Manage, csv: Csv, dry_run: DryRun = True, as_of: Annotated[Day | None, Query()] = None
) -> RegionImport:
    """The statistics bureau's table: 代码, 名称 and perhaps 城乡分类代码, 上级代码. It is complete for every town whose
    villages it lists. All of it or nothing; the same table again changes nothing."""
    plan = await regions.load_villages(db, actor, csv, as_of=as_of, dry_run=dry_run)
    kinds = {"added": plan.added, "renamed": plan.renamed, "ended": plan.ended}
    changes = {
        kind: [RegionChange.model_validate(change) for change in found[:SHOWN]]
        for kind, found in kinds.items()
    }
    counts = {kind: len(found) for kind, found in kinds.items()}
    return RegionImport(
        dry_run=dry_run, **counts, unchanged=plan.unchanged, skipped=plan.skipped, changes=changes
    )


@router.post(
    "/regions/successions",
    status_code=201,
    summary="提交区划调整 State a change of boundaries",
    responses=problems(
        regions.SuccessionStated, regions.RegionOutsideOwn, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def state_succession(
    db: Db, actor: Manage, key: IdempotencyKey, body: regions.NewSuccession
) -> SuccessionView:
    """Takes effect on its day: who lives, works or is booked there follows. History keeps the old name."""
    return SuccessionView.model_validate(await regions.record(db, actor, key=key, new=body))


@router.post(
    "/regions/successions/import",
    summary="导入区划调整对照表 Import changes of boundaries",
    responses=problems(regions.RegionFileRefused, regions.SuccessionStated),
    openapi_extra=CSV_BODY,
)
async def import_successions(db: Db, actor: Manage, csv: Csv, dry_run: DryRun = True) -> SuccessionImport:
    """原代码, 新代码, 新名称, 类型 (更名, 变更代码, 合并, 拆分), 生效日期, 依据. All of it or nothing."""
    stated, known = await regions.record_file(db, actor, csv, dry_run=dry_run)
    return SuccessionImport(dry_run=dry_run, stated=stated, known=known)


@router.get(
    "/regions/successions",
    summary="区划调整 Changes of boundaries",
    response_model=Listing[SuccessionView],
)
async def list_successions(
    db: Db, actor: Manage, page: Paging, waiting: bool | None = None
) -> dict[str, Any]:
    """By the day on which they take effect; `waiting`: only those that have not, or only those that have."""
    after = page.after(date.fromisoformat, uuid.UUID)
    rows = await regions.listing(db, actor, waiting=waiting, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.effective_on, row.id))


@router.delete(
    "/regions/successions/{id}",
    status_code=204,
    summary="撤回区划调整 Take a change back",
    responses=problems(NotFound, WrongState),
)
async def take_back_succession(db: Db, actor: Manage, id: uuid.UUID) -> None:
    """Only before it takes effect."""
    await regions.take_back(db, actor, id=id)


@router.get(
    "/regions/{code}/unassigned",
    summary="拆分后待分配家庭 Households of a split division",
    response_model=Listing[UnassignedHousehold],
)
async def unassigned_households(db: Db, actor: Move, code: RegionCode, page: Paging) -> dict[str, Any]:
    """Those that nobody has assigned to one of its parts yet. The head's name is masked."""
    after = page.after_one(uuid.UUID)
    rows = await regions.unassigned(db, actor, code=code, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))


@router.post(
    "/households/assign-region",
    summary="分配拆分区划的家庭 Assign households of a split division",
    responses=problems(NotFound, regions.RegionOutsideOwn),
)
async def assign_region(db: Db, actor: Move, body: AssignRegion) -> Assigned:
    """All of them or none. Their people and what is under way for them follow."""
    moved = await regions.assign(db, actor, region_code=body.region_code, ids=body.household_ids)
    return Assigned(assigned=moved)
