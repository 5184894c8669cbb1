"""Rooms and practitioners of a clinic: the same for the workers of a region and for a hospital."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.params import Depends

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Listing, Paging, Version, Versioned, View, example, listing
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.schedules import Practitioner, Room
from app.services import schedules
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

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


def of_rooms(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
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


def of_practitioners(router: APIRouter, may: Callable[[Permission], Depends]) -> None:
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
    after = page.after_one(uuid.UUID)
    rows = await schedules.of_clinic(db, actor, model, clinic_id=clinic_id, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))
