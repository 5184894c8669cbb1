"""Places held for people, many at once: for the next in line, and for those whose time was closed."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as insert_unless
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus, Origin
from app.models.catalogue import HealthcareService
from app.services import audit

CODE_LENGTH = 10
#: A hold ends so long before the time at the latest, so that the place can still go to somebody else.
BEFORE_START = timedelta(hours=2)
#: What would have to be answered sooner is not offered: the place is simply free.
SHORTEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hold:
    """A place at a time for a subject. `slot` has id, clinic_id, service_id, starts_at, ends_at."""

    slot: Any
    subject_id: uuid.UUID
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    account_id: uuid.UUID | None
    region_code: str
    cycle: str
    places: int
    origin: Origin
    until: datetime
    session: int = 1
    course_id: uuid.UUID | None = None
    id: uuid.UUID = field(default_factory=new_id)

    def row(self) -> dict[str, Any]:
        copied = (
            "id", "subject_id", "person_id", "spouse_id", "account_id", "region_code", "cycle", "places", "origin",
            "session", "course_id",
        )  # fmt: skip
        slot = self.slot
        return {name: getattr(self, name) for name in copied} | {
            "slot_id": slot.id, "clinic_id": slot.clinic_id, "service_id": slot.service_id,
            "starts_at": slot.starts_at, "ends_at": slot.ends_at, "status": AppointmentStatus.HELD,
            "hold_expires_at": self.until, "code": tokens.random_code(CODE_LENGTH), "created_at": clock.now(),
        }  # fmt: skip


def until(service: HealthcareService, starts_at: datetime, least: timedelta = timedelta()) -> datetime | None:
    """Until when a place is held; None: too late to offer it."""
    ends = min(clock.now() + max(timedelta(hours=service.offer_hours), least), starts_at - BEFORE_START)
    return ends if ends >= clock.now() + SHORTEST else None


async def hold(db: AsyncSession, actor: Actor, holds: Sequence[Hold]) -> list[Hold]:
    """Make these; says which could be made. Whoever books something else for that time at this very moment is passed
    over. The caller holds the slots, and takes the places."""
    made = await _insert(db, holds)
    if made is None:
        made = [one for each in holds for one in await _insert(db, [each]) or []]
    await note(db, actor, AppointmentStatus.HELD, [(one.id, (one.person_id, one.spouse_id)) for one in made])
    return made


async def _insert(db: AsyncSession, holds: Sequence[Hold]) -> list[Hold] | None:
    """None: one of them broke a rule of the database, and so none was made."""
    if not holds:
        return []
    statement = insert_unless(Appointment).values([one.row() for one in holds]).on_conflict_do_nothing()
    try:
        async with db.begin_nested():
            made = set(await db.scalars(statement.returning(Appointment.id)))
    except DBAPIError as error:
        if not broken_rule(error):
            raise
        return None
    return [one for one in holds if one.id in made]


def broken_rule(error: DBAPIError) -> bool:
    """Class 23, integrity constraint violation: not a lost connection, a deadlock or a timeout."""
    return str(getattr(error.orig, "sqlstate", "")).startswith("23")


async def note(
    db: AsyncSession, actor: Actor, step: AppointmentStatus,
    moved: Iterable[tuple[uuid.UUID, Iterable[uuid.UUID | None]]], *, reason: str | None = None,
) -> None:  # fmt: skip
    """The event of the same step of many appointments, and the trail of each."""
    rows = list(moved)
    common = {
        "at": clock.now(),
        "status": step,
        "actor_role": actor.role,
        "actor_id": actor.id,
        "reason": reason,
    }
    if rows:
        await db.execute(insert(AppointmentEvent), [common | {"appointment_id": id} for id, _ in rows])
        await audit.record_each(db, actor, step, "appointment", rows)
