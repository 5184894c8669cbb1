"""A hospital confirms what it is to be paid."""

from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, partner_may
from app.errors import NotFound, problems
from app.services import settlements
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["结算 settlement"])


@router.post(
    "/settlements",
    status_code=201,
    summary="确认结算 Confirm a settlement",
    responses=problems(
        NotFound, settlements.MonthNotOver, settlements.PriceMissing, settlements.SettlementChanged,
        settlements.SettlementExists, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def confirm_settlement(
    db: Db,
    actor: Annotated[Actor, partner_may(Permission.SETTLEMENT_CONFIRM)],
    key: IdempotencyKey,
    body: settlements.ConfirmSettlement,
) -> settlements.Sheet:
    """Once the month is over, with the amount that you have seen. What changes later adjusts the next month."""
    return await settlements.confirm(db, actor, key=key, new=body)
