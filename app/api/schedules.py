"""Rooms, practitioners and schedules: the same for the workers of a region and for a hospital."""

import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.params import Depends
from pydantic import PlainSerializer

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Listing, Paging, Version, Versioned, View, example, listing
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.appointments import SlotStatus
from app.models.schedules import Practitioner, Room, ScheduleStatus
from app.services import schedules
from app.services.appointments import slots
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.schedules.templates import SHOWN

ClockTime = Annotated[time, PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str)]
CHANGES = problems(NotFound, StaleVersion, WrongState)
CREATES = problems(NotFound, schedules.NameInUse, IdempotencyKeyReused, IdempotencyKeyTaken)


class RoomView(View):
    id: uuid.UUID
    clinic_id: uuid.UUID
    name: str
    retired_at: datetime | None
    version: int


class PractitionerView(RoomView):
    title: str


class RenameRoom(schedules.NewRoom):
    model_config = example(version=1, name="202 诊室")

    version: Version


class RenamePractitioner(schedules.NewPractitioner):
    model_config = example(version=1, name="赵敏", title="主任医师")

    version: Version


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
    _rooms(router, may)
    _practitioners(router, may)
    _templates(router, may)
    _publications(router, may)
    return router


def _rooms(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
    @router.post("/clinics/{id}/rooms", status_code=201, summary="新增诊室 Add a room", responses=CREATES)
    async def add_room(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, key: IdempotencyKey,
        body: schedules.NewRoom,
    ) -> RoomView:  # fmt: skip
        return RoomView.model_validate(await schedules.add(db, actor, Room, key=key, clinic_id=id, new=body))

    @router.get(
        "/clinics/{id}/rooms",
        summary="诊室列表 Rooms of a clinic",
        response_model=Listing[RoomView],
        responses=problems(NotFound),
    )
    async def list_rooms(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], id: uuid.UUID, page: Paging
    ) -> dict[str, Any]:
        """The retired ones too."""
        return await _listed(db, actor, Room, id, page)

    @router.patch(
        "/rooms/{id}",
        summary="诊室改名 Rename a room",
        responses=problems(NotFound, StaleVersion, WrongState, schedules.NameInUse),
    )
    async def rename_room(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: RenameRoom
    ) -> RoomView:
        new = schedules.NewRoom(name=body.name)
        row = await schedules.rename(db, actor, Room, id=id, version=body.version, new=new)
        return RoomView.model_validate(row)

    @router.post(
        "/rooms/{id}/retire",
        summary="停用诊室 Retire a room",
        responses=problems(NotFound, StaleVersion, WrongState, schedules.InUseBySchedule),
    )
    async def retire_room(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: Versioned
    ) -> RoomView:
        """Slots published in it stay."""
        return RoomView.model_validate(await schedules.retire(db, actor, Room, id=id, version=body.version))


def _practitioners(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
    @router.post(
        "/clinics/{id}/practitioners",
        status_code=201,
        summary="新增服务人员 Add a practitioner",
        responses=CREATES,
    )
    async def add_practitioner(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, key: IdempotencyKey,
        body: schedules.NewPractitioner,
    ) -> PractitionerView:  # fmt: skip
        """Name and title are shown to residents who choose a slot."""
        return PractitionerView.model_validate(
            await schedules.add(db, actor, Practitioner, key=key, clinic_id=id, new=body)
        )

    @router.get(
        "/clinics/{id}/practitioners",
        summary="服务人员列表 Practitioners of a clinic",
        response_model=Listing[PractitionerView],
        responses=problems(NotFound),
    )
    async def list_practitioners(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], id: uuid.UUID, page: Paging
    ) -> dict[str, Any]:
        """The retired ones too."""
        return await _listed(db, actor, Practitioner, id, page)

    @router.patch(
        "/practitioners/{id}",
        summary="修改服务人员 Rename a practitioner",
        responses=problems(NotFound, StaleVersion, WrongState, schedules.NameInUse),
    )
    async def rename_practitioner(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: RenamePractitioner
    ) -> PractitionerView:
        new = schedules.NewPractitioner(name=body.name, title=body.title)
        row = await schedules.rename(db, actor, Practitioner, id=id, version=body.version, new=new)
        return PractitionerView.model_validate(row)

    @router.post(
        "/practitioners/{id}/retire",
        summary="停用服务人员 Retire a practitioner",
        responses=problems(NotFound, StaleVersion, WrongState, schedules.InUseBySchedule),
    )
    async def retire_practitioner(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)], id: uuid.UUID, body: Versioned
    ) -> PractitionerView:
        """Slots published with them stay."""
        return PractitionerView.model_validate(
            await schedules.retire(db, actor, Practitioner, id=id, version=body.version)
        )


async def _listed(
    db: Db, actor: Actor, model: type[schedules.Resource], clinic_id: uuid.UUID, page: Paging
) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await schedules.of_clinic(
        db, actor, model, clinic_id=clinic_id, after=after[0] if after else None, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row.id,))


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
        after = page.after(uuid.UUID)
        rows = await schedules.listing(
            db, actor, clinic_id=clinic_id, status=status, after=after[0] if after else None,
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
