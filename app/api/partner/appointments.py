"""A hospital's slots, its day, arrival and completion."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app import clock
from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Day,
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Text,
    View,
    example,
    listing,
    partner_may,
)
from app.api.staff.appointments import ClinicView, PublishedSlot, ScheduledAppointment
from app.errors import NotFound, WrongState, problems
from app.models.appointments import AppointmentStatus
from app.models.households import DocumentKind, Sex
from app.services import consents
from app.services.appointments import bookings, slots

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
    id: uuid.UUID
    status: AppointmentStatus
    starts_at: datetime
    ends_at: datetime
    people: list[Examinee]


class AttendanceView(View):
    id: uuid.UUID
    status: AppointmentStatus


@router.post(
    "/slots",
    status_code=201,
    summary="发布号源 Publish a slot",
    responses=problems(NotFound, slots.SlotExists),
)
async def publish_slot(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.SLOT_PUBLISH)],
    key: IdempotencyKey,
    body: slots.NewSlot,
) -> PublishedSlot:
    return PublishedSlot.model_validate(await slots.publish(db, actor, key=key, new=body))


@router.get("/clinics", summary="服务点 Clinics", response_model=Listing[ClinicView])
async def list_clinics(
    db: Db, actor: Annotated[Actor, partner_may(Permission.SLOT_READ)], page: Paging
) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await slots.clinics(db, actor, after=after[0] if after else None, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/slots", summary="当日号源 The day's slots", response_model=Listing[PublishedSlot])
async def day_slots(
    db: Db, actor: Annotated[Actor, partner_may(Permission.SLOT_READ)], page: Paging, on: Day | None = None
) -> dict[str, Any]:
    """Today's without `on`, with how many places are taken."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await slots.of_day(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.starts_at.isoformat(), row.id))


@router.post("/slots/{id}/close", summary="停止预约 Close a slot", responses=problems(NotFound, WrongState))
async def close_slot(
    db: Db, actor: Annotated[Actor, partner_may(Permission.SLOT_PUBLISH)], id: uuid.UUID
) -> PublishedSlot:
    """No further bookings; those made stand."""
    return PublishedSlot.model_validate(await slots.close(db, actor, id=id))


@router.get(
    "/appointments", summary="当日预约 The day's appointments", response_model=Listing[ScheduledAppointment]
)
async def day_schedule(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.APPOINTMENT_READ)],
    page: Paging,
    on: Day | None = None,
) -> dict[str, Any]:
    """Today's without `on`; names masked until check-in."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await bookings.schedule(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["starts_at"].isoformat(), row["id"]))


@router.post(
    "/check-ins",
    summary="凭码签到 Check in by code",
    responses=problems(NotFound, WrongState, bookings.NotToday, consents.ConsentRequired),
)
async def check_in(db: Db, actor: Attend, body: CheckIn) -> Arrival:
    """The code that the couple shows. Answers with who they are, and that look is recorded in their files."""
    appointment, people = await bookings.check_in(db, actor, code=body.code)
    shown = {"id": appointment.id, "status": appointment.status, "starts_at": appointment.starts_at}
    return Arrival.model_validate(shown | {"ends_at": appointment.ends_at, "people": people})


@router.post(
    "/appointments/{id}/fulfil", summary="完成检查 Fulfilled", responses=problems(NotFound, WrongState)
)
async def fulfil_appointment(db: Db, actor: Attend, id: uuid.UUID) -> AttendanceView:
    return AttendanceView.model_validate(await bookings.fulfil(db, actor, id=id))


@router.post(
    "/appointments/{id}/no-show", summary="未到 Nobody came", responses=problems(NotFound, WrongState)
)
async def report_no_show(db: Db, actor: Attend, id: uuid.UUID) -> AttendanceView:
    """Once the time is over. Coming later the same day still checks in."""
    return AttendanceView.model_validate(await bookings.no_show(db, actor, id=id))
