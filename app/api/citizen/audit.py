"""Who looked at my file."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.services import audit

router = APIRouter(tags=["我的档案 own file"])


class AccessView(View):
    """`actor_role` says in what capacity, `purpose` why."""

    id: int
    at: datetime
    actor_role: str
    action: str
    entity: str
    entity_id: uuid.UUID | None
    purpose: str | None


@router.get(
    "/me/access-log", summary="谁看过我的档案 Who looked at my file", response_model=Listing[AccessView]
)
async def access_log(
    db: Db, actor: Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)], page: Paging
) -> dict[str, Any]:
    after = page.after(int)
    rows = await audit.own_file(db, actor, before=after[0] if after else None, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))
