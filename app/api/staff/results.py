"""Reports of the worker's region: a masked list, one sheet for a stated purpose; the items that the region adds."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Listing, Paging, Purpose, listing, staff_may
from app.api.results import HTML_HEADERS, PDF, PDF_HEADERS, SVG, Code, ItemView
from app.errors import NotFound, problems
from app.models.results import ReportStatus
from app.services.files import FileGone
from app.services.regions import RegionOutsideOwn
from app.services.results import attachments, catalogue, drawing, forms, page, reading, trends

router = APIRouter(tags=["结果 results"])
Read = Annotated[Actor, staff_may(Permission.REPORT_READ)]
ReadCatalogue = Annotated[Actor, staff_may(Permission.SLOT_READ)]
ManageCatalogue = Annotated[Actor, staff_may(Permission.CATALOGUE_MANAGE)]


@router.get(
    "/reports", summary="本辖区报告 Reports of the region", response_model=Listing[reading.ListedReport]
)
async def region_reports(
    db: Db, actor: Read, page: Paging, status: ReportStatus | None = None
) -> dict[str, Any]:
    """Newest first, names masked. What was found is on the sheet, for a stated purpose."""
    after = page.after_one(uuid.UUID)
    rows = await reading.list_reports(db, actor, after=after, limit=page.limit + 1, status=status)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/reports/{id}", summary="报告详情 A result sheet", responses=problems(NotFound))
async def region_report(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> reading.Sheet:
    """Recorded, with the purpose, in the file of each person examined."""
    return await reading.sheet(db, actor, report_id=id, purpose=purpose)


@router.get(
    "/reports/{id}/page",
    summary="结果告知书（打印） A result sheet to print",
    response_class=HTMLResponse,
    responses=problems(NotFound),
)
async def region_report_page(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> HTMLResponse:
    """With masked names. Recorded like a reading of the sheet."""
    return HTMLResponse(await page.page(db, actor, report_id=id, purpose=purpose), headers=HTML_HEADERS)


@router.get(
    "/reports/{id}/attachment",
    summary="下载医院报告（PDF） The hospital's own document",
    response_class=Response,
    responses=problems(NotFound, FileGone) | PDF,
)
async def region_attachment(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> Response:
    """Recorded, with the purpose, in the file of each person examined."""
    data = await attachments.download(db, actor, report_id=id, purpose=purpose)
    return Response(data, media_type=attachments.MEDIA_TYPE, headers=PDF_HEADERS)


@router.get(
    "/persons/{id}/reports",
    summary="健康档案 Somebody's reports",
    response_model=Listing[reading.ListedReport],
    responses=problems(NotFound),
)
async def health_file(db: Db, actor: Read, id: uuid.UUID, page: Paging, purpose: Purpose) -> dict[str, Any]:
    """Of all services, newest first, alone and with the spouse. Recorded, with the purpose, in the person's file."""
    after = page.after_one(uuid.UUID)
    rows = await reading.health_file(
        db, actor, person_id=id, purpose=purpose, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row.id,))


@router.get(
    "/persons/{id}/trends",
    summary="指标变化图 Somebody's values over time",
    response_class=Response,
    responses=problems(NotFound) | SVG,
)
async def persons_trend(db: Db, actor: Read, id: uuid.UUID, code: Code, purpose: Purpose) -> Response:
    """A picture (SVG). Recorded, with the purpose, in the person's file."""
    trend = await trends.of_person(db, actor, person_id=id, code=code, purpose=purpose)
    return Response(drawing.svg(trend), media_type="image/svg+xml", headers=HTML_HEADERS)


@router.get(
    "/appointments/{id}/record-forms",
    summary="表单完成情况 Which record forms are complete",
    responses=problems(NotFound),
)
async def record_forms(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> forms.Forms:
    """The 17 forms of the national system (0 empty, 1 unfinished, 2 finished), worked out from registry, reports and
    follow-ups. Recorded, with the purpose."""
    return await forms.of_appointment(db, actor, appointment_id=id, purpose=purpose)


@router.get(
    "/services/{id}/items",
    summary="检查项目目录 The items of a service",
    response_model=list[ItemView],
    responses=problems(NotFound),
)
async def service_items(db: Db, actor: ReadCatalogue, id: uuid.UUID) -> list[ItemView]:
    """Those of everywhere and those added for the worker's region or a division above it."""
    return [ItemView.of(one) for one in await catalogue.of_region(db, actor, service_id=id)]


@router.post(
    "/services/{id}/items",
    status_code=201,
    summary="增加检查项目 Add an item for a region",
    responses=problems(NotFound, RegionOutsideOwn, catalogue.CodeTaken),
)
async def add_item(
    db: Db, actor: ManageCatalogue, key: IdempotencyKey, id: uuid.UUID, body: catalogue.NewItem
) -> ItemView:
    """For reports of the clinics in that division. A code means one thing wherever it is reported."""
    return ItemView.of(await catalogue.add(db, actor, key=key, service_id=id, new=body))


@router.post(
    "/service-items/{id}/retirement",
    summary="停用检查项目 Retire an item",
    responses=problems(NotFound, catalogue.AlreadyRetired),
)
async def retire_item(db: Db, actor: ManageCatalogue, id: uuid.UUID) -> ItemView:
    """One that a division of the own region added. Appointments before now may still be reported with it."""
    return ItemView.of(await catalogue.retire(db, actor, item_id=id))
