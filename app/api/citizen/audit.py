"""Who looked at my file."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, computed_field

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.models.identity import ROLE_NAMES, Role
from app.services import audit

router = APIRouter(tags=["我的档案 own file"])


class AccessView(View):
    """`actor_role` says in what capacity, `purpose` why."""

    id: int
    at: datetime
    actor_role: Role
    actor_name: Annotated[str | None, Field(description="The hospital's name, or the worker's region")]
    own: Annotated[bool, Field(description="From the resident's own account")]
    action: str
    entity: str
    entity_id: uuid.UUID | None
    purpose: str | None

    @computed_field
    def role_zh(self) -> str:
        return ROLE_NAMES[self.actor_role][0]

    @computed_field
    def role_en(self) -> str:
        return ROLE_NAMES[self.actor_role][1]


@router.get(
    "/me/access-log", summary="谁看过我的档案 Who looked at my file", response_model=Listing[AccessView]
)
async def access_log(
    db: Db, actor: Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)], page: Paging
) -> dict[str, Any]:
    after = page.after_one(int)
    rows = await audit.own_file(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))
