"""The association sets prices, and accepts what hospitals have confirmed."""

import uuid
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Note, Paging, Versioned, example, listing, staff_may
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.services import regions, settlements

router = APIRouter(tags=["结算 settlement"])
Decide = Annotated[Actor, staff_may(Permission.SETTLEMENT_DECIDE)]


class ReturnSettlement(Versioned):
    model_config = example(version=1, reason="请核对 11 月 12 日上午的人次")

    reason: Note


@router.put(
    "/service-prices",
    summary="设定结算价格 Set a price",
    responses=problems(NotFound, regions.RegionOutsideOwn),
)
async def set_service_price(
    db: Db, actor: Annotated[Actor, staff_may(Permission.PRICE_SET)], body: settlements.NewPrice
) -> settlements.Price:
    """From a day on, for clinics of the own division. What was confirmed keeps its price."""
    return await settlements.set_price(db, actor, new=body)


@router.get("/service-prices", summary="结算价格 Prices", response_model=Listing[settlements.Price])
async def list_service_prices(
    db: Db, actor: Annotated[Actor, staff_may(Permission.SETTLEMENT_READ)], page: Paging
) -> dict[str, Any]:
    """Of the own division, those below and those above, latest first."""
    after = page.after(date.fromisoformat, uuid.UUID)
    rows = await settlements.prices(db, actor, after=after, limit=page.limit + 1)
    shown = listing(rows, page, lambda row: (row[1].valid_from.isoformat(), row[0]))
    shown["items"] = [price for _, price in shown["items"]]
    return shown


@router.post(
    "/settlements/{id}/accept",
    summary="核定结算 Accept a settlement",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def accept_settlement(db: Db, actor: Decide, id: uuid.UUID, body: Versioned) -> settlements.Sheet:
    """It is to be paid, and stays as it is."""
    return await settlements.accept(db, actor, id=id, version=body.version)


@router.post(
    "/settlements/{id}/return",
    summary="退回结算 Return a settlement",
    responses=problems(NotFound, StaleVersion, WrongState, settlements.TakenBackLater),
)
async def return_settlement(
    db: Db, actor: Decide, id: uuid.UUID, body: ReturnSettlement
) -> settlements.Sheet:
    """The hospital looks at it again and confirms anew; not once a later settlement has taken back part of it."""
    return await settlements.give_back(db, actor, id=id, version=body.version, reason=body.reason)
