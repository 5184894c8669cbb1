"""Follow-ups of the worker's region: what is due, taking one on, saying what came of it."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, Purpose, Versioned, View, example, listing, staff_may
from app.errors import NotFound, StaleVersion, problems
from app.models.follow_ups import FollowUpKind, FollowUpStatus
from app.services import follow_ups

router = APIRouter(tags=["随访 follow-ups"])
Read = Annotated[Actor, staff_may(Permission.FOLLOW_UP_READ)]
Complete = Annotated[Actor, staff_may(Permission.FOLLOW_UP_COMPLETE)]
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]


class FollowUpView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e05",
        report_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e06",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        kind="result_told",
        status="open",
        due_on="2026-09-15",
        outcome=None,
        completed_at=None,
        version=1,
    )

    id: uuid.UUID
    report_id: uuid.UUID
    person_id: uuid.UUID
    kind: FollowUpKind
    status: FollowUpStatus
    due_on: date
    outcome: dict[str, Any] | None
    completed_at: datetime | None
    version: int


class FollowUpStep(View):
    at: datetime
    status: FollowUpStatus
    actor_role: str


class FollowUpDetail(View):
    """The name is masked."""

    follow_up: FollowUpView
    name: str
    household_id: uuid.UUID | None
    events: list[FollowUpStep]


class CompleteFollowUp(Versioned):
    model_config = example(version=1, outcome={"kind": "result_told", "told": True, "channel": "home_visit"})

    outcome: follow_ups.Outcome


@router.get(
    "/follow-ups",
    summary="待随访 Follow-ups by due date",
    response_model=Listing[follow_ups.DueFollowUp],
)
async def due_follow_ups(
    db: Db,
    actor: Read,
    page: Paging,
    status: FollowUpStatus | None = None,
    overdue: bool | None = None,
) -> dict[str, Any]:
    """The most urgent first; obsolete ones only when asked for."""
    rows = await follow_ups.list_due(
        db,
        actor,
        after=page.after(date.fromisoformat, uuid.UUID),
        limit=page.limit + 1,
        status=status,
        overdue=overdue,
    )
    return listing(rows, page, lambda row: (row.due_on, row.id))


@router.get("/follow-ups/{id}", summary="随访详情 A follow-up", responses=problems(NotFound))
async def follow_up_detail(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> FollowUpDetail:
    """With its steps. Recorded, with the purpose, in the person's file."""
    detail = await follow_ups.read(db, actor, follow_up_id=id, purpose=purpose)
    return FollowUpDetail.model_validate(detail)


@router.post(
    "/follow-ups/{id}/contact",
    summary="联系方式（完整） How to reach the person",
    responses=problems(NotFound),
)
async def follow_up_contact(db: Db, actor: Unmask, id: uuid.UUID, purpose: Purpose) -> follow_ups.Contact:
    """Name, phone and address, unmasked. Recorded as such, with the purpose, in the person's file."""
    return await follow_ups.contact(db, actor, follow_up_id=id, purpose=purpose)


@router.post(
    "/follow-ups/{id}/start",
    summary="开始随访 Take it on",
    responses=problems(NotFound, StaleVersion, follow_ups.AlreadyStarted, follow_ups.NotLive),
)
async def start_follow_up(db: Db, actor: Complete, id: uuid.UUID, body: Versioned) -> FollowUpView:
    """From now on only people decide about it, whatever the hospital sends."""
    row = await follow_ups.start(db, actor, follow_up_id=id, version=body.version)
    return FollowUpView.model_validate(row)


@router.post(
    "/follow-ups/{id}/complete",
    summary="完成随访 Say what came of it",
    responses=problems(NotFound, StaleVersion, follow_ups.NotLive),
)
async def complete_follow_up(db: Db, actor: Complete, id: uuid.UUID, body: CompleteFollowUp) -> FollowUpView:
    """The outcome has the form of the follow-up's kind. One that does not conclude it (nobody reached, not pregnant
    yet) keeps it in progress, with a new due date."""
    row = await follow_ups.complete(db, actor, follow_up_id=id, version=body.version, outcome=body.outcome)
    return FollowUpView.model_validate(row)
