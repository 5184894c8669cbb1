"""Clinics, slots and the day's appointments: the same for the workers of a region and for a hospital."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.params import Depends

from app import clock
from app.access import Actor, Permission
from app.api.deps import Day, Db, IdempotencyKey, Listing, Paging, View, example, listing
from app.errors import NotFound, WrongState, problems
from app.models.appointments import AppointmentStatus, SlotStatus
from app.services.appointments import bookings, slots


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
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        status="booked",
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        service_code="pre_pregnancy_check",
        clinic_name="银川市妇幼保健院优生门诊",
        people=["王*芳", "李*国"],
    )

    id: uuid.UUID
    status: AppointmentStatus
    starts_at: datetime
    ends_at: datetime
    service_code: str
    clinic_name: str
    people: list[str]


def router(may: Callable[[Permission], Depends]) -> APIRouter:
    """For the door whose `may` this is."""
    router = APIRouter(tags=["预约 appointments"])

    @router.post(
        "/slots",
        status_code=201,
        summary="发布号源 Publish a slot",
        responses=problems(NotFound, slots.SlotExists),
    )
    async def publish_slot(
        db: Db,
        actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)],
        key: IdempotencyKey,
        body: slots.NewSlot,
    ) -> PublishedSlot:
        return PublishedSlot.model_validate(await slots.publish(db, actor, key=key, new=body))

    @router.get("/clinics", summary="服务点 Clinics", response_model=Listing[ClinicView])
    async def list_clinics(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], page: Paging
    ) -> dict[str, Any]:
        after = page.after(uuid.UUID)
        rows = await slots.clinics(db, actor, after=after[0] if after else None, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.id,))

    @router.get("/slots", summary="当日号源 The day's slots", response_model=Listing[PublishedSlot])
    async def day_slots(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], page: Paging, on: Day | None = None
    ) -> dict[str, Any]:
        """Today's without `on`, with how many places are taken."""
        after = page.after(datetime.fromisoformat, uuid.UUID)
        rows = await slots.of_day(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.starts_at.isoformat(), row.id))

    @router.post(
        "/slots/{id}/close", summary="停止预约 Close a slot", responses=problems(NotFound, WrongState)
    )
    async def close_slot(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID
    ) -> PublishedSlot:
        """No further bookings; those made stand."""
        return PublishedSlot.model_validate(await slots.close(db, actor, id=id))

    @router.get(
        "/appointments",
        summary="当日预约 The day's appointments",
        response_model=Listing[ScheduledAppointment],
    )
    async def day_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.APPOINTMENT_READ)], page: Paging, on: Day | None = None
    ) -> dict[str, Any]:
        """Today's without `on`; names masked."""
        after = page.after(datetime.fromisoformat, uuid.UUID)
        rows = await bookings.schedule(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row["starts_at"].isoformat(), row["id"]))

    return router
