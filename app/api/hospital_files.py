"""Lists of hospitals as Excel files: uploaded by the hospital's own system, or by a worker of the region for it."""

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.params import Depends

from app import clock
from app.access import Actor, Permission
from app.api.deps import Day, Db, View, example
from app.api.sheets import UPLOAD, XLSX, sheet
from app.errors import NotFound, problems
from app.services import hospital_files
from app.services.hospital_files import Judgement, LineVerdict
from app.services.hospital_files.judging import File
from app.services.imports import FileRefused

Organization = Annotated[
    uuid.UUID | None, Query(description="Whose file it is, where a worker uploads it for a hospital")
]
Commit = Annotated[bool, Query(description="false: only say what would become of each line")]
Answer = Annotated[
    Literal["json", "xlsx"], Query(description="xlsx: the file again, with the verdict on each line")
]


class FileLine(View):
    """As Excel numbers it."""

    model_config = example(
        line=3, verdict="refused", zh=["签到码与预约不符"], en=["The code is not that of the appointment"]
    )

    line: int
    verdict: LineVerdict
    zh: list[str]
    en: list[str]


class FileVerdict(View):
    committed: bool
    sha256: str
    counts: dict[LineVerdict, int]
    lines: list[FileLine]


def router(may: Callable[[Permission], Depends]) -> APIRouter:
    """For the door whose `may` this is."""
    router = APIRouter(tags=["文件 files"])
    files = Annotated[Actor, may(Permission.HOSPITAL_FILE)]

    @router.get(
        "/appointments/workbook",
        summary="下载当日名单 The day's list to fill in",
        response_class=Response,
        responses=problems(NotFound) | XLSX,
    )
    async def day_list(
        db: Db, actor: files, on: Day | None = None, organization_id: Organization = None
    ) -> Response:
        """Today's without `on`: fill in codes and what became of each, and upload it. Masked names, no codes."""
        hospital = await hospital_files.hospital_of(db, actor, organization_id)
        on = on or clock.today()
        return sheet(await hospital_files.day_list(db, actor, hospital, on=on), f"{on} 预约名单.xlsx")

    @router.post(
        "/attendance-files", summary="上传到检名单 Upload attendance", responses=problems(NotFound, FileRefused),
        response_model=FileVerdict, openapi_extra=UPLOAD,
    )  # fmt: skip
    async def upload_attendance(
        db: Db, actor: files, request: Request, commit: Commit = False, answer: Answer = "json",
        organization_id: Organization = None,
    ) -> Any:  # fmt: skip
        """The body is the file itself, xlsx or csv. First without `commit`; then the same file with it. Lines that are
        refused hinder no others; what was taken before is `known`."""
        hospital = await hospital_files.hospital_of(db, actor, organization_id)
        taken = await hospital_files.take_attendance(
            db, actor, hospital, data=await request.body(), name="list.xlsx", commit=commit
        )
        return await told(*taken, commit=commit, answer=answer)

    @router.get(
        "/result-files/template",
        summary="下载结果登记表 The sheet for results",
        response_class=Response,
        responses=problems(NotFound) | XLSX,
    )
    async def result_template(
        db: Db,
        actor: files,
        service_id: uuid.UUID,
        clinic_id: uuid.UUID,
        organization_id: Organization = None,
    ) -> Response:
        """With the items of the service at this clinic to choose from."""
        hospital = await hospital_files.hospital_of(db, actor, organization_id)
        made = await hospital_files.result_template(db, hospital, service_id=service_id, clinic_id=clinic_id)
        return sheet(made, "结果登记表.xlsx")

    @router.post(
        "/result-files", summary="上传结果 Upload results", responses=problems(NotFound, FileRefused),
        response_model=FileVerdict, openapi_extra=UPLOAD,
    )  # fmt: skip
    async def upload_results(
        db: Db, actor: files, request: Request, commit: Commit = False, answer: Answer = "json",
        organization_id: Organization = None,
    ) -> Any:  # fmt: skip
        """One line for each person and item; lines of one report number are one report, under the rules of every
        report. First without `commit`; then the same file with it."""
        hospital = await hospital_files.hospital_of(db, actor, organization_id)
        taken = await hospital_files.take_results(
            db, actor, hospital, data=await request.body(), name="list.xlsx", commit=commit
        )
        return await told(*taken, commit=commit, answer=answer)

    return router


async def told(file: File, judged: list[Judgement], *, commit: bool, answer: str) -> Any:
    if answer == "xlsx":
        return sheet(await hospital_files.annotated_copy(file, judged), "检查结果.xlsx")
    lines = [
        FileLine(
            line=one.line, verdict=one.verdict, zh=[zh for _, zh, _ in one.reasons],
            en=[en for *_, en in one.reasons],
        )
        for one in judged
    ]  # fmt: skip
    counts = Counter(one.verdict for one in judged)
    return FileVerdict(committed=commit, sha256=file.sha256, counts=dict(counts), lines=lines)
