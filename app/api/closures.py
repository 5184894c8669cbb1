"""Closing a clinic for some hours: the same for the workers of a region and for a hospital."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.params import Depends

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Line, Listing, Moment, Paging, View, example, listing
from app.errors import NotFound, problems
from app.models.closures import ClosureReason, ClosureStatus
from app.services.appointments import closures
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken


class ClosurePreview(View):
    """How many slots would be cancelled, how many booked and held places moved, and who has arrived and stays."""

    model_config = example(slots=8, appointments=31, held=2, arrived=0)

    slots: int
    appointments: int
    held: int
    arrived: int


class ClosureView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e30",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_id=None,
        from_at="2026-12-03T00:00:00Z",
        to_at="2026-12-03T04:00:00Z",
        reason="equipment",
        slots=8,
        status="done",
        created_at="2026-12-02T01:00:00Z",
        done_at="2026-12-02T01:00:01Z",
    )

    id: uuid.UUID
    clinic_id: uuid.UUID
    service_id: uuid.UUID | None
    from_at: datetime
    to_at: datetime
    reason: ClosureReason
    slots: int
    status: ClosureStatus
    created_at: datetime
    done_at: datetime | None


class ClosureReport(ClosureView):
    """`affected` = `offered` + `without`; `offered` = `unanswered` + `accepted` + `declined` + `expired`; of those
    without, `waiting` stand in the waiting list. `remaining` are still to be moved."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e30",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_id=None,
        from_at="2026-12-03T00:00:00Z",
        to_at="2026-12-03T04:00:00Z",
        reason="equipment",
        slots=8,
        status="done",
        created_at="2026-12-02T01:00:00Z",
        done_at="2026-12-02T01:00:01Z",
        affected=33,
        offered=30,
        unanswered=4,
        accepted=24,
        declined=1,
        expired=1,
        waiting=3,
        without=3,
        remaining=0,
    )

    affected: int
    offered: int
    unanswered: int
    accepted: int
    declined: int
    expired: int
    waiting: int
    without: int
    remaining: int


def router(may: Callable[[Permission], Depends]) -> APIRouter:
    """For the door whose `may` this is."""
    router = APIRouter(tags=["停诊 closures"])

    @router.get(
        "/closures/preview",
        summary="停诊影响 What closing would mean",
        responses=problems(NotFound),
    )
    async def preview_closure(
        db: Db,
        actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)],
        clinic_id: uuid.UUID,
        from_at: Moment,
        to_at: Moment,
        service_code: Annotated[Line | None, Query()] = None,
    ) -> ClosurePreview:
        window = closures.Window(clinic_id=clinic_id, service_code=service_code, from_at=from_at, to_at=to_at)
        return ClosurePreview.model_validate(await closures.preview(db, actor, window=window))

    @router.post(
        "/closures",
        status_code=201,
        summary="停诊 Close a clinic for some hours",
        responses=problems(NotFound, IdempotencyKeyReused, IdempotencyKeyTaken),
    )
    async def close_clinic(
        db: Db,
        actor: Annotated[Actor, may(Permission.SLOT_PUBLISH)],
        key: IdempotencyKey,
        body: closures.NewClosure,
    ) -> ClosureReport:
        """Everyone who has a place then, and has not arrived, is offered another time and told once. Of many thousands
        `status` is `closing` until all are moved."""
        return ClosureReport.model_validate(await closures.close(db, actor, key=key, new=body))

    @router.get("/closures", summary="停诊记录 Closures", response_model=Listing[ClosureView])
    async def list_closures(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], page: Paging
    ) -> dict[str, Any]:
        """Newest first."""
        after = page.after_one(uuid.UUID)
        rows = await closures.recent(db, actor, before=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row["id"],))

    @router.get("/closures/{id}", summary="停诊结果 What became of it", responses=problems(NotFound))
    async def closure(
        db: Db, actor: Annotated[Actor, may(Permission.SLOT_READ)], id: uuid.UUID
    ) -> ClosureReport:
        return ClosureReport.model_validate(await closures.report(db, actor, id=id))

    return router
