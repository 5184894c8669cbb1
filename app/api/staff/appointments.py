"""Clinics, slots and the day's appointments of the region."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app import clock
from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Listing, Paging, View, listing, staff_may
from app.errors import Forbidden, NotFound, problems
from app.models.appointments import AppointmentStatus, SlotStatus
from app.services.appointments import bookings, slots

router = APIRouter(tags=["预约 appointments"])


class ClinicView(View):
    id: uuid.UUID
    organization_id: uuid.UUID
    region_code: str
    name: str
    address: str
    phone: str


class PublishedSlot(View):
    id: uuid.UUID
    clinic_id: uuid.UUID
    service_id: uuid.UUID
    starts_at: datetime
    ends_at: datetime
    opens_at: datetime
    capacity: int
    booked: int
    status: SlotStatus


class ScheduledAppointment(View):
    id: uuid.UUID
    status: AppointmentStatus
    starts_at: datetime
    ends_at: datetime
    service_code: str
    clinic_name: str
    people: list[str]


@router.post(
    "/clinics", status_code=201, summary="开设服务点 Open a clinic", responses=problems(NotFound, Forbidden)
)
async def open_clinic(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.CLINIC_OPEN)],
    key: IdempotencyKey,
    body: slots.NewClinic,
) -> ClinicView:
    return ClinicView.model_validate(await slots.open_clinic(db, actor, key=key, new=body))


@router.post(
    "/slots",
    status_code=201,
    summary="发布号源 Publish a slot",
    responses=problems(NotFound, slots.SlotExists),
)
async def publish_slot(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.SLOT_PUBLISH)],
    key: IdempotencyKey,
    body: slots.NewSlot,
) -> PublishedSlot:
    return PublishedSlot.model_validate(await slots.publish(db, actor, key=key, new=body))


@router.get(
    "/appointments", summary="当日预约 The day's appointments", response_model=Listing[ScheduledAppointment]
)
async def day_schedule(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.APPOINTMENT_READ)],
    page: Paging,
    on: date | None = None,
) -> dict[str, Any]:
    """Today's without `on`; names masked."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await bookings.schedule(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["starts_at"].isoformat(), row["id"]))
