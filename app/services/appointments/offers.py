"""Offers: a place held for somebody until a moment, from the waiting list or in place of a closed time."""

import logging
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import begin
from app.errors import Conflict, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Clinic, Origin
from app.models.catalogue import HealthcareService
from app.models.identity import Role
from app.models.messages import NoticeKind
from app.services import consents, identity
from app.services.appointments import bookings, locks, places, waitlist
from app.services.messages import tell

log = logging.getLogger("nuanxin.offers")
S = AppointmentStatus
OFFERED = (Origin.WAITLIST, Origin.CLOSURE)
CLERK = Actor.system("offers")
#: Of one run of the job; the next comes within a minute.
MOST = 500


class OfferOver(Conflict):
    zh, en = "保留时间已过，名额已让给下一位", "The place was held until a time that is over, and went on"
    do_zh, do_en = "请重新预约或再次排队候补", "Book another time, or join the waiting list again"


async def mine(db: AsyncSession, actor: Actor) -> list[dict[str, Any]]:
    """What is held for oneself, or for oneself and spouse, the first to run out first: what, where, when, till when."""
    query = (
        select(
            *Appointment.__table__.columns, HealthcareService.zh.label("service_zh"),
            HealthcareService.en.label("service_en"), Clinic.name.label("clinic_name"),
            Clinic.address.label("clinic_address"), Clinic.phone.label("clinic_phone"),
        )
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .where(visible(actor, Appointment), Appointment.status == S.HELD)
        .where(Appointment.hold_expires_at > clock.now())
        .order_by(Appointment.hold_expires_at, Appointment.id)
        .limit(100)
    )  # fmt: skip
    return [row._asdict() for row in await db.execute(query)]


async def accept(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """The held place is booked, if its time is not over and those examined still agree to the notices. Accepting again
    changes nothing: the first answer may be lost."""
    row = await fetch(db, actor, Appointment, id, lock=True)
    if row.status is S.BOOKED and row.origin in OFFERED:
        return row
    await require_acceptable(db, actor, row)
    return await bookings.step(db, actor, appointment=row, to=S.BOOKED)


async def require_acceptable(db: AsyncSession, actor: Actor, row: Appointment) -> None:
    """Its time is not over, and those examined still agree to the notices."""
    _require_open(row)
    service = await db.get_one(HealthcareService, row.service_id)
    if service.sensitive:
        people = [person for person in (row.person_id, row.spouse_id) if person is not None]
        own = await identity.own_id(db, actor) if actor.role is Role.RESIDENT else None
        await consents.require(db, people, own=own)


async def decline(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Appointment:
    """The place goes to the next in line at once. Whoever still wants one joins again, at the end."""
    row = await fetch(db, actor, Appointment, id, lock=True)
    _require_open(row)
    row = await bookings.step(db, actor, appointment=row, to=S.CANCELLED, reason="declined")
    await places.free(db, actor, row.slot_id, row.places)
    return row


def _require_open(row: Appointment) -> None:
    if row.status is S.EXPIRED or (row.status is S.HELD and _ran_out(row)):
        raise OfferOver
    if row.status is not S.HELD:
        raise WrongState(status_now=row.status)


def _ran_out(row: Appointment) -> bool:
    return row.hold_expires_at is not None and row.hold_expires_at <= clock.now()


async def expire_due() -> int:
    """Every place whose time to answer is over goes on to the next in line, each in a transaction of its own; says how
    many. One that meets somebody else's lock is left to the next run."""
    async with begin() as db:
        query = select(Appointment.id).where(
            Appointment.status == S.HELD, Appointment.hold_expires_at <= clock.now()
        )
        ids = list(await db.scalars(query.order_by(Appointment.hold_expires_at).limit(MOST)))
    return sum([await _alone(_expire, id) for id in ids])


async def offer_left() -> int:
    """Free places of open slots for which somebody waits and was not called; says how many are offered now."""
    async with begin() as db:
        slots = await waitlist.unserved(db, limit=MOST)
    return sum([await _alone(_offer_free, id) for id in slots])


async def _alone(work: Any, id: uuid.UUID) -> int:
    try:
        async with begin() as db:
            done: int = await work(db, id)
            return done
    except DBAPIError as error:
        log.warning("left to the next run", exc_info=error)
        return 0


async def _offer_free(db: AsyncSession, slot_id: uuid.UUID) -> int:
    return await waitlist.offer_free(db, CLERK, slot_id)


async def _expire(db: AsyncSession, id: uuid.UUID) -> int:
    row = await locks.appointment(db, CLERK, id)
    if row.status is not S.HELD or not _ran_out(row):  # answered meanwhile
        return 0
    row = await bookings.step(db, CLERK, appointment=row, to=S.EXPIRED)
    await places.free(db, CLERK, row.slot_id, row.places)
    values = await waitlist.where(db, row.service_id, row.clinic_id) | {"time": row.starts_at.isoformat()}
    people = [row.person_id, row.spouse_id]
    await tell(db, NoticeKind.OFFER_EXPIRED, people, entity="appointment", entity_id=row.id, values=values)
    return 1
