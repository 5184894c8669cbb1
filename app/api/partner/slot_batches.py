"""Many slots in one signed request."""

import uuid
from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, View, example, partner_may
from app.errors import problems
from app.services.appointments import bulk
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["预约 appointments"])


class PublishedView(View):
    """In the order of the request."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02", verdict="published", zh="已发布", en="published"
    )

    id: uuid.UUID | None
    verdict: bulk.SlotVerdict
    zh: str
    en: str


@router.post(
    "/slot-batches",
    summary="批量发布号源 Publish many slots",
    responses=problems(IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def publish_slots(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.SLOT_PUBLISH)],
    key: IdempotencyKey,
    body: bulk.NewSlots,
) -> list[PublishedView]:
    """Up to 500, a verdict for each: one that cannot be published does not hinder the others."""
    answers = await bulk.publish(db, actor, key=key, new=body.slots)
    return [PublishedView.model_validate(one) for one in answers]
