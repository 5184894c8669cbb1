"""For hospitals that can only poll: what has changed."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import Cursor, Db, View, example, partner_may
from app.models.appointments import AppointmentStatus
from app.services.appointments import changes

router = APIRouter(tags=["预约 appointments"])


class AppointmentState(View):
    status: AppointmentStatus
    slot_id: uuid.UUID
    clinic_id: uuid.UUID
    starts_at: datetime
    ends_at: datetime
    places: int
    service_code: str
    clinic_name: str
    people: list[str]


class AppointmentChange(View):
    """`appointment` as it is now; null where it was moved to another hospital."""

    id: uuid.UUID
    appointment: AppointmentState | None


class AppointmentChanges(View):
    """`next`: send it as `cursor` the next time, also when there was nothing. `more`: ask again at once."""

    model_config = example(
        items=[{"id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02", "appointment": None}],
        next="WyI5NDQiLCAiMDE5OGM1YTQtN2EzMC03YjFlLTlkNTUtM2YwYTZjMmIxZTAyIl0",
        more=False,
    )

    items: list[AppointmentChange]
    next: str
    more: bool


def transaction(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError("no number of a transaction")
    return number


@router.get("/appointments/changes", summary="预约变化 What has changed")
async def appointment_changes(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.APPOINTMENT_READ)],
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> AppointmentChanges:
    """Each appointment that has changed since `cursor`, once, as it is now; nothing is left out, whoever was writing
    meanwhile. Without `cursor` from the beginning. Names masked, of those who agree to your knowing them."""
    after = changes.BEGINNING if cursor is None else Cursor.decode(cursor, transaction, uuid.UUID)
    rows = await changes.since(db, actor, after=(after[0], after[1]), limit=limit + 1)
    shown = rows[:limit]
    if shown:
        after = (shown[-1].changed_in, shown[-1].id)
    items = [AppointmentChange.model_validate(row) for row in shown]
    return AppointmentChanges(items=items, next=Cursor.encode(*after), more=len(rows) > limit)
