"""Follow-ups of the worker's region: what is due and whose it is, taking one on, saying what came of it."""

import uuid
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app import clock
from app.access import Actor, Permission
from app.api.deps import (
    Db,
    Listing,
    Note,
    Paging,
    Purpose,
    RegionCode,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, problems
from app.models.follow_ups import FollowUpKind, FollowUpStatus, ReferralStep
from app.models.identity import Role
from app.services import follow_ups
from app.services.consents import ConsentRequired
from app.services.follow_ups import first_contact
from app.services.regions import RegionOutsideOwn

ELEVEN_MONTHS = timedelta(days=334)  # any eleven months in a row, or up to three days less
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
        topic="",
        step=None,
        status="open",
        due_on="2026-09-15",
        assignee_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08",
        doubted_at=None,
        referred_to=None,
        outcome=None,
        completed_at=None,
        version=1,
    )

    id: uuid.UUID
    report_id: uuid.UUID
    person_id: uuid.UUID
    kind: FollowUpKind
    topic: str
    step: ReferralStep | None
    status: FollowUpStatus
    due_on: date
    assignee_id: uuid.UUID | None
    doubted_at: datetime | None
    referred_to: uuid.UUID | None
    outcome: dict[str, Any] | None
    completed_at: datetime | None
    version: int


class FollowUpDetail(View):
    """The name is masked."""

    follow_up: FollowUpView
    name: str
    household_id: uuid.UUID | None
    events: list[follow_ups.Step]


class CompleteFollowUp(Versioned):
    model_config = example(version=1, outcome={"kind": "result_told", "told": True, "channel": "home_visit"})

    outcome: follow_ups.Outcome


class TakeReferralStep(Versioned):
    model_config = example(
        version=2,
        step={"step": "diagnosed", "on": "2026-09-20", "place": "市妇幼保健院", "diagnosis": "excluded"},
    )

    step: follow_ups.ReferralRecord


class HandOver(Versioned):
    model_config = example(version=1, to="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08", note="已电话联系两次")

    to: uuid.UUID
    note: Note | None = None


class DecideDoubt(Versioned):
    model_config = example(version=3, keep=False)

    keep: bool


class FollowUpWorker(View):
    """A colleague, and how many follow-ups are theirs to do."""

    id: uuid.UUID
    name: str
    role: Role
    region_code: str
    region_name: str
    live: int
    overdue: int
    escalated: int


class Figures(View):
    """In days, over those reached; `share_within` over those whose limit has passed or who were reached. Empty where
    fewer than five people stand behind it."""

    people: int | None
    waiting: int | None
    median_days: int | None
    p90_days: int | None
    share_within: float | None
    hidden: bool


class MonthFigures(Figures):
    month: date


class FirstContactView(View):
    region_code: str
    as_of: datetime | None
    total: Figures
    months: list[MonthFigures]


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
    kind: FollowUpKind | None = None,
    overdue: bool | None = None,
    escalated: bool | None = None,
    doubted: bool | None = None,
    mine: Annotated[bool, Query(description="Only one's own")] = False,
    unassigned: bool | None = None,
    assignee_id: uuid.UUID | None = None,
) -> dict[str, Any]:
    """The most urgent first; done and obsolete ones only when asked for. Escalated: overdue for so long that the
    township sees to it too. Doubted: begun, and an amended report no longer calls for it."""
    chosen = actor.account_id if mine else assignee_id
    rows = await follow_ups.list_due(
        db,
        actor,
        after=page.after(date.fromisoformat, uuid.UUID),
        limit=page.limit + 1,
        wished=follow_ups.Wished(status, kind, overdue, escalated, doubted, unassigned, chosen),
    )
    return listing(rows, page, lambda row: (row.due_on, row.id))


@router.get(
    "/follow-ups/workers",
    summary="随访人员和工作量 Who does follow-ups, and how many",
    response_model=Listing[FollowUpWorker],
)
async def follow_up_workers(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Colleagues of one's region and above it: to whom to hand over, and who has too much."""
    after = page.after_one(uuid.UUID)
    rows = await follow_ups.workers(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))


