"""Finding people and households, saved filters, statistics, exports."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Paging,
    Purpose,
    RegionCode,
    Version,
    View,
    example,
    listing,
    staff_may,
)
from app.api.sheets import XLSX, sheet
from app.errors import NotFound, StaleVersion, problems
from app.models.households import DocumentKind, FamilyType, HouseholdStatus, Relation, Sex
from app.models.search import ExportStatus, SearchKind
from app.services.files import FileGone
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.regions import RegionOutsideOwn
from app.services.search import (
    Criteria,
    HouseholdCriteria,
    PeopleCriteria,
    exports,
    filters,
    households,
    people,
    statistics,
)

router = APIRouter(tags=["查询与统计 search"])
Search = Annotated[Actor, staff_may(Permission.REGISTRY_SEARCH)]
Count = Annotated[Actor, staff_may(Permission.REGISTRY_COUNT)]
Export = Annotated[Actor, staff_may(Permission.REGISTRY_EXPORT)]
ID = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03"


class PersonFound(View):
    """Masked. The household's detail shows more, with a purpose."""

    model_config = example(
        id=ID, name="王*芳", sex="female", birth_year=1960, document_kind="resident_id",
        document_number="6****************4", phone="139****0001", region_code="640104001000",
        region_name="凤凰北街街道", household_id=ID, household_number=100024, relation="spouse",
    )  # fmt: skip

    id: uuid.UUID
    name: str
    sex: Sex
    birth_year: int
    document_kind: DocumentKind
    document_number: str
    phone: str | None
    region_code: str
    region_name: str | None
    household_id: uuid.UUID | None
    household_number: int | None
    relation: Relation | None


class HouseholdFound(View):
    model_config = example(
        id=ID, number=100024, local_number="0012", status="active", region_code="640104001000",
        region_name="凤凰北街街道", family_type="elderly", head="李*国", version=3,
    )  # fmt: skip

    id: uuid.UUID
    number: int
    local_number: str | None
    status: HouseholdStatus
    region_code: str
    region_name: str | None
    family_type: FamilyType | None
    head: str | None
    version: int


class Counted(View):
    """Exact up to 1,000; beyond, `more` is true."""

    model_config = example(count=1000, more=True)

    count: int
    more: bool


class SaveFilter(Body):
    model_config = example(
        name="六十岁以上低保", criteria={"kind": "people", "age_from": 60, "category": "minimum_income"}
    )

    name: Line
    criteria: Criteria


class ChangeFilter(SaveFilter):
    model_config = example(version=1, name="七十岁以上", criteria={"kind": "people", "age_from": 70})

    version: Version


class FilterView(View):
    """`criteria` is null where an earlier release kept what can be sought no more: change or delete it."""

    id: uuid.UUID
    name: str
    criteria: Criteria | None
    version: int
    created_at: datetime


class RegionFigures(View):
    """`figures` of the region and all below it: more than those of the regions directly below by what is registered at
    the region itself. Absent is zero."""

    model_config = example(
        region_code="640104001000", region_name="凤凰北街街道", level=4,
        figures={"people": 2, "people.female": 1, "people.female.15-49": 1, "people.male": 1, "people.male.15-49": 1,
                 "households": 1, "households.type.developing": 1, "households.status.active": 1, "category.migrant": 1,
                 "migrants_in": 1},
        as_of="2026-08-01T02:00:00Z",
    )  # fmt: skip

    region_code: str
    region_name: str
    level: int
    figures: dict[str, int]
    as_of: datetime | None


class RequestExport(Body):
    model_config = example(criteria={"kind": "people", "category": "minimum_income"}, unmasked=False)

    criteria: Criteria
    unmasked: bool = False


class ExportView(View):
    model_config = example(
        id=ID, kind="people", status="running", unmasked=False, purpose="registry_upkeep", rows_done=2000,
        rows_total=12000, problem=None, created_at="2026-08-01T02:00:00Z", finished_at=None,
    )  # fmt: skip

    id: uuid.UUID
    kind: SearchKind
    status: ExportStatus
    unmasked: bool
    purpose: str
    rows_done: int
    rows_total: int | None
    problem: str | None
    created_at: datetime
    finished_at: datetime | None


@router.post(
    "/search/people", summary="查询人员 Search people", response_model=Listing[PersonFound],
    responses=problems(RegionOutsideOwn),
)  # fmt: skip
async def search_people(db: Db, actor: Search, page: Paging, body: PeopleCriteria) -> dict[str, Any]:
    """Of the own region. By name where one is sought, else by village; masked. A look by document or phone goes into
    the file of whose it is."""
    after = page.after_one(uuid.UUID)
    rows = await people.search(db, actor, body, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))


