"""What is to follow from a result."""

import uuid
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing, resident_may
from app.models.follow_ups import FollowUpKind, FollowUpStatus, ReferralStep
from app.services import follow_ups

router = APIRouter(tags=["随访 follow-ups"])
Read = Annotated[Actor, resident_may(Permission.FOLLOW_UP_READ)]


class OwnFollowUp(View):
    """With what to expect, in words that say no result."""

    id: uuid.UUID
    report_id: uuid.UUID
    kind: FollowUpKind
    status: FollowUpStatus
    step: ReferralStep | None
    due_on: date
    zh: str
    en: str
    expect_zh: str
    expect_en: str


@router.get("/follow-ups", summary="我的随访 My follow-ups", response_model=Listing[OwnFollowUp])
async def my_follow_ups(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Newest first."""
    after = page.after_one(uuid.UUID)
    rows = await follow_ups.list_own(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))
