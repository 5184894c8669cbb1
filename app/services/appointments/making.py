"""Appointments made one by one, inside a transaction: courses, walk-ins, and what workers arrange. A rush goes through
app/models/sql/book_appointment.sql instead."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.models.appointments import Appointment, AppointmentStatus, Origin, Slot, SlotStatus
from app.models.catalogue import Cycle, HealthcareService
from app.services import consents, eligibility
from app.services.appointments import bookings, places

#: In these an appointment has its time.
STANDING = (
    AppointmentStatus.HELD, AppointmentStatus.BOOKED, AppointmentStatus.ARRIVED, AppointmentStatus.FULFILLED,
    AppointmentStatus.NO_SHOW,
)  # fmt: skip
#: Slots are no secret: what a resident may book, a worker books for one, also at a clinic in the county town.
KNOWN = Slot.status != SlotStatus.DRAFT


@dataclass(frozen=True, slots=True)
class Who:
    """For whom an appointment is, and in which cycle, as the service counts."""

    subject_id: uuid.UUID
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    region_code: str
    cycle: str

    @property
    def people(self) -> list[uuid.UUID]:
        return [self.person_id] if self.spouse_id is None else [self.person_id, self.spouse_id]


async def who(
    db: AsyncSession, actor: Actor, service: HealthcareService, person_id: uuid.UUID, *, waived: bool = False
) -> Who:
    """Who qualifies by the rule in force, else NotEligible. `waived`: whoever lives in a verified household, in a
    couple where the service is for couples, whatever else the rule asks."""
    explanation, standing = await eligibility.settle_standing(db, actor, service=service, person_id=person_id)
    if not waived:
        bookings.require_eligible(explanation)
    if standing is None or standing.subject_id is None:
        raise eligibility.NotEligible(criteria=explanation.failing())
    return Who(standing.subject_id, person_id, standing.spouse_id, standing.region_code, standing.cycle)


async def require_may_book(
    db: AsyncSession, service: HealthcareService, who: Who, *, own: uuid.UUID | None = None
) -> None:
    """Agreed to the notices where the service yields health data, and not barred for times missed."""
    again: datetime | None = await db.scalar(select(func.barred_until(who.person_id, service.id)))
    if again is not None and again > clock.now():
        raise bookings.TooManyNoShows(again_from=again.isoformat())
    await require_consents(db, service, who, own=own)


async def require_consents(
    db: AsyncSession, service: HealthcareService, who: Who, *, own: uuid.UUID | None = None
) -> None:
    if service.sensitive:
        await consents.require(db, who.people, own=own)


def require_open(slot: Slot) -> None:
    """To be booked by anybody now, but for its places."""
    if slot.status is SlotStatus.OPEN and slot.opens_at > clock.now():
        raise bookings.SlotNotOpenYet
    if slot.status is not SlotStatus.OPEN or slot.starts_at <= clock.now():
        raise bookings.SlotClosed


def appointment(
    slot: Slot, service: HealthcareService, who: Who, *, id: uuid.UUID, status: AppointmentStatus, origin: Origin,
    account_id: uuid.UUID | None = None, places: int = 1, session: int = 1, course_id: uuid.UUID | None = None,
    cycle: str | None = None,
) -> Appointment:  # fmt: skip
    return Appointment(
        id=id, slot_id=slot.id, clinic_id=slot.clinic_id, service_id=service.id, subject_id=who.subject_id,
        person_id=who.person_id, spouse_id=who.spouse_id, account_id=account_id, region_code=who.region_code,
        cycle=cycle or cycle_at(service, slot, who), session=session, course_id=course_id, places=places,
        origin=origin, code=tokens.random_code(bookings.CODE_LENGTH), starts_at=slot.starts_at, ends_at=slot.ends_at,
        status=status, created_at=clock.now(),
    )  # fmt: skip


def cycle_at(service: HealthcareService, slot: Slot, who: Who) -> str:
    """Of what is held as an event each date is a cycle of its own."""
    return str(slot.id) if service.cycle is Cycle.EVENT else who.cycle


async def add(
    db: AsyncSession, actor: Actor, row: Appointment, *, beyond: bool = False, reason: str | None = None,
    note: str | None = None,
) -> None:  # fmt: skip
    """The appointment first, then its places, so that slots are locked for the commit only, as in a rush."""
    db.add(row)
    await db.flush()  # who is elsewhere then, or has it already, is refused here
    if not await places.take(db, row.slot_id, row.places, beyond=beyond):
        slot = await db.get_one(Slot, row.slot_id, populate_existing=True)
        raise bookings.SlotFull if slot.status is SlotStatus.OPEN else bookings.SlotClosed
    await bookings.record(db, actor, row, row.status, reason=reason, note=note)
