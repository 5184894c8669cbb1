"""What has changed with a hospital's appointments since it last asked, for one that can only poll.

In the order of the transactions that changed them, and only of those before which none is open any more: whatever
commits later is later in this order too, so that nobody who remembers how far they have read misses anything. A long
transaction delays the list, and never leaves a gap in it. An appointment stands in it once, as it is now."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    Select,
    Subquery,
    func,
    literal_column,
    select,
    true,
    union,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.crypto import mask_name
from app.models.appointments import Appointment, AppointmentLeft, AppointmentStatus, Clinic
from app.services.appointments import reading

Place = tuple[int, uuid.UUID]
BEGINNING: Place = (0, uuid.UUID(int=0))
OPEN_FROM: ColumnClause[int] = literal_column(
    "(pg_snapshot_xmin(pg_current_snapshot())::text)::bigint", BigInteger()
)


@dataclass(frozen=True, slots=True)
class State:
    status: AppointmentStatus
    slot_id: uuid.UUID
    clinic_id: uuid.UUID
    starts_at: datetime
    ends_at: datetime
    places: int
    service_code: str
    clinic_name: str
    people: list[str]


@dataclass(frozen=True, slots=True)
class Change:
    """`appointment` is None where it is at this hospital no more."""

    id: uuid.UUID
    changed_in: int
    appointment: State | None


async def since(db: AsyncSession, actor: Actor, *, after: Place, limit: int) -> list[Change]:
    """The next so many; none is one read of an index for each clinic."""
    found = (await db.execute(_changed(actor, after, limit))).all()
    if not found:
        return []
    query = reading.named(actor).add_columns(Appointment.slot_id, Appointment.clinic_id, Appointment.places)
    query = query.where(visible(actor, Appointment), Appointment.id.in_([row.id for row in found]))
    now = {row.id: _state(row._asdict()) for row in await db.execute(query)}
    return [Change(row.id, row.changed_in, now.get(row.id)) for row in found]


def _changed(actor: Actor, after: Place, limit: int) -> Select[Any]:
    clinics = select(Clinic.id).where(visible(actor, Clinic)).subquery()
    here = select(Appointment.id, Appointment.changed_in, Appointment.clinic_id).subquery()
    left = select(
        AppointmentLeft.appointment_id.label("id"), AppointmentLeft.changed_in, AppointmentLeft.clinic_id
    ).subquery()
    # Moved between two clinics of one hospital it is in both, and told once.
    both = union(*(_of_each(clinics, rows, after, limit) for rows in (here, left))).subquery()
    return select(both).order_by(both.c.changed_in, both.c.id).limit(limit)


def _of_each(clinics: Subquery, rows: Subquery, after: Place, limit: int) -> Select[Any]:
    """Clinic by clinic, so that each is read from where one stopped in the order of its index."""
    part = (
        select(rows.c.id, rows.c.changed_in)
        .where(
            rows.c.clinic_id == clinics.c.id,
            func.row(rows.c.changed_in, rows.c.id) > func.row(*after),
            rows.c.changed_in < OPEN_FROM,
        )
        .order_by(rows.c.changed_in, rows.c.id)
        .limit(limit)
        .lateral()
    )
    return select(part).select_from(clinics.join(part, true()))


def _state(row: dict[str, Any]) -> State:
    people = [mask_name(name) for name in row.pop("people") if name]
    row.pop("id")
    return State(**row, people=people)
