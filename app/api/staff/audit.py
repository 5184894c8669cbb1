"""The audit trail, for auditors."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, staff_may
from app.errors import problems
from app.services import audit

router = APIRouter(tags=["审计 audit"])


class AuditEventView(View):
    id: int
    at: datetime
    actor_role: str
    actor_id: uuid.UUID | None
    action: str
    entity: str
    entity_id: uuid.UUID | None
    person_id: uuid.UUID | None
    purpose: str | None
    request_id: str


@router.get(
    "/audit-events",
    summary="审计记录 Audit trail",
    response_model=Listing[AuditEventView],
    responses=problems(audit.TrailOfWholeAssociation),
)
async def list_audit_events(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.AUDIT_READ)],
    page: Paging,
    person_id: uuid.UUID | None = None,
    actor_id: uuid.UUID | None = None,
) -> dict[str, Any]:
    """By person or by actor, newest first, for auditors of the whole association. Reading it is recorded too."""
    after = page.after_one(int)
    rows = await audit.trail(
        db,
        actor,
        person_id=person_id,
        actor_id=actor_id,
        before=after,
        limit=page.limit + 1,
    )
    return listing(rows, page, lambda row: (row.id,))
