"""Supplies (folic acid): plans, handing out, who is due."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, problems
from app.models.supplies import SupplyEnd, SupplyItem, SupplyStatus
from app.services import supplies
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["物资发放 supplies"])
Read = Annotated[Actor, staff_may(Permission.SUPPLY_READ)]
HandOutIt = Annotated[Actor, staff_may(Permission.SUPPLY_HAND_OUT)]


class SupplyPlanView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e10",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        item="folic_acid",
        months=6,
        months_given=0,
        starts_on="2026-10-01",
        next_due_on="2026-10-01",
        status="active",
        end_reason=None,
        version=1,
    )

    id: uuid.UUID
    person_id: uuid.UUID
    item: SupplyItem
    months: int
    months_given: int
    starts_on: date
    next_due_on: date
    status: SupplyStatus
    end_reason: SupplyEnd | None
    version: int


class HandOutView(View):
    id: uuid.UUID
    given_on: date
    months: int
    quantity: int
    batch: str
    given_by: uuid.UUID | None
    recorded_at: datetime


class SupplyPlanDetail(View):
    plan: SupplyPlanView
    handed_out: list[HandOutView]


class NewSupplyPlan(supplies.NewPlan):
    model_config = example(
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07", item="folic_acid", months=6, starts_on="2026-10-01"
    )


class NewHandOut(Versioned):
    model_config = example(
        version=1, given={"given_on": "2026-10-01", "months": 3, "quantity": 3, "batch": "YS20260801"}
    )

    given: supplies.HandOut


class EndSupplyPlan(Versioned):
    model_config = example(version=2, reason="no_longer_needed")

    reason: SupplyEnd


@router.get("/supply-plans", summary="待发放 Who is due", response_model=Listing[supplies.DueSupply])
async def due_supplies(
    db: Db, actor: Read, page: Paging, within_days: Annotated[int, Query(ge=0, le=366)] = 7
) -> dict[str, Any]:
    """Whose next supply is due within so many days, the longest waiting first, with masked names."""
    rows = await supplies.list_due(
        db,
        actor,
        within_days=within_days,
        after=page.after(date.fromisoformat, uuid.UUID),
        limit=page.limit + 1,
    )
    return listing(rows, page, lambda row: (row.next_due_on, row.id))


@router.get("/supply-plans/{id}", summary="发放计划 A plan", responses=problems(NotFound))
async def supply_plan(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> SupplyPlanDetail:
    """With what was handed out. Recorded, with the purpose, in the person's file."""
    row, given = await supplies.read(db, actor, plan_id=id, purpose=purpose)
    return SupplyPlanDetail.model_validate({"plan": row, "handed_out": given})


@router.post(
    "/supply-plans",
    status_code=201,
    summary="新增发放计划 Plan a supply",
    responses=problems(NotFound, Invalid, supplies.AlreadyPlanned, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def plan_supply(db: Db, actor: HandOutIt, key: IdempotencyKey, body: NewSupplyPlan) -> SupplyPlanView:
    """One under way at a time for a person and item."""
    return SupplyPlanView.model_validate(await supplies.plan(db, actor, key=key, new=body))


@router.post(
    "/supply-plans/{id}/hand-outs",
    status_code=201,
    summary="登记发放 Hand out",
    responses=problems(
        NotFound, StaleVersion, Invalid, supplies.PlanOver, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def hand_out_supply(
    db: Db, actor: HandOutIt, id: uuid.UUID, key: IdempotencyKey, body: NewHandOut
) -> SupplyPlanView:
    """Months, quantity and batch. The next is due when this will have been used up."""
    row = await supplies.hand_out(db, actor, key=key, plan_id=id, version=body.version, given=body.given)
    return SupplyPlanView.model_validate(row)


@router.post(
    "/supply-plans/{id}/end",
    summary="结束发放计划 End a plan",
    responses=problems(NotFound, StaleVersion, supplies.PlanOver),
)
async def end_supply_plan(db: Db, actor: HandOutIt, id: uuid.UUID, body: EndSupplyPlan) -> SupplyPlanView:
    """Before everything was handed out, with the reason."""
    row = await supplies.end(db, actor, plan_id=id, version=body.version, reason=body.reason)
    return SupplyPlanView.model_validate(row)
