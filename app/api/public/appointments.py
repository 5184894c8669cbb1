"""The services on offer."""

import uuid

from fastapi import APIRouter

from app.api.deps import Db, View
from app.models.catalogue import AppliesTo, Cycle, Subject
from app.services.appointments import catalogue

router = APIRouter(tags=["服务 services"])


class ItemView(View):
    number: int
    zh: str
    en: str
    applies_to: AppliesTo


class ServiceView(View):
    """`cycle_years`: once in so many years. `sessions`: a course of so many dates. `places_limit`: places that one
    booking may take. `cancel_hours`: until so long before it begins residents cancel or move by themselves. Who did not
    come `no_show_limit` times within `no_show_days` waits; 0: nobody does."""

    id: uuid.UUID
    code: str
    zh: str
    en: str
    preparation_zh: str
    preparation_en: str
    subject: Subject
    cycle: Cycle
    validity_months: int
    sensitive: bool
    cycle_years: int
    sessions: int
    places_limit: int
    cancel_hours: int
    no_show_limit: int
    no_show_days: int
    certificate: bool
    items: list[ItemView]


@router.get("/services", summary="服务目录 Services on offer")
async def list_services(db: Db) -> list[ServiceView]:
    """Each with its items and whom of a couple each item examines."""
    names = [name for name in ServiceView.model_fields if name != "items"]
    return [
        ServiceView.model_validate({name: getattr(service, name) for name in names} | {"items": items})
        for service, items in await catalogue.services(db)
    ]
