"""Reading and searching, through the same rules as the plain form."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, visible
from app.crypto import mask_name
from app.errors import NotFound
from app.models.appointments import Appointment, Slot
from app.models.catalogue import HealthcareService
from app.models.consents import Purpose
from app.models.follow_ups import FollowUp, FollowUpKind
from app.models.households import Person
from app.models.results import DiagnosticReport, Observation
from app.services import audit, consents, follow_ups
from app.services.appointments import reading
from app.services.appointments import slots as plain_slots
from app.services.fhir import shapes
from app.services.fhir.shapes import Resource
from app.services.results.posted import people_of, roles_of


@dataclass(frozen=True, slots=True)
class Found:
    """A resource, and where it stands in the order of its search."""

    resource: Resource
    key: tuple[object, ...]


Moment = tuple[datetime, uuid.UUID]


async def _services(db: AsyncSession, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    query = select(HealthcareService.id, HealthcareService.code).where(HealthcareService.id.in_(set(ids)))
    return {row.id: row.code for row in await db.execute(query)}


async def slots(db: AsyncSession, actor: Actor, *, on: date, after: Moment | None, limit: int) -> list[Found]:
    rows = await plain_slots.of_day(db, actor, on=on, after=after, limit=limit)
    codes = await _services(db, (row.service_id for row in rows))
    return [
        Found(shapes.slot(row, codes[row.service_id]), (row.starts_at.isoformat(), row.id)) for row in rows
    ]


async def one_slot(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    row = await fetch(db, actor, Slot, id)
    return shapes.slot(row, (await _services(db, [row.service_id]))[row.service_id])


async def _booked(
    db: AsyncSession, actor: Actor, *, on: date | None, id: uuid.UUID | None, after: Moment | None, limit: int
) -> list[dict[str, Any]]:
    query = reading.named(actor).add_columns(Appointment.slot_id).where(visible(actor, Appointment))
    if on is not None:
        start, end = plain_slots.day(on)
        query = query.where(Appointment.starts_at >= start, Appointment.starts_at < end)
    if id is not None:
        query = query.where(Appointment.id == id)
    if after is not None:
        query = query.where(func.row(Appointment.starts_at, Appointment.id) > func.row(*after))
    rows = await db.execute(query.order_by(Appointment.starts_at, Appointment.id).limit(limit))
    return [row._asdict() | {"people": [mask_name(name) for name in row.people if name]} for row in rows]


def _at(row: dict[str, Any]) -> tuple[object, ...]:
    return row["starts_at"].isoformat(), row["id"]


async def appointments(
    db: AsyncSession, actor: Actor, *, on: date, after: Moment | None, limit: int
) -> list[Found]:
    rows = await _booked(db, actor, on=on, id=None, after=after, limit=limit)
    return [Found(shapes.appointment(**row), _at(row)) for row in rows]


async def one_appointment(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    return shapes.appointment(**await _one(db, actor, id))


async def _one(db: AsyncSession, actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    rows = await _booked(db, actor, on=None, id=id, after=None, limit=1)
    if not rows:
        raise NotFound
    return rows[0]


def _request(row: dict[str, Any]) -> Resource:
    names = ("id", "status", "starts_at", "ends_at", "service_code")
    return shapes.service_request(**{name: row[name] for name in names})


async def requests(
    db: AsyncSession, actor: Actor, *, on: date, after: Moment | None, limit: int
) -> list[Found]:
    rows = await _booked(db, actor, on=on, id=None, after=after, limit=limit)
    return [Found(_request(row), _at(row)) for row in rows]


async def one_request(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    return _request(await _one(db, actor, id))


async def reports(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Found]:
    """The hospital's own, newest first, without values."""
    query = select(DiagnosticReport).where(visible(actor, DiagnosticReport))
    if before is not None:
        query = query.where(DiagnosticReport.id < before)
    rows = list(await db.scalars(query.order_by(DiagnosticReport.id.desc()).limit(limit)))
    return [Found(one, (one["id"],)) for one in await _reports(db, rows)]


