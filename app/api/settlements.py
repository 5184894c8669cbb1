"""The settlement of a clinic's month: the same for the hospital and for the association."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.params import Depends

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, listing
from app.api.sheets import XLSX, sheet
from app.errors import NotFound, problems
from app.models.settlements import SettlementStatus
from app.services import settlements


class SettlementView(View):
    id: uuid.UUID
    clinic_id: uuid.UUID
    month: str
    status: SettlementStatus
    amount_fen: int
    reason: str | None
    version: int
    confirmed_at: datetime
    decided_at: datetime | None


def router(may: Callable[[Permission], Depends]) -> APIRouter:
    """For the door whose `may` this is."""
    router = APIRouter(tags=["结算 settlement"])
    read = Annotated[Actor, may(Permission.SETTLEMENT_READ)]

    @router.get(
        "/clinics/{id}/settlements/{month}",
        summary="某月结算 The settlement of a month",
        responses=problems(NotFound),
    )
    async def month_settlement(
        db: Db, actor: read, id: uuid.UUID, month: settlements.Month
    ) -> settlements.Sheet:
        """As confirmed, or a draft counted now. Lines of earlier months adjust what was settled then."""
        return await settlements.of_month(db, actor, clinic_id=id, month=month)

    @router.get(
        "/clinics/{id}/settlements/{month}/workbook",
        summary="下载某月结算 The settlement of a month as a sheet",
        response_class=Response,
        responses=problems(NotFound) | XLSX,
    )
    async def settlement_workbook(db: Db, actor: read, id: uuid.UUID, month: settlements.Month) -> Response:
        """Counts and money, no names."""
        book = await settlements.workbook(db, actor, clinic_id=id, month=month)
        return sheet(book, f"settlement-{month}.xlsx")

    @router.get("/settlements", summary="结算单列表 Settlements", response_model=Listing[SettlementView])
    async def list_settlements(db: Db, actor: read, page: Paging) -> dict[str, Any]:
        """Those confirmed, newest first, and what was returned."""
        before = page.after_one(uuid.UUID)
        rows = await settlements.listing(db, actor, before=before, limit=page.limit + 1)
        shown = listing(rows, page, lambda row: (row.id,))
        shown["items"] = [{**vars(row), "month": f"{row.month:%Y-%m}"} for row in shown["items"]]
        return shown

    @router.get("/settlements/{id}", summary="结算单 A settlement", responses=problems(NotFound))
    async def settlement_detail(db: Db, actor: read, id: uuid.UUID) -> settlements.Sheet:
        """With its lines, as confirmed."""
        return await settlements.detail(db, actor, id=id)

    return router
