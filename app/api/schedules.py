"""Schedules: the same for the workers of a region and for a hospital."""

import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.params import Depends
from pydantic import PlainSerializer

from app.access import Actor, Permission
from app.api import rooms
from app.api.deps import Body, Db, IdempotencyKey, Listing, Paging, Version, Versioned, View, example, listing
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.appointments import SlotStatus
from app.models.schedules import ScheduleStatus
from app.services import schedules
from app.services.appointments import slots
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.schedules.templates import SHOWN

ClockTime = Annotated[time, PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str)]
CHANGES = problems(NotFound, StaleVersion, WrongState)


class LineView(View):
    weekday: int
    begins: ClockTime
    ends: ClockTime
    minutes: int
    capacity: int
    room_id: uuid.UUID | None
    practitioner_id: uuid.UUID | None


class ScheduleRow(View):
    """`pending`: changed since it was last published. `published_through`: the last day whose slots were made."""

    id: uuid.UUID
    clinic_id: uuid.UUID
    service_id: uuid.UUID
    name: str
    from_on: date
    until_on: date | None
    follows_calendar: bool
    swapped_weekday: int | None
    release_at: datetime | None
    days_ahead: int | None
    release_time: ClockTime | None
    lines: list[LineView]
    status: ScheduleStatus
    pending: bool
    published_through: date | None
    version: int


class ReviseSchedule(Body):
    model_config = example(version=1, schedule=SHOWN)

    version: Version
    schedule: schedules.Template


class DayOfSlots(View):
    on: date
    slots: int


class KeptSlot(View):
    """It is not, or not so, in the template; but somebody has booked it, or changed it by hand."""

    id: uuid.UUID
    starts_at: datetime
    ends_at: datetime
    capacity: int
    booked: int
    status: SlotStatus


class SlotConflict(View):
    """No slot at this time: `what` is taken by the other slot."""

    starts_at: datetime
    ends_at: datetime
    room_id: uuid.UUID | None
    practitioner_id: uuid.UUID | None
    what: Literal["room", "practitioner", "clinic"]
    other_id: uuid.UUID
    other_starts_at: datetime
    other_ends_at: datetime


class PublicationView(View):
    """`days`: those that get slots, and how many. Of `kept` and `conflicts` the first hundred are named.
    `not_announced`: years whose swapped working days are not known yet."""

    schedule: ScheduleRow
    days: list[DayOfSlots]
    added: int
    removed: int
    changed: int
    kept: list[KeptSlot]
    kept_number: int
    conflicts: list[SlotConflict]
    conflict_number: int
    not_announced: list[int]


def router(may: Callable[[Permission], Depends]) -> APIRouter:
    """For the door whose `may` this is."""
    router = APIRouter(tags=["排班 schedules"])
    rooms.of_rooms(router, may)
    rooms.of_practitioners(router, may)
    _templates(router, may)
    _publications(router, may)
    return router


def _templates(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
    @router.post(
        "/schedules",
        status_code=201,
        summary="新建排班 Create a schedule",
        responses=problems(Invalid, NotFound, IdempotencyKeyReused, IdempotencyKeyTaken),
    )
    async def create_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], key: IdempotencyKey,
        body: schedules.NewSchedule,
    ) -> ScheduleRow:  # fmt: skip
        """A weekly template. Look at its preview, then publish it."""
        return ScheduleRow.model_validate(await schedules.create(db, actor, key=key, new=body))

    @router.get("/schedules", summary="排班列表 Schedules", response_model=Listing[ScheduleRow])
    async def list_schedules(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], page: Paging,
        clinic_id: uuid.UUID | None = None, status: ScheduleStatus | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        after = page.after_one(uuid.UUID)
        rows = await schedules.listing(
            db, actor, clinic_id=clinic_id, status=status, after=after,
            limit=page.limit + 1,
        )  # fmt: skip
        return listing(rows, page, lambda row: (row.id,))

    @router.get("/schedules/{id}", summary="排班 A schedule", responses=problems(NotFound))
    async def schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], id: uuid.UUID
    ) -> ScheduleRow:
        return ScheduleRow.model_validate(await schedules.get(db, actor, id=id))

    @router.put("/schedules/{id}", summary="修改排班 Revise a schedule", responses=CHANGES)
    async def revise_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: ReviseSchedule
    ) -> ScheduleRow:
        """As a whole. Its slots stay as they are until it is published again."""
        row = await schedules.revise(db, actor, id=id, version=body.version, new=body.schedule)
        return ScheduleRow.model_validate(row)


def _publications(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
    @router.get(
        "/schedules/{id}/preview",
        summary="预览排班 What publishing would do",
        responses=problems(NotFound, WrongState, slots.RoomTaken, slots.PractitionerTaken),
    )
    async def preview_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID
    ) -> PublicationView:
        """Nothing is changed."""
        return PublicationView.model_validate(await schedules.preview(db, actor, id=id))

    @router.post(
        "/schedules/{id}/publish",
        summary="发布排班 Publish a schedule",
        responses=problems(NotFound, StaleVersion, WrongState, slots.RoomTaken, slots.PractitionerTaken),
    )
    async def publish_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: Versioned
    ) -> PublicationView:
        """Makes the slots that are missing, up to a year ahead; again and again the same. After a change, slots that
        nobody has booked follow it."""
        made = await schedules.publish(db, actor, id=id, version=body.version)
        return PublicationView.model_validate(made)

    @router.post("/schedules/{id}/end", summary="结束排班 End a schedule", responses=CHANGES)
    async def end_schedule(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: Versioned
    ) -> PublicationView:
        """At once and for good. Free slots to come are withdrawn; those booked stay, closed for others."""
        return PublicationView.model_validate(await schedules.end(db, actor, id=id, version=body.version))
