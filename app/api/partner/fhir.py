"""The same things as FHIR R4 resources."""

import uuid
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from app import clock, errors
from app.access import Actor, Permission
from app.api.deps import Cursor, Day, Db, partner_may
from app.api.partner.results import signed_by
from app.errors import NotFound, Problem, problems
from app.services import fhir
from app.services.fhir import Found, PostedBundle, Resource
from app.services.results import reports
from app.services.results.foetal_sex import FoetalSexRefused

router = APIRouter(tags=["FHIR R4"], prefix="/fhir")
MEDIA_TYPE = "application/fhir+json"
ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {}}}}
Count = Annotated[int, Query(alias="_count", ge=1, le=100)]
After = Annotated[str | None, Query(alias="cursor", max_length=300)]
Reader = Annotated[Actor, partner_may(Permission.APPOINTMENT_READ)]
Slots = Annotated[Actor, partner_may(Permission.SLOT_READ)]
Reports = Annotated[Actor, partner_may(Permission.REPORT_READ)]
Referrals = Annotated[Actor, partner_may(Permission.REFERRAL_ANSWER)]


def written(resource: Resource) -> Response:
    return JSONResponse(resource, media_type=MEDIA_TYPE)


def page(request: Request, found: list[Found], count: int) -> Response:
    """One more than asked for tells whether there is a next page."""
    following = None
    if len(found) > count:
        cursor = Cursor.encode(*found[count - 1].key)
        following = str(request.url.include_query_params(cursor=cursor).replace(scheme="", netloc=""))
    here = str(request.url.replace(scheme="", netloc=""))
    return written(fhir.bundle([one.resource for one in found[:count]], here=here, following=following))


def after(cursor: str | None, *kinds: Callable[[str], Any]) -> Any:
    return None if cursor is None else Cursor.decode(cursor, *kinds)


@router.get("/Slot", summary="号源 Slots of a day", response_class=Response, responses=ANSWER)
async def fhir_slots(
    db: Db, actor: Slots, request: Request, start: Day | None = None, count: Count = 20, cursor: After = None
) -> Response:
    """Of the day `start`, today's without it."""
    place = after(cursor, datetime.fromisoformat, uuid.UUID)
    found = await fhir.slots(db, actor, on=start or clock.today(), after=place, limit=count + 1)
    return page(request, found, count)


@router.get(
    "/Slot/{id}", summary="一个号源 A slot", response_class=Response, responses=problems(NotFound) | ANSWER
)
async def fhir_slot(db: Db, actor: Slots, id: uuid.UUID) -> Response:
    return written(await fhir.one_slot(db, actor, id=id))


@router.get("/Appointment", summary="预约 Appointments of a day", response_class=Response, responses=ANSWER)
async def fhir_appointments(
    db: Db,
    actor: Reader,
    request: Request,
    on: Annotated[Day | None, Query(alias="date")] = None,
    count: Count = 20,
    cursor: After = None,
) -> Response:
    """Masked names."""
    place = after(cursor, datetime.fromisoformat, uuid.UUID)
    found = await fhir.appointments(db, actor, on=on or clock.today(), after=place, limit=count + 1)
    return page(request, found, count)


@router.get(
    "/Appointment/{id}",
    summary="一个预约 An appointment",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_appointment(db: Db, actor: Reader, id: uuid.UUID) -> Response:
    return written(await fhir.one_appointment(db, actor, id=id))


@router.get("/ServiceRequest", summary="检查申请 Service requests", response_class=Response, responses=ANSWER)
async def fhir_service_requests(
    db: Db,
    actor: Reader,
    request: Request,
    on: Annotated[Day | None, Query(alias="date")] = None,
    count: Count = 20,
    cursor: After = None,
) -> Response:
    """What is asked for by the appointments of a day; their ids are the same."""
    place = after(cursor, datetime.fromisoformat, uuid.UUID)
    found = await fhir.requests(db, actor, on=on or clock.today(), after=place, limit=count + 1)
    return page(request, found, count)


@router.get(
    "/ServiceRequest/{id}",
    summary="一个检查申请 A service request",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_service_request(db: Db, actor: Reader, id: uuid.UUID) -> Response:
    return written(await fhir.one_request(db, actor, id=id))


@router.get("/DiagnosticReport", summary="报告 Reports", response_class=Response, responses=ANSWER)
async def fhir_reports(
    db: Db, actor: Reports, request: Request, count: Count = 20, cursor: After = None
) -> Response:
    """Your own, newest first, as they are now."""
    place = after(cursor, uuid.UUID)
    found = await fhir.reports(db, actor, before=place[0] if place else None, limit=count + 1)
    return page(request, found, count)


@router.get(
    "/DiagnosticReport/{id}",
    summary="一份报告 A report",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_report(db: Db, actor: Reports, id: uuid.UUID) -> Response:
    return written(await fhir.one_report(db, actor, id=id))


@router.get(
    "/Observation",
    summary="检查结果 Observations of a report",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_observations(
    db: Db, actor: Reports, request: Request, report: uuid.UUID, count: Count = 20, cursor: After = None
) -> Response:
    """Values of your own report. Recorded in the files of those examined."""
    place = after(cursor, uuid.UUID)
    found = await fhir.observations(
        db, actor, report_id=report, after=place[0] if place else None, limit=count + 1
    )
    return page(request, found, count)


@router.get(
    "/Observation/{id}",
    summary="一项结果 An observation",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_observation(db: Db, actor: Reports, id: uuid.UUID) -> Response:
    return written(await fhir.one_observation(db, actor, id=id))


@router.get("/Task", summary="转诊 Referrals", response_class=Response, responses=ANSWER)
async def fhir_tasks(
    db: Db, actor: Referrals, request: Request, count: Count = 20, cursor: After = None
) -> Response:
    """Under way, the most urgent first. Recorded in each person's file."""
    place = after(cursor, date.fromisoformat, uuid.UUID)
    return page(request, await fhir.tasks(db, actor, after=place, limit=count + 1), count)


@router.get(
    "/Task/{id}",
    summary="一个转诊 A referral",
    response_class=Response,
    responses=problems(NotFound) | ANSWER,
)
async def fhir_task(db: Db, actor: Referrals, id: uuid.UUID) -> Response:
    return written(await fhir.one_task(db, actor, id=id))


@router.post(
    "",
    status_code=201,
    summary="以 FHIR 上传报告 Post a report as a Bundle",
    response_model=reports.Accepted,
    responses=problems(
        NotFound, reports.NotAttended, reports.ReportConflict, reports.IllegalReportStatus, FoetalSexRefused
    )
    | {200: {"model": reports.Accepted, "description": "已收到过 The very same version came before"}},
)
async def post_fhir_report(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.REPORT_POST)],
    request: Request,
    response: Response,
    body: PostedBundle,
) -> Any:
    """A Bundle of one DiagnosticReport with its Observations contained: the same rules as for the plain form."""
    raw = await request.body()
    answer = await fhir.post(db, actor, posted=body, raw=raw, signature=signed_by(request))
    if isinstance(answer, Problem):
        return errors.response(request, answer)
    if answer.state == "replayed":
        response.status_code = 200
    return answer
