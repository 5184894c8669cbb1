"""Schedules of a clinic, with rooms and practitioners."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.models.appointments import Clinic, Slot
from app.models.schedules import Practitioner, Room, Schedule
from app.services import schedules
from app.services.idempotency import Key
from app.services.schedules import NewPractitioner, NewRoom, NewSchedule, Template

#: Two mornings of two hours: eight slots a week.
LINE = {"weekday": 1, "begins": "08:00", "ends": "10:00", "minutes": 30, "capacity": 5}
TEMPLATE: dict[str, Any] = {
    "name": "上午", "from_on": "2026-12-01", "until_on": "2026-12-31", "days_ahead": 7, "release_time": "08:00",
    "lines": [LINE, LINE | {"weekday": 2}],
}  # fmt: skip


def key() -> Key:
    return Key(new_id(), b"")


def template(**changes: Any) -> Template:
    return Template.model_validate(TEMPLATE | changes)


async def room(session: AsyncSession, actor: Actor, clinic: Clinic, name: str = "201 诊室") -> Room:
    return await schedules.add(session, actor, Room, key=key(), clinic_id=clinic.id, new=NewRoom(name=name))


async def practitioner(
    session: AsyncSession, actor: Actor, clinic: Clinic, name: str = "赵敏"
) -> Practitioner:
    new = NewPractitioner(name=name, title="主任医师")
    return await schedules.add(session, actor, Practitioner, key=key(), clinic_id=clinic.id, new=new)


async def schedule(session: AsyncSession, actor: Actor, clinic: Clinic, **changes: Any) -> Schedule:
    new = {"clinic_id": clinic.id, "service_code": "pre_pregnancy_check"} | TEMPLATE | changes
    return await schedules.create(session, actor, key=key(), new=NewSchedule.model_validate(new))


async def slots(session: AsyncSession, row: Schedule) -> list[Slot]:
    """Those of the schedule, in order of time."""
    query = select(Slot).where(Slot.schedule_id == row.id).order_by(Slot.starts_at, Slot.id)
    return list(await session.scalars(query.execution_options(populate_existing=True)))
