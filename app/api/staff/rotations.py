"""Rotations: a plan by village and month, invitations, who came."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.access import Actor, Permission
from app.api.deps import (
    Day,
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    RegionCode,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.sheets import XLSX, sheet
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.rotations import InvitedHow, RotationStatus, RotationWork, TurnReason, TurnStatus
from app.services import eligibility, regions, rotations
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.rotations import turns

router = APIRouter(tags=["轮查 rotations"])
Read = Annotated[Actor, staff_may(Permission.ROTATION_READ)]
Count = Annotated[Actor, staff_may(Permission.ROTATION_COUNT)]
Answer = Annotated[Actor, staff_may(Permission.ROTATION_ANSWER)]
Manage = Annotated[Actor, staff_may(Permission.ROTATION_MANAGE)]
CLINIC = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04"
MONTHLY = [0, 0, 120, 120, 120, 80, 0, 0, 120, 120, 120, 120]


class RotationView(View):
    """`work`: how far the planning is. `placed` of `people` have a month."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e31", service_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e32",
        region_code="640104000000", first_year=2027, years=3, remind_days=21, remind_rounds=2, status="draft",
        work="done", people=12000, placed=12000, planned_at="2026-11-20T02:00:00Z", invited_through=None,
        created_at="2026-11-20T01:59:00Z", version=1,
    )  # fmt: skip

    id: uuid.UUID
    service_id: uuid.UUID
    region_code: str
    first_year: int
    years: int
    remind_days: int
    remind_rounds: int
    status: RotationStatus
    work: RotationWork
    people: int
    placed: int
    planned_at: datetime | None
    invited_through: date | None
    created_at: datetime
    version: int


class CapacityView(View):
    """`monthly` null: as published in slots."""

    clinic_id: uuid.UUID
    serves_region_code: str
    monthly: list[int] | None


class RotationDetail(View):
    rotation: RotationView
    capacities: list[CapacityView]


class NewRotation(rotations.NewRotation):
    model_config = example(
        service_code="womens_health_check", region_code="640104000000", first_year=2027, years=3,
        capacities=[{"clinic_id": CLINIC, "monthly": MONTHLY}],
    )  # fmt: skip


class NewCapacities(Versioned):
    model_config = example(version=1, capacities=[{"clinic_id": CLINIC, "monthly": MONTHLY}])

    capacities: rotations.Capacities


class Invite(Versioned):
    model_config = example(version=2, month="2027-03-01")

    month: Day


class TurnAnswer(Versioned):
    model_config = example(version=1, answered={"answer": "invited", "on": "2026-09-01", "how": "phone"})

    answered: turns.Answered


class TurnView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e33", person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        rotation_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e31", region_code="640104001201", clinic_id=CLINIC,
        month="2027-03-01", status="invited", reason=None, checked_year=2024, checked_on=None,
        invited_at="2027-02-10T01:00:00Z", reminders=0, appointment_id=None, version=2,
    )  # fmt: skip

    id: uuid.UUID
    rotation_id: uuid.UUID
    person_id: uuid.UUID
    region_code: str
    clinic_id: uuid.UUID | None
    month: date | None
    status: TurnStatus
    reason: TurnReason | None
    checked_year: int | None
    checked_on: date | None
    invited_at: datetime | None
    reminders: int
    appointment_id: uuid.UUID | None
    version: int


class StepView(View):
    at: datetime
    status: TurnStatus
    how: InvitedHow | None
    reason: TurnReason | None
    happened_on: date | None
    actor_role: str
    actor_id: uuid.UUID | None


class TurnDetail(View):
    turn: TurnView
    steps: list[StepView]


def _detail(stated: rotations.Stated) -> RotationDetail:
    return RotationDetail.model_validate(stated)


