"""The waiting line of a service at a clinic as SQL: who is next for a slot, and how many come before whom."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Row,
    String,
    Uuid,
    and_,
    cast,
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.models.appointments import Appointment, AppointmentStatus, Qualification, Slot
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.households import Couple, Person
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import consents
from app.services.eligibility.facts import COUNTED

#: In these somebody is, or is to be, at the place.
THERE = (AppointmentStatus.HELD, AppointmentStatus.BOOKED, AppointmentStatus.ARRIVED)
#: Nobody's place in line is counted further than this.
FARTHEST = 1000


async def hold(db: AsyncSession, clinic_id: uuid.UUID, service_id: uuid.UUID) -> None:
    """One at a time joins the line or is called from it, until the transaction ends: whoever joins while a place comes
    free is either called, or finds it free. After slots, before entries in the order of locks."""
    name = f"waitlist:{clinic_id}:{service_id}"
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


async def settled(db: AsyncSession, person_ids: list[uuid.UUID]) -> set[uuid.UUID]:
    """Who of these is not being moved, parted, merged or closed at this very moment, and may be dealt with. They stay
    so until the transaction ends. Nobody is waited for: who changes them may be waiting for the slot that we hold."""
    query = select(Person.id).where(Person.id.in_(person_ids), Person.restricted_at.is_(None))
    held = query.order_by(Person.id).with_for_update(read=True, key_share=True, skip_locked=True)
    return set(await db.scalars(held))


def _any(query: Any) -> ColumnElement[bool]:
    """EXISTS, asked by index for each row that is read: the planner would rather read all there are, once."""
    found: ColumnElement[bool] = query.limit(1).scalar_subquery().is_not(None)
    return found


def busy(starts_at: Any, ends_at: Any, *people: Any) -> ColumnElement[bool]:
    """Whether one of these is to be elsewhere then."""
    other = aliased(Appointment)
    theirs = [one == person for person in people for one in (other.person_id, other.spouse_id)]
    query = select(other.id).where(or_(*theirs), other.status.in_(THERE)).correlate_except(other)
    return _any(query.where(other.starts_at < ends_at, other.ends_at > starts_at))


def _used_up(service: HealthcareService, slot_id: Any) -> ColumnElement[bool]:
    """Whether the subject has, or had, the service in the cycle that it qualifies for, or that this slot is."""
    cycle = cast(type_coerce(slot_id, Uuid), String) if service.cycle is Cycle.EVENT else Qualification.cycle
    had = select(Appointment.id).where(
        Appointment.subject_id == WaitlistEntry.subject_id,
        Appointment.service_id == service.id,
        Appointment.cycle == cycle,
        Appointment.status.in_(COUNTED),
    )
    return _any(had.correlate(WaitlistEntry, Qualification, Slot))


def _qualified(service: HealthcareService) -> ColumnElement[bool]:
    mine = and_(
        Qualification.service_id == WaitlistEntry.service_id,
        Qualification.person_id == WaitlistEntry.person_id,
        Qualification.subject_id == WaitlistEntry.subject_id,
        Qualification.valid_until > clock.now(),
    )
    if service.subject is Subject.COUPLE:
        lasts = select(Couple.id).where(Couple.id == WaitlistEntry.subject_id, Couple.valid_to.is_(None))
        mine = and_(mine, _any(lasts.correlate(WaitlistEntry)))
    return mine


def suited(
    slot: Row[Any], service: HealthcareService, *, free: int, after: tuple[int, int], limit: int
) -> Any:
    """Who waits for such a place, in line, with the cycle that each qualified for, if that still holds."""
    on = clock.day_of(slot.starts_at)
    e = WaitlistEntry
    query = (
        _suiting(select(e, Qualification.cycle), slot, service, on=on, free=free)
        .where(func.row(e.priority, e.number) > func.row(*after))
        .order_by(e.priority, e.number)
        .limit(limit)
    )
    return query.with_for_update(of=e, skip_locked=True).execution_options(populate_existing=True)


def called_for(service: HealthcareService) -> ColumnElement[bool]:
    """Whether anybody in line could be called for a slot of the service, in a query of slots."""
    on = cast(func.timezone("Asia/Shanghai", Slot.starts_at), Date)
    free = Slot.capacity - Slot.booked
    return _any(_suiting(select(WaitlistEntry.id), Slot, service, on=on, free=free).correlate(Slot))


def _suiting(entries: Any, slot: Any, service: HealthcareService, *, on: Any, free: Any) -> Any:
    """Of these who waits for such a place and may have it; only whether they qualify may have to be settled anew."""
    e = WaitlistEntry
    query = (
        entries.outerjoin(Qualification, _qualified(service))
        .where(e.clinic_id == slot.clinic_id, e.service_id == slot.service_id)
        .where(e.status == WaitlistStatus.WAITING, e.from_on <= on, e.to_on >= on, e.places <= free)
        .where(~busy(slot.starts_at, slot.ends_at, e.person_id, e.spouse_id), ~_used_up(service, slot.id))
    )
    if service.no_show_limit > 0:
        again = func.barred_until(e.person_id, service.id)
        query = query.where(func.coalesce(again <= clock.now(), true()))
    if service.sensitive:
        spouse = or_(e.spouse_id.is_(None), consents.agreed_to_all(e.spouse_id))
        query = query.where(consents.agreed_to_all(e.person_id), spouse)
    return query


def ahead() -> Any:
    """How many come before an entry for one of its days; who is farther back than FARTHEST in the whole line hears
    how many of the first thousand do."""
    one = aliased(WaitlistEntry)
    front = (
        select(one.from_on, one.to_on)
        .where(one.clinic_id == WaitlistEntry.clinic_id, one.service_id == WaitlistEntry.service_id)
        .where(one.status == WaitlistStatus.WAITING)
        .where(func.row(one.priority, one.number) < func.row(WaitlistEntry.priority, WaitlistEntry.number))
        .order_by(one.priority, one.number)
        .limit(FARTHEST)
        .correlate(WaitlistEntry)
        .subquery()
    )
    rivals = and_(front.c.from_on <= WaitlistEntry.to_on, front.c.to_on >= WaitlistEntry.from_on)
    return select(func.count()).select_from(front).where(rivals).scalar_subquery()


def free_slots(
    clinic_id: uuid.UUID, service_id: uuid.UUID, since: datetime, until: datetime, places: int
) -> Any:
    """What anybody may book now, in time order."""
    now = clock.now()
    return (
        select(Slot.id, Slot.starts_at)
        .where(Slot.clinic_id == clinic_id, Slot.service_id == service_id)
        .where(Slot.starts_at >= since, Slot.starts_at < until, Slot.starts_at > now)
        .where(Slot.status == "open", Slot.opens_at <= now, Slot.capacity - Slot.booked >= places)
        .order_by(Slot.starts_at)
    )
