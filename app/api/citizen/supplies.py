"""What the resident is to come for."""

import uuid
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.models.supplies import SupplyItem, SupplyStatus
from app.services import supplies

router = APIRouter(tags=["物资发放 supplies"])
Read = Annotated[Actor, resident_may(Permission.SUPPLY_READ)]


class OwnSupply(View):
    id: uuid.UUID
    item: SupplyItem
    months: int
    months_given: int
    next_due_on: date
    status: SupplyStatus


@router.get("/supply-plans", summary="我的发放计划 My supplies", response_model=Listing[OwnSupply])
async def my_supplies(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Newest first."""
    after = page.after_one(uuid.UUID)
    rows = await supplies.list_own(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))
