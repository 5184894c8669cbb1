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
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.appointments import AppointmentStatus, SlotStatus
from app.models.identity import Role
from app.services.appointments import reading, slot_changes, slots


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
    room_id: uuid.UUID | None
    practitioner_id: uuid.UUID | None
    schedule_id: uuid.UUID | None
    version: int


class SlotEventView(View):
    """One change by hand: `field` was `old` and became `new`."""

    id: int
    at: datetime
    field: str
    old: str | None
    new: str | None
    actor_role: Role
    actor_id: uuid.UUID | None


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
        responses=problems(NotFound, slots.SlotExists, slots.RoomTaken, slots.PractitionerTaken),
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
        after = page.after_one(uuid.UUID)
        rows = await slots.clinics(db, actor, after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.id,))

    @router.get("/slots", summary="当日号源 The day's slots", response_model=Listing[PublishedSlot])
    async def day_slots(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], page: Paging, on: Day | None = None
    ) -> dict[str, Any]:
        """Today's without `on`, with how many places are taken."""
        after = page.after(datetime.fromisoformat, uuid.UUID)
        rows = await slots.of_day(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.starts_at.isoformat(), row.id))

    @router.patch(
        "/slots/{id}",
        summary="修改号源 Change a slot",
        responses=problems(
            NotFound, StaleVersion, WrongState, slot_changes.CapacityBelowBooked,
            slot_changes.AlreadyReleased, slots.RoomTaken, slots.PractitionerTaken, slots.SlotExists,
        ),
    )  # fmt: skip
    async def change_slot(
        db: Db,
        actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)],
        id: uuid.UUID,
        body: slot_changes.ChangeSlot,
    ) -> PublishedSlot:
        """Also while people book. Never below what is booked; places that are added go to those who wait first. The
        release can be changed until it has come."""
        return PublishedSlot.model_validate(await slot_changes.change(db, actor, id=id, new=body))

    @router.get(
        "/slots/{id}/changes",
        summary="号源修改记录 What was changed of a slot",
        response_model=Listing[SlotEventView],
        responses=problems(NotFound),
    )
    async def slot_history(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], id: uuid.UUID, page: Paging
    ) -> dict[str, Any]:
        """By hand, newest first."""
        before = page.after_one(int)
        rows = await slot_changes.history(db, actor, id=id, before=before, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.id,))

    @router.post(
        "/slots/{id}/close", summary="停止预约 Close a slot", responses=problems(NotFound, WrongState)
    )
    async def close_slot(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID
    ) -> PublishedSlot:
        """No further bookings; those made stand."""
        return PublishedSlot.model_validate(await slot_changes.close(db, actor, id=id))

    @router.post(
        "/slots/{id}/reopen", summary="恢复预约 Reopen a slot", responses=problems(NotFound, WrongState)
    )
    async def reopen_slot(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID
    ) -> PublishedSlot:
        """One that was closed; its free places go to those who wait first."""
        return PublishedSlot.model_validate(await slot_changes.reopen(db, actor, id=id))

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
        rows = await reading.schedule(db, actor, on=on or clock.today(), after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row["starts_at"].isoformat(), row["id"]))

    return router
