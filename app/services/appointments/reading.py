"""Reading appointments: one's own, and a day's for those who give the service."""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, visible
from app.crypto import mask_name
from app.errors import NotFound
from app.models.appointments import Appointment, Clinic
from app.models.catalogue import HealthcareService
from app.models.consents import Purpose
from app.models.households import Person
from app.models.identity import Role
from app.models.partners import Organization
from app.services import consents
from app.services.appointments.slots import day
from app.services.pages import newest_first


def placed() -> Select[Any]:
    """Appointments with what and where: a slot that has closed is listed no more, its appointments are."""
    return (
        select(
            *Appointment.__table__.columns,
            HealthcareService.zh.label("service_zh"),
            HealthcareService.en.label("service_en"),
            Clinic.name.label("clinic_name"),
            Clinic.address.label("clinic_address"),
            Clinic.phone.label("clinic_phone"),
            Organization.name.label("organization_name"),
        )
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
        .join(Organization, Organization.id == Clinic.organization_id)
    )


async def mine(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Row[Any]]:
    """One's own and one's spouse's, newest first."""
    query = placed().where(visible(actor, Appointment))
    query = newest_first(query, Appointment.created_at, Appointment.id, before, limit)
    return list(await db.execute(query))


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Row[Any]:
    query = placed().where(Appointment.id == id, visible(actor, Appointment))
    row: Row[Any] | None = (await db.execute(query)).one_or_none()
    if row is None:
        raise NotFound
    return row


async def schedule(
    db: AsyncSession, actor: Actor, *, on: date, after: tuple[datetime, uuid.UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """The day's appointments that the actor may see, in time order, names masked; without the code, which is
    the couple's own key to check-in."""
    start, end = day(on)
    query = (
        named(actor)
        .where(visible(actor, Appointment), Appointment.starts_at >= start, Appointment.starts_at < end)
        .order_by(Appointment.starts_at, Appointment.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(Appointment.starts_at, Appointment.id) > func.row(*after))
    return [
        row._asdict() | {"people": [mask_name(name) for name in row.people if name]}
        for row in await db.execute(query)
    ]


def named(actor: Actor) -> Select[Any]:
    """What and where, with the names. A hospital reads no name of somebody who no longer agrees to that."""
    spouse = aliased(Person)

    def name(person: Any) -> Any:
        agreed = consents.agreed(person.id, Purpose.SHARE_WITH_HOSPITAL)
        return case((agreed, person.name)) if actor.role is Role.PARTNER else person.name

    return (
        select(
            Appointment.id, Appointment.status, Appointment.starts_at, Appointment.ends_at,
            HealthcareService.code.label("service_code"), Clinic.name.label("clinic_name"),
            array([name(Person), name(spouse)]).label("people"),
        )
        .join(Person, Person.id == Appointment.person_id)
        .outerjoin(spouse, spouse.id == Appointment.spouse_id)
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .join(Clinic, Clinic.id == Appointment.clinic_id)
    )  # fmt: skip
