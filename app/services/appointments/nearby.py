"""Other times near a closed one: slots with free places, and whom they suit."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import within
from app.models.appointments import Appointment, Clinic, Slot, SlotStatus
from app.models.catalogue import HealthcareService
from app.models.partners import Organization
from app.services.appointments import holding, line, making

#: How far ahead another time is looked for, and how long one waits for it.
HORIZON = timedelta(days=90)
Time = tuple[datetime, datetime]


@dataclass(slots=True)
class Seat:
    """A slot with free places. Those of the clinic come before those of its hospital, and these before the county's."""

    slot: Row[Any]
    free: int


@dataclass(slots=True)
class Engagements:
    """Where people are to be, and when the dates of their courses are."""

    times: dict[uuid.UUID | None, list[Time]] = field(default_factory=lambda: defaultdict(list))
    courses: dict[uuid.UUID | None, dict[int, Time]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, row: Any, slot: Any) -> None:
        time = slot.starts_at, slot.ends_at
        self.times[row.person_id].append(time)
        if row.spouse_id is not None:
            self.times[row.spouse_id].append(time)
        if row.course_id is not None:
            self.courses[row.course_id][row.session] = time

    def suits(self, row: Appointment, slot: Row[Any]) -> bool:
        """Nobody is elsewhere, and the dates of a course follow each other at one clinic."""
        times = self.times[row.person_id] + (self.times[row.spouse_id] if row.spouse_id else [])
        if any(start < slot.ends_at and end > slot.starts_at for start, end in times):
            return False
        return row.course_id is None or (
            slot.clinic_id == row.clinic_id
            and all(
                end <= slot.starts_at if session < row.session else start >= slot.ends_at
                for session, (start, end) in self.courses[row.course_id].items()
            )
        )


def nearest(row: Appointment, seats: Sequence[Seat], engaged: Engagements) -> Seat | None:
    """Never before the time that one had chosen."""
    for seat in seats:
        fits = seat.free >= row.places and seat.slot.starts_at >= row.starts_at
        if fits and engaged.suits(row, seat.slot):
            return seat
    return None


async def find(
    db: AsyncSession, clinic: Clinic, service: HealthcareService, first: datetime, needed: int, *,
    but: Collection[uuid.UUID],
) -> list[Seat]:  # fmt: skip
    """As many places as are needed, the nearest first, in other slots than these. They stay locked. One that somebody
    has at this very moment is passed over: who holds the closed slots waits for no other."""
    since = max(first, clock.now() + holding.BEFORE_START + holding.SHORTEST + timedelta(minutes=1))
    tier = case(
        (Slot.clinic_id == clinic.id, 0), (Clinic.organization_id == clinic.organization_id, 1), else_=2
    )
    order = (tier, Slot.starts_at, Slot.id)
    # Also before their release: who waits for that has booked nothing yet.
    free = and_(Slot.status == SlotStatus.OPEN, Slot.booked < Slot.capacity)
    before = func.sum(Slot.capacity - Slot.booked).over(order_by=order, rows=(None, -1))
    near = (
        select(Slot.id, func.coalesce(before, 0).label("before"))
        .join(Clinic, Clinic.id == Slot.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
        .where(Slot.service_id == service.id, Slot.starts_at >= since, Slot.starts_at < since + HORIZON)
        .where(free, Slot.id.not_in(but), _near(clinic), Organization.disabled_at.is_(None))
        .subquery()
    )
    enough = Slot.id.in_(select(near.c.id).where(near.c.before < needed))
    slots = select(*Slot.__table__.columns).join(Clinic, Clinic.id == Slot.clinic_id).where(enough, free)
    held = slots.order_by(*order).with_for_update(of=Slot, skip_locked=True)
    return [Seat(slot, slot.capacity - slot.booked) for slot in await db.execute(held)]


def _near(clinic: Clinic) -> ColumnElement[bool]:
    county = clinic.region_code[:6].ljust(12, "0")
    return or_(Clinic.organization_id == clinic.organization_id, within(Clinic.region_code, county))


async def engagements(db: AsyncSession, rows: Sequence[Appointment]) -> Engagements:
    """Of those whose appointments these were: from then on, and of a course all that stands of it."""
    if not rows:
        return Engagements()
    first = min(row.starts_at for row in rows)
    people = sorted({id for row in rows for id in (row.person_id, row.spouse_id) if id is not None})
    columns = (
        Appointment.person_id, Appointment.spouse_id, Appointment.starts_at, Appointment.ends_at,
        Appointment.course_id, Appointment.session,
    )  # fmt: skip
    theirs = or_(Appointment.person_id.in_(people), Appointment.spouse_id.in_(people))
    query = select(*columns).where(theirs, Appointment.status.in_(line.THERE), Appointment.ends_at > first)
    engaged = Engagements()
    for found in await db.execute(query):
        engaged.add(found, found)
    if courses := {row.course_id for row in rows} - {None}:
        mine = (Appointment.person_id.in_(people), Appointment.course_id.in_(courses))
        for found in await db.execute(select(*columns).where(*mine, Appointment.status.in_(making.STANDING))):
            engaged.courses[found.course_id][found.session] = found.starts_at, found.ends_at
    return engaged
