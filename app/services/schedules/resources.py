"""Rooms and practitioners of a clinic: what a slot may take up, one at a time."""

import uuid
from typing import Annotated, TypeVar

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, WrongState
from app.models.appointments import Clinic
from app.models.schedules import Practitioner, Room, Schedule, ScheduleLine, ScheduleStatus
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.pages import oldest_first
from app.services.plain import Body, Text, example

Resource = TypeVar("Resource", Room, Practitioner)
LINE_OF = {Room: ScheduleLine.room_id, Practitioner: ScheduleLine.practitioner_id}


class NameInUse(Conflict, constraint=("uq_room_clinic_id_name_used", "uq_practitioner_clinic_id_name_used")):
    zh, en = "该服务点已有同名的诊室或人员", "The clinic has a room or practitioner of this name"
    do_zh, do_en = "请使用能够区分的名称", "Choose a name that tells them apart"


class InUseBySchedule(Conflict):
    zh, en = "仍有排班使用该诊室或人员", "A schedule still uses this room or practitioner"
    do_zh, do_en = (
        "请先修改或结束 schedule 所指的排班",
        "Revise or end the schedule that schedule names first",
    )


class NewRoom(Body):
    model_config = example(name="201 诊室")

    name: Annotated[str, Text(40)]


class NewPractitioner(Body):
    model_config = example(name="赵敏", title="副主任医师")

    name: Annotated[str, Text(40)]
    title: Annotated[str, Text(40)]


async def add(
    db: AsyncSession, actor: Actor, model: type[Resource], *, key: Key, clinic_id: uuid.UUID,
    new: NewRoom | NewPractitioner,
) -> Resource:  # fmt: skip
    """To a clinic of the hospital's own, or of the worker's region."""
    if await idempotency.claim(db, actor, key):
        clinic = await fetch(db, actor, Clinic, clinic_id)
        db.add(model(id=key.id, clinic_id=clinic.id, created_at=clock.now(), **new.model_dump()))
        await db.flush()  # so that a second of this name is refused here
        await audit.record(db, actor, "add", model.__tablename__, key.id)
    return await fetch(db, actor, model, key.id)


async def of_clinic(
    db: AsyncSession, actor: Actor, model: type[Resource], *, clinic_id: uuid.UUID, after: uuid.UUID | None,
    limit: int,
) -> list[Resource]:  # fmt: skip
    """Oldest first, the retired ones too: past slots took place there."""
    clinic = await fetch(db, actor, Clinic, clinic_id)
    query = select(model).where(model.clinic_id == clinic.id, visible(actor, model))
    return list(await db.scalars(oldest_first(query, model.created_at, model.id, after, limit)))


async def rename(
    db: AsyncSession, actor: Actor, model: type[Resource], *, id: uuid.UUID, version: int,
    new: NewRoom | NewPractitioner,
) -> Resource:  # fmt: skip
    """Those who have booked already read the new name too."""
    row = await _locked(db, actor, model, id, version)
    for name, value in new.model_dump().items():
        setattr(row, name, value)
    await audit.record(db, actor, "rename", model.__tablename__, id)
    await db.flush()  # raises the version
    return row


async def retire(
    db: AsyncSession, actor: Actor, model: type[Resource], *, id: uuid.UUID, version: int
) -> Resource:
    """No slot takes it up from now on; those published keep it. Not while a schedule goes on using it."""
    row = await _locked(db, actor, model, id, version)
    uses = exists().where(ScheduleLine.schedule_id == Schedule.id, LINE_OF[model] == id)
    using = await db.scalar(select(Schedule.id).where(uses, Schedule.status != ScheduleStatus.ENDED).limit(1))
    if using is not None:
        raise InUseBySchedule(schedule=str(using))
    row.retired_at = clock.now()
    await audit.record(db, actor, "retire", model.__tablename__, id)
    await db.flush()  # raises the version
    return row


async def _locked(
    db: AsyncSession, actor: Actor, model: type[Resource], id: uuid.UUID, version: int
) -> Resource:
    row = await fetch_version(db, actor, model, id, version)
    if row.retired_at is not None:
        raise WrongState(retired_at=row.retired_at.isoformat())
    return row


async def missing(
    db: AsyncSession, model: type[Resource], *, clinic_id: uuid.UUID, ids: set[uuid.UUID]
) -> set[uuid.UUID]:
    """Which of these the clinic does not have, or has retired. The others cannot retire until the transaction ends."""
    query = select(model.id).where(
        model.id.in_(ids), model.clinic_id == clinic_id, model.retired_at.is_(None)
    )
    return ids - set(await db.scalars(query.order_by(model.id).with_for_update(read=True))) if ids else set()
