"""The record of who did or saw what (PIPL arts. 51, 54; GB/T 22239-2019 8.1.4.3)."""

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, lies_in, own_person
from app.errors import Forbidden
from app.logs import request_id
from app.models.audit import AuditEvent
from app.models.households import Person
from app.models.identity import Role
from app.models.partners import Organization
from app.models.regions import Region
from app.models.staff import StaffAccount
from app.settings import settings


class TrailOfWholeAssociation(Forbidden):
    zh, en = "审计记录仅限全辖区审计员查阅", "The trail is read by auditors of the whole association"
    do_zh, do_en = "请联系本会的审计员", "Ask an auditor of the whole association"


async def record(
    db: AsyncSession,
    actor: Actor,
    action: str,
    entity: str,
    entity_id: uuid.UUID | None = None,
    *,
    people: Iterable[uuid.UUID | None] = (),
    purpose: str | None = None,
) -> None:
    """One event, or one for each person whose file is touched. Nothing personal goes in, only ids."""
    await record_each(db, actor, action, entity, [(entity_id, people)], purpose=purpose)


async def record_each(
    db: AsyncSession, actor: Actor, action: str, entity: str,
    done: Iterable[tuple[uuid.UUID | None, Iterable[uuid.UUID | None]]], *, purpose: str | None = None,
) -> None:  # fmt: skip
    """The same done to many: each with the people whose files it touches."""
    event = {
        "at": clock.now(),
        "actor_role": actor.role,
        "actor_id": actor.id,
        "action": action,
        "entity": entity,
        "purpose": purpose or actor.name or None,
        "request_id": request_id.get(),
    }
    rows = [
        event | {"entity_id": id, "person_id": person} for id, people in done for person in _files_of(people)
    ]
    if rows:
        await db.execute(insert(AuditEvent), rows)


def _files_of(people: Iterable[uuid.UUID | None]) -> set[uuid.UUID | None]:
    return {person for person in people if person is not None} or {None}


def _files(person_id: Any) -> Select[uuid.UUID]:
    """Of somebody who was merged with another, both files: the trail itself is never changed."""
    own = select(func.coalesce(Person.merged_into, Person.id)).where(Person.id == person_id)
    kept = own.scalar_subquery()
    return select(Person.id).where(or_(Person.id == person_id, Person.id == kept, Person.merged_into == kept))


async def own_file(db: AsyncSession, actor: Actor, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Who did or saw what in the resident's own file, newest first (PIPL arts. 44, 45): a hospital by its name, a
    worker by the region's, oneself apart from others."""
    query = (
        select(AuditEvent, Organization.name, Region.name)
        .outerjoin(Organization, Organization.id == AuditEvent.actor_id)
        .outerjoin(StaffAccount, StaffAccount.id == AuditEvent.actor_id)
        .outerjoin(Region, Region.code == StaffAccount.region_code)
        .where(AuditEvent.person_id.in_(_files(own_person(actor))))
    )
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return [
        {
            "id": event.id, "at": event.at, "actor_role": event.actor_role,
            "actor_name": organization if event.actor_role is Role.PARTNER else region,
            "own": event.actor_role is Role.RESIDENT and event.actor_id == actor.id, "action": event.action,
            "entity": event.entity, "entity_id": event.entity_id, "purpose": event.purpose,
        }
        for event, organization, region in await db.execute(query.order_by(AuditEvent.id.desc()).limit(limit))
    ]  # fmt: skip


async def trail(
    db: AsyncSession, actor: Actor, *, person_id: uuid.UUID | None, actor_id: uuid.UUID | None,
    before: int | None, limit: int,
) -> list[AuditEvent]:  # fmt: skip
    """The trail, by person or by actor, newest first. Events belong to no region, so that only an auditor of the
    association's own region, or of one above it, reads them. Reading is itself recorded."""
    if not lies_in(settings().region_code, actor.region_code):
        raise TrailOfWholeAssociation
    query = select(AuditEvent)
    if person_id is not None:
        files = {person_id, *await db.scalars(_files(person_id))}
        query = query.where(AuditEvent.person_id.in_(files))
    if actor_id is not None:
        query = query.where(AuditEvent.actor_id == actor_id)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    events = list(await db.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)))
    await record(db, actor, "read", "audit_event", people=[person_id], purpose="audit")
    return events
