"""The settlement of a month as it stands: counted now, or as it was confirmed."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, visible
from app.errors import Unfit
from app.models.appointments import Clinic
from app.models.catalogue import HealthcareService
from app.models.settlements import Settlement, SettlementLine, SettlementStatus
from app.services.pages import newest_first
from app.services.settlements import counting
from app.services.settlements.counting import Counted


def _known(text: str) -> str:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", text):
        raise Unfit("月份写作 YYYY-MM", "a month is written YYYY-MM")
    return text


Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}$"), AfterValidator(_known)]


def first_of(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


@dataclass(frozen=True, slots=True)
class Line:
    """One service of one month at one price. `month` is an earlier one where it adjusts what was settled before;
    `arrived` and `no_shows` are told, not paid."""

    service_code: str
    service_zh: str
    service_en: str
    month: str
    fulfilled: int
    reversed: int
    arrived: int
    no_shows: int
    price_fen: int | None
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A draft has no id, and is counted anew each time."""

    id: uuid.UUID | None
    clinic_id: uuid.UUID
    clinic_name: str
    month: str
    status: SettlementStatus | Literal["draft"]
    amount_fen: int
    reason: str | None
    version: int | None
    confirmed_at: datetime | None
    decided_at: datetime | None
    lines: list[Line]


async def of_month(db: AsyncSession, actor: Actor, *, clinic_id: uuid.UUID, month: str) -> Sheet:
    """What was confirmed, or else what there is to confirm. Counts only: nobody's name."""
    clinic = await fetch(db, actor, Clinic, clinic_id)
    query = select(Settlement).where(
        Settlement.clinic_id == clinic.id, Settlement.month == first_of(month),
        Settlement.status != SettlementStatus.RETURNED, visible(actor, Settlement),
    )  # fmt: skip
    row = await db.scalar(query)
    if row is not None:
        return await sheet_of(db, clinic, row)
    lines = await lines_of(db, await counting.count(db, clinic, first_of(month)))
    total = sum(line.amount_fen for line in lines)
    return Sheet(None, clinic.id, clinic.name, month, "draft", total, None, None, None, None, lines)


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Sheet:
    row = await fetch(db, actor, Settlement, id)
    return await sheet_of(db, await fetch(db, actor, Clinic, row.clinic_id), row)


async def listing(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[Settlement]:
    """Those confirmed, newest first, with what was returned."""
    query = select(Settlement).where(visible(actor, Settlement))
    return list(await db.scalars(newest_first(query, Settlement.confirmed_at, Settlement.id, before, limit)))


async def sheet_of(db: AsyncSession, clinic: Clinic, row: Settlement) -> Sheet:
    kept = await db.scalars(
        select(SettlementLine)
        .where(SettlementLine.settlement_id == row.id)
        .order_by(SettlementLine.month.desc(), SettlementLine.service_id, SettlementLine.price_fen)
    )
    return Sheet(
        row.id, clinic.id, clinic.name, f"{row.month:%Y-%m}", row.status, row.amount_fen, row.reason, row.version,
        row.confirmed_at, row.decided_at, await lines_of(db, list(kept)),
    )  # fmt: skip


async def lines_of(db: AsyncSession, counted: Iterable[Counted | SettlementLine]) -> list[Line]:
    rows = list(counted)
    ids = {row.service_id for row in rows}
    services = {
        service.id: service
        for service in await db.scalars(select(HealthcareService).where(HealthcareService.id.in_(ids)))
    }
    return [
        Line(
            services[row.service_id].code, services[row.service_id].zh, services[row.service_id].en,
            f"{row.month:%Y-%m}", row.fulfilled, row.reversed, row.arrived, row.no_shows, row.price_fen,
            row.amount_fen,
        )
        for row in rows
    ]  # fmt: skip