@router.get("/rotations", summary="轮查计划 Rotations", response_model=Listing[RotationView])
async def rotation_list(db: Db, actor: Count, page: Paging) -> dict[str, Any]:
    """Of the own region, a part of it, or a region around it. Newest first."""
    after = page.after_one(uuid.UUID)
    rows = await rotations.listing(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/rotations",
    status_code=201,
    summary="制定轮查计划 Plan a rotation",
    responses=problems(
        NotFound, Invalid, rotations.NotInRotation, rotations.AlreadyInRotation, regions.RegionOutsideOwn,
        eligibility.NoRuleInForce, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def create_rotation(db: Db, actor: Manage, key: IdempotencyKey, body: NewRotation) -> RotationDetail:
    """Everybody whom the service's rule admits comes round once. A job plans by village and month; read the rotation
    until its `work` is done."""
    return _detail(await rotations.create(db, actor, key=key, new=body))


@router.get("/rotations/{id}", summary="轮查计划详情 A rotation", responses=problems(NotFound))
async def rotation_detail(db: Db, actor: Count, id: uuid.UUID) -> RotationDetail:
    """With what its clinics take in each month."""
    return _detail(await rotations.read(db, actor, id=id))


CHANGES = (NotFound, StaleVersion, rotations.RotationEnded, regions.RegionOutsideOwn)


@router.put(
    "/rotations/{id}/capacities", summary="调整接诊能力 Change what clinics take",
    responses=problems(*CHANGES, Invalid),
)  # fmt: skip
async def restate_capacities(db: Db, actor: Manage, id: uuid.UUID, body: NewCapacities) -> RotationDetail:
    """Plans again: whoever was invited stays; of the others only those move whom their clinic no longer takes."""
    stated = await rotations.restate(db, actor, id=id, version=body.version, stated=body.capacities)
    return _detail(stated)


@router.post("/rotations/{id}/plan", summary="重新编排 Plan again", responses=problems(*CHANGES))
async def plan_again(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> RotationDetail:
    """As people and clinics are now; a published rotation is also renewed every night."""
    return _detail(await rotations.plan(db, actor, id=id, version=body.version))


@router.post(
    "/rotations/{id}/publish",
    summary="发布计划 Publish",
    responses=problems(*CHANGES, WrongState, rotations.StillPlanning),
)
async def publish_rotation(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> RotationDetail:
    """From here on invitations can be sent."""
    return _detail(await rotations.publish(db, actor, id=id, version=body.version))


@router.post("/rotations/{id}/end", summary="结束计划 End", responses=problems(*CHANGES))
async def end_rotation(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> RotationDetail:
    """Nobody is invited any more."""
    return _detail(await rotations.end(db, actor, id=id, version=body.version))


@router.post(
    "/rotations/{id}/invitations", summary="邀请到某月 Invite up to a month",
    responses=problems(*CHANGES, Invalid, rotations.NotPublished, rotations.StillPlanning),
)  # fmt: skip
async def invite_month(db: Db, actor: Manage, id: uuid.UUID, body: Invite) -> RotationDetail:
    """Those with an account are told once; the others are on their village's list (`by_hand`)."""
    stated = await rotations.invite(db, actor, id=id, version=body.version, month=body.month)
    return _detail(stated)


@router.get(
    "/rotations/{id}/preview", summary="计划预览 Who comes when",
    responses=problems(NotFound, Invalid, regions.RegionOutsideOwn),
)  # fmt: skip
async def preview_rotation(
    db: Db, actor: Read, id: uuid.UUID, region_code: Annotated[RegionCode | None, Query()] = None
) -> rotations.Preview:
    """By village and month, months above capacity, and how many found no room."""
    return await rotations.preview(db, actor, id=id, region_code=region_code)


@router.get(
    "/rotations/{id}/coverage", summary="覆盖情况 Coverage",
    responses=problems(NotFound, Invalid, regions.RegionOutsideOwn),
)  # fmt: skip
async def rotation_coverage(
    db: Db, actor: Count, id: uuid.UUID, region_code: Annotated[RegionCode | None, Query()] = None
) -> rotations.Coverage:
    """Attended of planned, by year and by division. Fewer than five people are hidden from those who may not see the
    lists."""
    return await rotations.measure(db, actor, id=id, region_code=region_code)


Month = Annotated[Day | None, Query(description="The first day of a month")]


@router.get(
    "/rotations/{id}/turns",
    summary="轮查名单 Whose turn it is",
    response_model=Listing[turns.Listed],
    responses=problems(NotFound, Invalid, regions.RegionOutsideOwn),
)
async def rotation_turns(
    db: Db, actor: Read, id: uuid.UUID, page: Paging, region_code: Annotated[RegionCode | None, Query()] = None,
    status: TurnStatus | None = None, month: Month = None, by_hand: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """By village, with masked names. `by_hand`: who has no account and is to be invited by the village."""
    wanted = turns.Wanted(region_code, status, month, by_hand)
    after = page.after(str, uuid.UUID)
    rows = await turns.listing(
        db, actor, rotation_id=id, wanted=wanted, after=after and (after[0], after[1]), limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row.region_code, row.id))


@router.get(
    "/rotations/{id}/workbook",
    summary="下载名单 The list as a sheet",
    response_class=Response,
    responses=problems(NotFound, Invalid, rotations.ListTooLong, regions.RegionOutsideOwn) | XLSX,
)
async def rotation_workbook(
    db: Db, actor: Read, id: uuid.UUID, purpose: Purpose, region_code: Annotated[RegionCode | None, Query()] = None,
    status: TurnStatus | None = None, month: Month = None, by_hand: bool = False,
) -> Response:  # fmt: skip
    """With masked names; who took it, and why, is recorded in the file of each."""
    wanted = turns.Wanted(region_code, status, month, by_hand)
    book = await rotations.workbook(db, actor, rotation_id=id, wanted=wanted, purpose=purpose)
    return sheet(book, "轮查名单.xlsx")


@router.get("/rotation-turns/{id}", summary="某人的轮次 A turn", responses=problems(NotFound))
async def rotation_turn(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> TurnDetail:
    """With its steps. Recorded, with the purpose, in the person's file."""
    turn, steps = await turns.read(db, actor, id=id, purpose=purpose)
    return TurnDetail.model_validate({"turn": turn, "steps": steps})


@router.post(
    "/rotation-turns/{id}/answers", summary="登记邀请和答复 Invited by hand, and what was answered",
    responses=problems(NotFound, StaleVersion, Invalid, WrongState),
)  # fmt: skip
async def answer_turn(db: Db, actor: Answer, id: uuid.UUID, body: TurnAnswer) -> TurnView:
    """Invited and how; declined and why; not reached; or checked elsewhere, which counts."""
    turn = await turns.answer(db, actor, id=id, version=body.version, answered=body.answered)
    return TurnView.model_validate(turn)