@router.post("/search/people/count", summary="人员计数 Count people", responses=problems(RegionOutsideOwn))
async def count_people(db: Db, actor: Count, body: PeopleCriteria) -> Counted:
    """Not by document or phone: who is meant is searched for."""
    return Counted.model_validate(await people.count(db, actor, body))


@router.post(
    "/search/households", summary="查询家庭 Search households", response_model=Listing[HouseholdFound],
    responses=problems(RegionOutsideOwn),
)  # fmt: skip
async def search_households(db: Db, actor: Search, page: Paging, body: HouseholdCriteria) -> dict[str, Any]:
    """Of the own region, by village and status; the head's name is masked."""
    after = page.after(str, HouseholdStatus, uuid.UUID)
    rows = await households.search(db, actor, body, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["region_code"], row["status"], row["id"]))


@router.post(
    "/search/households/count", summary="家庭计数 Count households", responses=problems(RegionOutsideOwn)
)
async def count_households(db: Db, actor: Count, body: HouseholdCriteria) -> Counted:
    return Counted.model_validate(await households.count(db, actor, body))


@router.get("/saved-filters", summary="常用查询 Saved filters", response_model=Listing[FilterView])
async def list_filters(db: Db, actor: Search, page: Paging) -> dict[str, Any]:
    """One's own, the newest first."""
    before = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await filters.listing(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["created_at"].isoformat(), row["id"]))


@router.post(
    "/saved-filters", status_code=201, summary="保存常用查询 Save a filter",
    responses=problems(RegionOutsideOwn, filters.FilterNameTaken, filters.TooManyFilters),
)  # fmt: skip
async def save_filter(db: Db, actor: Search, key: IdempotencyKey, body: SaveFilter) -> FilterView:
    row = await filters.save(db, actor, key=key, name=body.name, criteria=body.criteria)
    return FilterView.model_validate(row)


@router.put(
    "/saved-filters/{id}", summary="修改常用查询 Change a filter",
    responses=problems(NotFound, RegionOutsideOwn, StaleVersion, filters.FilterNameTaken),
)  # fmt: skip
async def change_filter(db: Db, actor: Search, id: uuid.UUID, body: ChangeFilter) -> FilterView:
    row = await filters.change(db, actor, id=id, version=body.version, name=body.name, criteria=body.criteria)
    return FilterView.model_validate(row)


@router.delete(
    "/saved-filters/{id}", status_code=204, summary="删除常用查询 Delete a filter",
    responses=problems(NotFound),
)  # fmt: skip
async def delete_filter(db: Db, actor: Search, id: uuid.UUID) -> None:
    await filters.delete(db, actor, id=id)


@router.get("/statistics", summary="辖区统计 Figures of a region", responses=problems(RegionOutsideOwn))
async def region_statistics(
    db: Db, actor: Count, region_code: Annotated[RegionCode, Query()]
) -> list[RegionFigures]:
    """Of the region first, then of those directly below it, all as of one moment."""
    rows = await statistics.of_region(db, actor, region_code)
    return [RegionFigures.model_validate(row) for row in rows]


@router.post(
    "/exports",
    status_code=202,
    summary="导出名册 Export a list",
    responses=problems(
        RegionOutsideOwn, exports.UnmaskingNotAllowed, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def request_export(
    db: Db, actor: Export, key: IdempotencyKey, purpose: Purpose, body: RequestExport
) -> ExportView:
    """A workbook of all that the search finds, made by a job. Each person in it has this in the own file."""
    row = await exports.request(
        db, actor, key=key, criteria=body.criteria, unmasked=body.unmasked, purpose=purpose
    )
    return ExportView.model_validate(row)


@router.get("/exports", summary="我的导出 One's exports", response_model=Listing[ExportView])
async def list_exports(db: Db, actor: Export, page: Paging) -> dict[str, Any]:
    """The newest first."""
    before = page.after_one(uuid.UUID)
    rows = await exports.listing(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/exports/{id}", summary="导出进度 How far an export is", responses=problems(NotFound))
async def export_progress(db: Db, actor: Export, id: uuid.UUID) -> ExportView:
    return ExportView.model_validate(await exports.get(db, actor, id=id))


@router.get(
    "/exports/{id}/file",
    summary="下载导出文件 The workbook of an export",
    response_class=Response,
    responses=problems(NotFound, FileGone, exports.UnmaskingNotAllowed, exports.ExportNotReady) | XLSX,
)
async def export_file(db: Db, actor: Export, id: uuid.UUID) -> Response:
    """For who asked for it only, for a week."""
    return sheet(await exports.download(db, actor, id=id), f"{id}.xlsx")
