"""Bringing in lists of households and people: upload, look at the verdicts, commit, undo."""

import uuid
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, Purpose, Versioned, View, example, listing, staff_may
from app.api.sheets import UPLOAD, XLSX, sheet
from app.errors import BadRequest, NotFound, StaleVersion, WrongState, problems
from app.models.imports import ImportStatus, Verdict
from app.services import imports
from app.services.files import FileGone
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["导入 imports"])
Import = Annotated[Actor, staff_may(Permission.REGISTRY_IMPORT)]
FileName = Annotated[
    str,
    Header(
        alias="File-Name",
        min_length=1,
        max_length=600,
        description="Percent-encoded UTF-8. In a header because it may name people, which an address must not",
    ),
]


class Notice(View):
    """What hinders, or what was left out."""

    zh: str
    en: str = ""
    kind: str | None = None
    count: int | None = None
    households: list[int] = []


class ImportView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e20",
        region_code="640104001000",
        file_name="凤凰北街街道家庭名册.xlsx",
        status="checked",
        rows_total=2000,
        rows_done=2000,
        counts={"ready": 1920, "warning": 12, "known": 8, "refused": 60},
        problem=[],
        created_at="2026-08-01T02:00:00Z",
        checked_at="2026-08-01T02:00:04Z",
        committed_at=None,
        ended_at=None,
        version=2,
    )

    id: uuid.UUID
    region_code: str
    file_name: str
    status: ImportStatus
    rows_total: int | None
    rows_done: int
    counts: dict[Verdict, int]
    problem: list[Notice]
    created_at: datetime
    checked_at: datetime | None
    committed_at: datetime | None
    ended_at: datetime | None
    version: int


class Reason(View):
    column: str
    code: str
    zh: str
    en: str
    fatal: bool


class ImportLine(View):
    """The name is masked."""

    line: int
    verdict: Verdict
    name: str | None
    reasons: list[Reason]


@router.get(
    "/imports/template",
    summary="下载导入模板 The template",
    response_class=Response,
    responses=XLSX,
)
async def import_template(db: Db, actor: Import) -> Response:
    """With drop-downs of the worker's own villages, and examples."""
    return sheet(await imports.template(db, actor), "家庭导入模板.xlsx")


@router.post(
    "/imports",
    status_code=202,
    summary="上传名册 Upload a list",
    responses=problems(IdempotencyKeyReused, IdempotencyKeyTaken),
    openapi_extra=UPLOAD,
)
async def upload_import(
    request: Request,
    actor: Import,
    name: FileName,
    idempotency_key: Annotated[
        uuid.UUID | None, Header(alias="Idempotency-Key", description="UUID; becomes the import's id")
    ] = None,
) -> ImportView:
    """The body is the file itself, xlsx or csv. It is checked by a job: look at the import until it is `checked`."""
    name = unquote(name)[:200]
    seen = f"{request.method} {request.url.path} {name}\n".encode()
    try:
        made = await imports.upload(actor, request.stream(), id=idempotency_key, seen=seen, name=name)
    except ClientDisconnect as gone:
        raise BadRequest from gone
    return ImportView.model_validate(made)


@router.get("/imports", summary="导入批次 Imports", response_model=Listing[ImportView])
async def list_imports(db: Db, actor: Import, page: Paging) -> dict[str, Any]:
    """Those of the own region, newest first."""
    before = page.after_one(uuid.UUID)
    rows = await imports.listing(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))


@router.get("/imports/{id}", summary="导入进度 An import", responses=problems(NotFound))
async def import_detail(db: Db, actor: Import, id: uuid.UUID) -> ImportView:
    """Its state, how far it is, how many lines of each verdict, what hinders."""
    return ImportView.model_validate(await imports.detail(db, actor, id=id))


@router.get(
    "/imports/{id}/rows",
    summary="逐行结果 The verdicts",
    response_model=Listing[ImportLine],
    responses=problems(NotFound),
)
async def import_rows(
    db: Db, actor: Import, page: Paging, id: uuid.UUID, verdict: Verdict | None = None
) -> dict[str, Any]:
    """Line by line. Names are masked."""
    after = page.after_one(line_number)
    rows = await imports.rows(db, actor, id=id, verdict=verdict, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["line"],))


def line_number(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise ValueError("no line of a sheet")
    return number


@router.get(
    "/imports/{id}/workbook",
    summary="下载结果表 The list with its verdicts",
    response_class=Response,
    responses=problems(NotFound, FileGone, WrongState, imports.ListOfAnother) | XLSX,
)
async def import_workbook(actor: Import, id: uuid.UUID, purpose: Purpose) -> Response:
    """The rows to correct as they were uploaded, with what is wrong: correct them and upload this file. A second sheet
    has all rows. For who uploaded it and who may see many people unmasked. Recorded, with the purpose, for each person
    of the registry in it."""
    return sheet(await imports.workbook(actor, id=id, purpose=purpose), "导入结果.xlsx")


@router.post(
    "/imports/{id}/commit",
    status_code=202,
    summary="确认导入 Commit",
    responses=problems(NotFound, StaleVersion, WrongState, imports.ImportTooOld),
)
async def commit_import(db: Db, actor: Import, id: uuid.UUID, body: Versioned) -> ImportView:
    """Lines that are ready or only warned about enter the registry, verified by who commits."""
    return ImportView.model_validate(await imports.commit(db, actor, id=id, version=body.version))


@router.post(
    "/imports/{id}/undo",
    status_code=202,
    summary="撤销整批 Undo",
    responses=problems(NotFound, StaleVersion, WrongState, imports.ImportInUse, imports.ImportTooOld),
)
async def undo_import(db: Db, actor: Import, id: uuid.UUID, body: Versioned) -> ImportView:
    """Everything that the import brought goes again, unless something depends on it by now: `depends` says what. Of a
    list of more than 100,000 lines the import's `problem` says it once the job has looked. Half a commit can be undone
    too."""
    return ImportView.model_validate(await imports.undo_all(db, actor, id=id, version=body.version))


@router.post(
    "/imports/{id}/discard",
    summary="放弃导入 Discard",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def discard_import(db: Db, actor: Import, id: uuid.UUID, body: Versioned) -> ImportView:
    """Give up a list that was not committed."""
    return ImportView.model_validate(await imports.discard(db, actor, id=id, version=body.version))
