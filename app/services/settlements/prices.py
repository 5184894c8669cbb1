"""What an appointment is paid, by service, division and day."""

import uuid
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, within
from app.db import new_id
from app.models.catalogue import HealthcareService
from app.models.settlements import ServicePrice
from app.services import audit, regions
from app.services.appointments import catalogue
from app.services.plain import Body, Day, Line, RegionCode, example
from app.services.regions.files import above


class NewPrice(Body):
    """In fen, for each fulfilled appointment at clinics of the division, from that day on."""

    model_config = example(
        service_code="pre_pregnancy_check",
        region_code="640104000000",
        valid_from="2026-12-01",
        price_fen=38_400,
    )

    service_code: Line
    region_code: RegionCode
    valid_from: Day
    price_fen: Annotated[int, Field(strict=True, ge=0, le=100_000_000)]


@dataclass(frozen=True, slots=True)
class Price:
    service_code: str
    region_code: str
    valid_from: date
    price_fen: int


async def set_price(db: AsyncSession, actor: Actor, *, new: NewPrice) -> Price:
    """In the worker's own division. The same division, service and day again corrects it; what was confirmed keeps the
    price that it was confirmed with."""
    await regions.require_own_region(db, actor, new.region_code)
    service = await catalogue.service(db, new.service_code)
    values = {
        "id": new_id(), "service_id": service.id, "region_code": new.region_code, "valid_from": new.valid_from,
        "price_fen": new.price_fen, "created_by": actor.id, "created_at": clock.now(),
    }  # fmt: skip
    made = insert(ServicePrice).values(values)
    changed = {name: made.excluded[name] for name in ("price_fen", "created_by", "created_at")}
    made = made.on_conflict_do_update(
        constraint="uq_service_price_service_id_region_code_valid_from", set_=changed
    )
    id = await db.scalar(made.returning(ServicePrice.id))
    await audit.record(db, actor, "set_price", "service_price", id)
    return Price(service.code, new.region_code, new.valid_from, new.price_fen)


async def prices(
    db: AsyncSession, actor: Actor, *, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[tuple[uuid.UUID, Price]]:
    """Those that count in the worker's own division, latest first: its own, of divisions below, and of those above."""
    query = select(ServicePrice, HealthcareService.code).join(
        HealthcareService, HealthcareService.id == ServicePrice.service_id
    )
    query = query.where(
        or_(
            within(ServicePrice.region_code, actor.region_code),
            ServicePrice.region_code.in_(above(actor.region_code)),
        )
    )
    if after is not None:
        on, id = after
        query = query.where(
            or_(ServicePrice.valid_from < on, (ServicePrice.valid_from == on) & (ServicePrice.id < id))
        )
    query = query.order_by(ServicePrice.valid_from.desc(), ServicePrice.id.desc()).limit(limit)
    return [
        (row.id, Price(code, row.region_code, row.valid_from, row.price_fen))
        for row, code in await db.execute(query)
    ]
