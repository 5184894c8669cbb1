"""The services that an association offers, and the items of each."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import NotFound
from app.models.catalogue import HealthcareService, ServiceItem
from app.services.results.catalogue import at
from app.settings import settings


async def services(db: AsyncSession) -> list[tuple[HealthcareService, list[ServiceItem]]]:
    """Every service on offer with its items in order."""
    offered = list(
        await db.scalars(
            select(HealthcareService).where(HealthcareService.active).order_by(HealthcareService.code)
        )
    )
    ids = [service.id for service in offered]
    query = select(ServiceItem).where(
        # What only a part of the association has added is no promise to all.
        ServiceItem.service_id.in_(ids), ServiceItem.retired_at.is_(None), at(settings().region_code)
    )  # fmt: skip
    query = query.order_by(ServiceItem.number, ServiceItem.id)
    items = list(await db.scalars(query))
    return [(service, [item for item in items if item.service_id == service.id]) for service in offered]


async def service(db: AsyncSession, code: str) -> HealthcareService:
    query = select(HealthcareService).where(HealthcareService.code == code, HealthcareService.active)
    found = await db.scalar(query)
    if found is None:
        raise NotFound
    return found
