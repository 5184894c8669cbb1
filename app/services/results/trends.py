"""Repeated values of one person over time, and the picture of them."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import NotFound
from app.models.catalogue import ObservationDefinition, ServiceItem
from app.models.households import Person
from app.models.results import DiagnosticReport, Observation
from app.services import audit, identity
from app.services.results.versions import RELEASED

#: More would not be legible on a phone.
MOST = 24


@dataclass(frozen=True, slots=True)
class Point:
    on: date
    value: Decimal
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Trend:
    """Oldest first, all in one unit."""

    code: str
    zh: str
    en: str
    unit: str
    points: list[Point]


async def own(db: AsyncSession, actor: Actor, *, code: str) -> Trend:
    """The resident's own values, also those known under an earlier registration; not those of the spouse."""
    person = await identity.own(db, actor)
    return await _trend(db, actor, person, code, purpose=None)


async def of_person(
    db: AsyncSession, actor: Actor, *, person_id: uuid.UUID, code: str, purpose: str
) -> Trend:
    """For a worker, recorded with the purpose."""
    person = await fetch(db, actor, Person, person_id)
    return await _trend(db, actor, person, code, purpose=purpose)


async def _trend(db: AsyncSession, actor: Actor, person: Person, code: str, *, purpose: str | None) -> Trend:
    await audit.record(db, actor, "read_trend", "person", person.id, people=[person.id], purpose=purpose)
    query = (
        select(Observation, DiagnosticReport.issued_at, DiagnosticReport.service_id)
        .join(DiagnosticReport, DiagnosticReport.id == Observation.report_id)
        .where(
            Observation.person_id.in_(identity.known_as(person.id)),
            Observation.code == code,
            Observation.value_number.is_not(None),
            Observation.version == DiagnosticReport.current_version,
            DiagnosticReport.status.in_(RELEASED),
        )
        .order_by(DiagnosticReport.issued_at.desc(), DiagnosticReport.id.desc())
        .limit(MOST)
    )
    rows = list(await db.execute(query))
    if not rows:
        raise NotFound
    # Two units make no line: that of the newest value counts.
    newest, _, service_id = rows[0]
    unit = newest.unit
    points = [_point(one, issued) for one, issued, _ in reversed(rows) if one.unit == unit]
    zh, en = await _names(db, service_id, code)
    return Trend(code, zh, en, unit or "", points)


def _point(one: Observation, issued_at: datetime) -> Point:
    return Point(clock.day_of(issued_at), one.value_number or Decimal(0), one.range_low, one.range_high)


async def _names(db: AsyncSession, service_id: uuid.UUID, code: str) -> tuple[str, str]:
    """As the service calls it that the newest value is from; its own items before those that divisions added."""
    query = (
        select(ObservationDefinition.zh, ObservationDefinition.en)
        .join(ServiceItem, ServiceItem.id == ObservationDefinition.service_item_id)
        .where(ServiceItem.service_id == service_id, ObservationDefinition.code == code)
        .order_by(ServiceItem.region_code.is_not(None), ServiceItem.retired_at.is_not(None), ServiceItem.id)
    )
    found = (await db.execute(query.limit(1))).first()
    return (found[0], found[1]) if found else (code, code)
