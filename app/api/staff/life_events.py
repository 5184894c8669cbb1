"""What happens in the families of the worker's region, and their handbooks."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.citizen.handbook import HandbookStep
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    Purpose,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, WrongState, problems
from app.models.life_events import LifeEventKind
from app.services import life_events, moves
from app.services.households import belonging, history
from app.services.households.registration import AlreadyInHousehold, MarriedElsewhere
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.life_events.recording import listed

router = APIRouter(tags=["家庭变更 life events"])
Record = Annotated[Actor, staff_may(Permission.LIFE_EVENT_RECORD)]
Read = Annotated[Actor, staff_may(Permission.HOUSEHOLD_READ)]
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]


class RecordLifeEvent(Body):
    model_config = example(
        event={
            "kind": "birth",
            "happened_on": "2026-08-01",
            "evidence": "出生医学证明 W640001234，经办人已查验原件",
            "child": {
                "name": "李安安",
                "document_kind": "household_book",
                "document_number": "W640001234",
                "birth_date": "2026-08-01",
                "sex": "female",
                "hukou_region_code": "640104001000",
                "hukou_type": "urban",
            },
        }
    )

    event: life_events.Happened


class AnnulLifeEvent(Body):
    model_config = example(reason="死亡证明登记错人，经核实本人健在")

    reason: Note


class LifeEventView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11",
        kind="birth",
        household_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e12",
        happened_on="2026-08-01",
        recorded_at="2026-08-03T02:00:00Z",
        annuls_id=None,
        annulled_by=None,
    )

    id: uuid.UUID
    kind: LifeEventKind
    household_id: uuid.UUID
    person_id: uuid.UUID | None
    happened_on: date
    recorded_at: datetime
    annuls_id: uuid.UUID | None
    annulled_by: uuid.UUID | None


@router.post(
    "/households/{id}/life-events",
    status_code=201,
    summary="登记家庭变更 Record what happened in a family",
    responses=problems(
        Invalid,
        NotFound,
        WrongState,
        AlreadyInHousehold,
        MarriedElsewhere,
        belonging.NewHeadNeeded,
        belonging.Deceased,
        life_events.NotACouple,
        life_events.CategoryHeld,
        moves.MoveUnderWay,
        moves.MoveOutdated,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def record_life_event(
    db: Db, actor: Record, key: IdempotencyKey, id: uuid.UUID, body: RecordLifeEvent
) -> LifeEventView:
    """Birth, adoption, somebody who joins, marriage, divorce, death, a category gained or ended, another head. What
    proves it was seen."""
    row = await life_events.record(db, actor, key=key, household_id=id, event=body.event)
    return LifeEventView.model_validate(listed(row))


@router.get(
    "/households/{id}/life-events",
    summary="家庭变更记录 What was recorded of a family",
    response_model=Listing[LifeEventView],
    responses=problems(NotFound),
)
async def list_life_events(db: Db, actor: Read, id: uuid.UUID, page: Paging) -> dict[str, Any]:
    """Newest first: ids, kinds and dates, to find the one to annul."""
    before = page.after_one(uuid.UUID)
    rows = await life_events.listing(db, actor, household_id=id, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/life-events/{id}/annul",
    status_code=201,
    summary="撤销误登记的变更 Annul what was recorded by mistake",
    responses=problems(
        Invalid,
        NotFound,
        life_events.NotAnnullable,
        life_events.AlreadyAnnulled,
        life_events.LaterChanges,
        MarriedElsewhere,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def annul_life_event(
    db: Db, actor: Record, key: IdempotencyKey, id: uuid.UUID, body: AnnulLifeEvent
) -> LifeEventView:
    """A death, marriage, divorce or arrival, as long as nothing later depends on it. Nothing is deleted: it is a new
    event."""
    row = await life_events.annul(db, actor, key=key, event_id=id, reason=body.reason)
    return LifeEventView.model_validate(listed(row))


@router.get(
    "/households/{id}/handbook",
    summary="家庭手册（脱敏） A household's handbook, masked",
    response_model=Listing[HandbookStep],
    responses=problems(NotFound),
)
async def household_handbook(
    db: Db, actor: Read, id: uuid.UUID, purpose: Purpose, page: Paging
) -> dict[str, Any]:
    """The whole history in time order, names masked, without evidence. Recorded in the file of each member."""
    after = page.after(datetime.fromisoformat, str)
    rows = await history.read(db, actor, id=id, after=after, limit=page.limit + 1, purpose=purpose)
    return listing(rows, page, lambda row: (row.at.isoformat(), row.key))


@router.post(
    "/households/{id}/handbook/unmask",
    summary="家庭手册（完整） A household's handbook, unmasked",
    response_model=Listing[HandbookStep],
    responses=problems(NotFound),
)
async def unmask_household_handbook(
    db: Db, actor: Unmask, id: uuid.UUID, purpose: Purpose, page: Paging
) -> dict[str, Any]:
    """With names, evidence, old and new values. Recorded as such."""
    after = page.after(datetime.fromisoformat, str)
    rows = await history.read(
        db, actor, id=id, after=after, limit=page.limit + 1, purpose=purpose, opened=True
    )
    return listing(rows, page, lambda row: (row.at.isoformat(), row.key))