async def one_report(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    return (await _reports(db, [await fetch(db, actor, DiagnosticReport, id)]))[0]


async def _reports(db: AsyncSession, rows: Sequence[DiagnosticReport]) -> list[Resource]:
    codes = await _services(db, (row.service_id for row in rows))
    results: dict[uuid.UUID, list[uuid.UUID]] = {row.id: [] for row in rows}
    query = select(Observation.report_id, Observation.id).join(
        DiagnosticReport, DiagnosticReport.id == Observation.report_id
    )
    query = query.where(
        DiagnosticReport.id.in_(results), Observation.version == DiagnosticReport.current_version
    )
    for report, id in await db.execute(query.order_by(Observation.id)):
        results[report].append(id)
    return [shapes.diagnostic_report(row, codes[row.service_id], results[row.id]) for row in rows]


async def observations(
    db: AsyncSession, actor: Actor, *, report_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[Found]:
    """The values of a report that the hospital posted itself; recorded in the files of those examined."""
    report = await fetch(db, actor, DiagnosticReport, report_id)
    query = select(Observation).where(
        Observation.report_id == report.id, Observation.version == report.current_version
    )
    if after is not None:
        query = query.where(Observation.id > after)
    rows = list(await db.scalars(query.order_by(Observation.id).limit(limit)))
    return [Found(one, (one["id"],)) for one in await _values(db, actor, report, rows)]


async def one_observation(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    row = await db.scalar(
        select(Observation)
        .join(DiagnosticReport, DiagnosticReport.id == Observation.report_id)
        .where(Observation.id == id, visible(actor, DiagnosticReport))
    )
    if row is None:
        raise NotFound
    return (await _values(db, actor, await fetch(db, actor, DiagnosticReport, row.report_id), [row]))[0]


async def _values(
    db: AsyncSession, actor: Actor, report: DiagnosticReport, rows: Sequence[Observation]
) -> list[Resource]:
    appointment = await db.get_one(Appointment, report.appointment_id)
    roles = await roles_of(db, await people_of(db, appointment))
    people = [report.person_id, report.spouse_id]
    await audit.record(
        db, actor, "read", "diagnostic_report", report.id, people=people, purpose="appointment"
    )
    return [shapes.observation(row, report, roles[row.person_id]) for row in rows if row.person_id in roles]


async def tasks(
    db: AsyncSession, actor: Actor, *, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[Found]:
    """Referrals to this hospital, as in the plain form."""
    rows = await follow_ups.list_referred(db, actor, after=after, limit=limit)
    status = await _status(db, actor, [row.id for row in rows])
    return [
        Found(
            shapes.task(
                id=row.id, status=status[row.id], step=row.step, due_on=row.due_on, name=row.name,
                version=row.version,
            ),
            (row.due_on.isoformat(), row.id),
        )
        for row in rows
    ]  # fmt: skip


async def _status(db: AsyncSession, actor: Actor, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Any]:
    query = select(FollowUp.id, FollowUp.status).where(visible(actor, FollowUp), FollowUp.id.in_(ids))
    return {row.id: row.status for row in await db.execute(query)}


async def one_task(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Resource:
    """Also when it is over; while she agrees to that."""
    query = select(FollowUp, Person.name).join(Person, Person.id == FollowUp.person_id)
    query = query.where(FollowUp.id == id, visible(actor, FollowUp), FollowUp.kind == FollowUpKind.REFERRAL)
    agreed = consents.agreed(FollowUp.person_id, Purpose.SHARE_WITH_HOSPITAL)
    found = (await db.execute(query.where(agreed))).one_or_none()
    if found is None:
        raise NotFound
    row, name = found
    await audit.record(db, actor, "read", "follow_up", row.id, people=[row.person_id], purpose="follow_up")
    return shapes.task(
        id=row.id, status=row.status, step=row.step, due_on=row.due_on, name=name, version=row.version
    )
