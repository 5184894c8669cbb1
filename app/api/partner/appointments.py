"""Arrival and completion."""

import uuid
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Text, View, example, partner_may
from app.errors import NotFound, WrongState, problems
from app.models.appointments import Appointment, AppointmentStatus
from app.models.households import DocumentKind, Person, Sex
from app.services import consents, documents
from app.services.appointments import attendance, bookings, walk_ins

router = APIRouter(tags=["预约 appointments"])
Attend = Annotated[Actor, partner_may(Permission.APPOINTMENT_ATTEND)]


class CheckIn(Body):
    model_config = example(code="4FP901320D")

    code: Annotated[str, Text(20)]


class Examinee(View):
    """What the hospital needs to check identity and to write the report: no more."""

    name: str
    sex: Sex
    birth_date: date
    document_kind: DocumentKind
    document_number: str
    phone: str | None


class Arrival(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        status="arrived",
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        people=[
            {
                "name": "王小芳",
                "sex": "female",
                "birth_date": "1995-06-01",
                "document_kind": "passport",
                "document_number": "E12345678",
                "phone": "13900000001",
            }
        ],
    )

    id: uuid.UUID
    status: AppointmentStatus
    starts_at: datetime
    ends_at: datetime
    people: list[Examinee]


class AttendanceView(View):
    id: uuid.UUID
    status: AppointmentStatus


@router.post(
    "/check-ins",
    summary="凭码签到 Check in by code",
    responses=problems(NotFound, WrongState, attendance.NotToday, consents.ConsentRequired),
)
async def check_in(db: Db, actor: Attend, body: CheckIn) -> Arrival:
    """The code that the couple shows, typed or scanned. Answers with who they are, and that look is recorded in their
    files; at a lecture with those who agree to that."""
    return _arrival(*await attendance.check_in(db, actor, code=body.code))


def _arrival(appointment: Appointment, people: list[Person]) -> Arrival:
    shown = {"id": appointment.id, "status": appointment.status, "starts_at": appointment.starts_at}
    return Arrival.model_validate(shown | {"ends_at": appointment.ends_at, "people": people})


@router.post(
    "/walk-ins",
    status_code=201,
    summary="现场登记 Somebody walks in",
    responses=problems(
        NotFound, documents.DocumentNotValid, walk_ins.NotRegistered, walk_ins.NotOneCouple, walk_ins.SlotNotToday,
        walk_ins.NotEntitled, bookings.SlotFull, bookings.SlotClosed, bookings.BookedAsCourse, bookings.AlreadyBooked,
        bookings.OverlappingAppointment, consents.ConsentRequired,
    ),
)  # fmt: skip
async def walk_in(db: Db, actor: Attend, key: IdempotencyKey, body: walk_ins.NewWalkIn) -> Arrival:
    """By the documents shown at the desk: takes a free place of a slot of today, and has arrived."""
    return _arrival(*await walk_ins.at_desk(db, actor, key=key, new=body))


@router.post(
    "/appointments/{id}/fulfil", summary="完成检查 Fulfilled", responses=problems(NotFound, WrongState)
)
async def fulfil_appointment(db: Db, actor: Attend, id: uuid.UUID) -> AttendanceView:
    return AttendanceView.model_validate(await attendance.fulfil(db, actor, id=id))


@router.post(
    "/appointments/{id}/no-show", summary="未到 Nobody came", responses=problems(NotFound, WrongState)
)
async def report_no_show(db: Db, actor: Attend, id: uuid.UUID) -> AttendanceView:
    """Once the time is over. Coming later the same day still checks in."""
    return AttendanceView.model_validate(await attendance.no_show(db, actor, id=id))
