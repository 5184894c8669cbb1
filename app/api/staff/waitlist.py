"""Waiting lists as workers see them: who of their region waits, in order."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import Db, Line, Listing, Paging, View, example, listing, staff_may
from app.errors import NotFound, problems
from app.services.appointments import entries

router = APIRouter(tags=["候补 waiting list"])


class WaitingView(View):
    """`first`: lost a time to a closure and found no other, and so comes before those who joined by themselves."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e20",
        people=["李*英", "王*军"],
        region_code="640104001201",
        from_on="2026-12-01",
        to_on="2026-12-31",
        places=1,
        first=False,
        created_at="2026-11-22T01:00:00Z",
    )

    id: uuid.UUID
    people: list[str]
    region_code: str
    from_on: date
    to_on: date
    places: int
    first: bool
    created_at: datetime


@router.get(
    "/waitlist",
    summary="候补名单 Who waits",
    response_model=Listing[WaitingView],
    responses=problems(NotFound),
)
async def waiting_line(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.APPOINTMENT_READ)],
    page: Paging,
    clinic_id: uuid.UUID,
    service_code: Annotated[Line, Query()],
) -> dict[str, Any]:
    """For a service at a clinic: those of the own region, in the order in which they are called; names masked."""
    after = page.after(int, int)
    rows = await entries.in_line(
        db, actor, clinic_id=clinic_id, service_code=service_code, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row["priority"], row["number"]))