@router.get(
    "/follow-ups/first-contact",
    summary="异常结果到首次联系的天数 Days from an abnormal result to the first contact",
    responses=problems(RegionOutsideOwn),
)
async def days_to_first_contact(
    db: Db,
    actor: Read,
    region_code: RegionCode | None = None,
    from_month: Annotated[str | None, Query(pattern="^20[0-9]{2}-(0[1-9]|1[0-2])$")] = None,
    to_month: Annotated[str | None, Query(pattern="^20[0-9]{2}-(0[1-9]|1[0-2])$")] = None,
) -> FirstContactView:
    """By the month in which the result was issued, over a region and everything below it; the last twelve months unless
    told otherwise. Made anew every hour."""
    today = clock.today()
    last = date.fromisoformat(f"{to_month}-01") if to_month else today.replace(day=1)
    first = date.fromisoformat(f"{from_month}-01") if from_month else (last - ELEVEN_MONTHS).replace(day=1)
    found = await first_contact.measure(
        db, actor, region_code=region_code or actor.region_code, from_month=first, to_month=last
    )
    return FirstContactView.model_validate(found)


@router.get("/follow-ups/{id}", summary="随访详情 A follow-up", responses=problems(NotFound))
async def follow_up_detail(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> FollowUpDetail:
    """With its steps and what was written at them. Recorded, with the purpose, in the person's file."""
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
    "/follow-ups/{id}/take",
    summary="领取随访 Make it one's own",
    responses=problems(NotFound, StaleVersion, follow_ups.NotLive, follow_ups.AlreadyAssigned),
)
async def take_follow_up(db: Db, actor: Complete, id: uuid.UUID, body: Versioned) -> FollowUpView:
    """What nobody does; a township officer or above also takes what somebody does."""
    row = await follow_ups.take(db, actor, follow_up_id=id, version=body.version)
    return FollowUpView.model_validate(row)


@router.post(
    "/follow-ups/{id}/hand-over",
    summary="移交随访 Hand it over",
    responses=problems(NotFound, StaleVersion, Invalid, follow_ups.NotLive, follow_ups.AlreadyAssigned),
)
async def hand_over_follow_up(db: Db, actor: Complete, id: uuid.UUID, body: HandOver) -> FollowUpView:
    """To a worker whose region the person lives in, with a note."""
    row = await follow_ups.hand_over(
        db, actor, follow_up_id=id, version=body.version, to=body.to, note=body.note
    )
    return FollowUpView.model_validate(row)


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
    yet) keeps it in progress, with a new due date. A referral goes on in steps instead."""
    row = await follow_ups.complete(db, actor, follow_up_id=id, version=body.version, outcome=body.outcome)
    return FollowUpView.model_validate(row)


@router.post(
    "/follow-ups/{id}/steps",
    summary="记录转诊步骤 The next step of a referral",
    responses=problems(
        NotFound, StaleVersion, Invalid, follow_ups.NotLive, follow_ups.NotAReferral, follow_ups.StepNotAllowed,
        ConsentRequired,
    ),
)  # fmt: skip
async def take_referral_step(db: Db, actor: Complete, id: uuid.UUID, body: TakeReferralStep) -> FollowUpView:
    """Informed, referred, seen, diagnosed, outcome; what may be skipped, and when it may end as declined or lost, the
    rule says. Naming a partner hospital lets it see who is to come, for which she must have agreed."""
    row = await follow_ups.take_step(db, actor, follow_up_id=id, version=body.version, said=body.step)
    return FollowUpView.model_validate(row)


@router.post(
    "/follow-ups/{id}/doubt",
    summary="确认随访是否作废 Whether what was begun goes on",
    responses=problems(NotFound, StaleVersion, follow_ups.NotDoubted),
)
async def decide_doubt(db: Db, actor: Complete, id: uuid.UUID, body: DecideDoubt) -> FollowUpView:
    """For what somebody has begun and an amended report no longer calls for."""
    row = await follow_ups.decide_doubt(db, actor, follow_up_id=id, version=body.version, keep=body.keep)
    return FollowUpView.model_validate(row)
