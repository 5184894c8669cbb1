"""A clinic whose one slot is taken, and people who wait for it."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.catalogue import HealthcareService
from app.models.messages import InboxMessage
from app.models.waitlist import WaitlistEntry
from app.services import eligibility
from app.services.appointments import bookings, entries
from app.services.appointments.entries import NewEntry
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Hospital, Spouses

SOON = timedelta(days=3)


@dataclass(frozen=True)
class Place:
    """A clinic with a service; slots begin three days from now, an hour apart."""

    hospital: Hospital
    service: HealthcareService

    async def slot(self, session: AsyncSession, hour: int = 0, *, capacity: int = 1, **more: Any) -> Slot:
        starts = more.pop("starts_at", at(hour))
        return await appointments.slot(
            session, place=more.pop("clinic", self.hospital.clinic), service=self.service, starts_at=starts,
            capacity=capacity, **more,
        )  # fmt: skip


def at(hour: int) -> datetime:
    day = (clock.now() + SOON).astimezone(clock.SHANGHAI).replace(hour=8, minute=0, second=0, microsecond=0)
    return day + timedelta(hours=hour)


async def place(session: AsyncSession) -> Place:
    return Place(await appointments.clinic(session), await appointments.service(session))


async def settled(session: AsyncSession, where: Place, count: int) -> list[Spouses]:
    """Couples who qualify."""
    families = [await appointments.couple(session) for _ in range(count)]
    for family in families:
        await eligibility.settle(session, family.wife_actor, service=where.service, person_id=family.wife.id)
    return families


async def book(actor: Actor, slot_id: uuid.UUID) -> Any:
    return await bookings.book(actor, key=Key(new_id(), b"fingerprint"), slot_id=slot_id)


async def cancel(actor: Actor, id: uuid.UUID) -> None:
    async with db.begin() as session:
        await bookings.cancel(session, actor, id=id, reason=None)


def wish(where: Place, *, places: int = 1, since: int = 0, days: int = 30) -> NewEntry:
    first = clock.today() + timedelta(days=since)
    return NewEntry(
        service_code=where.service.code, clinic_id=where.hospital.clinic.id, from_on=first,
        to_on=first + timedelta(days=days), places=places,
    )  # fmt: skip


async def join(actor: Actor, where: Place, key: Key | None = None, **more: int) -> uuid.UUID:
    key = key or Key(new_id(), b"fingerprint")
    async with db.begin() as session:
        await entries.join(session, actor, key=key, new=wish(where, **more))
    return key.id


async def entry(id: uuid.UUID) -> WaitlistEntry:
    async with db.begin() as session:
        return await session.get_one(WaitlistEntry, id)


async def held(slot_id: uuid.UUID) -> list[Appointment]:
    """Held places of a slot, as they were made."""
    async with db.begin() as session:
        query = select(Appointment).filter_by(slot_id=slot_id, status=AppointmentStatus.HELD)
        return list(await session.scalars(query.order_by(Appointment.created_at, Appointment.id)))


async def told(person_id: uuid.UUID) -> list[str]:
    async with db.begin() as session:
        query = select(InboxMessage.kind).filter_by(person_id=person_id).order_by(InboxMessage.id)
        return [str(kind) for kind in await session.scalars(query)]


async def full(
    session: AsyncSession, capacity: int, hour: int = 0
) -> tuple[Place, Slot, list[Spouses], list[Any]]:
    """A slot that is full, and who has the places."""
    where = await place(session)
    slot = await where.slot(session, hour, capacity=capacity)
    families = await settled(session, where, capacity)
    await session.commit()
    booked = [await book(family.wife_actor, slot.id) for family in families]
    return where, slot, families, booked
