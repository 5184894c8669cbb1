"""The resident's own invitations."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, Versioned, View, example, listing, resident_may
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.rotations import TurnReason, TurnStatus
from app.services.rotations import turns

router = APIRouter(tags=["轮查 rotations"])
Read = Annotated[Actor, resident_may(Permission.ROTATION_READ)]
Answer = Annotated[Actor, resident_may(Permission.ROTATION_ANSWER)]


class Decline(Versioned):
    model_config = example(version=2, reason="no_time")

    reason: TurnReason


class Declined(View):
    id: uuid.UUID
    status: TurnStatus
    reason: TurnReason | None
    version: int


@router.get("/rotation-turns", summary="我的邀请 My invitations", response_model=Listing[turns.Invitation])
async def my_invitations(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """What one is invited to, and what became of it. Booking is the usual one."""
    after = page.after_one(uuid.UUID)
    rows = await turns.own(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/rotation-turns/{id}/decline",
    summary="谢绝邀请 Decline",
    responses=problems(NotFound, StaleVersion, Invalid, WrongState),
)
async def decline_invitation(db: Db, actor: Answer, id: uuid.UUID, body: Decline) -> Declined:
    """With a reason from the list. One may still book."""
    turn = await turns.decline(db, actor, id=id, version=body.version, reason=body.reason)
    return Declined.model_validate(turn)
