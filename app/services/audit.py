"""The record of who did or saw what (PIPL arts. 51, 54; GB/T 22239-2019 8.1.4.3)."""

import uuid
from collections.abc import Iterable

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, own_person
from app.logs import request_id
from app.models.audit import AuditEvent


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
    event = {
        "at": clock.now(),
        "actor_role": actor.role,
        "actor_id": actor.id,
        "action": action,
        "entity": entity,
        "entity_id": entity_id,
        "purpose": purpose or actor.name or None,
        "request_id": request_id.get(),
    }
    files: set[uuid.UUID | None] = {person for person in people if person is not None} or {None}
    await db.execute(insert(AuditEvent), [event | {"person_id": person} for person in files])


async def own_file(db: AsyncSession, actor: Actor, *, before: int | None, limit: int) -> list[AuditEvent]:
    """Who did or saw what in the resident's own file, newest first (PIPL arts. 44, 45)."""
    query = select(AuditEvent).where(AuditEvent.person_id == own_person(actor))
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return list(await db.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)))


async def trail(
    db: AsyncSession, actor: Actor, *, person_id: uuid.UUID | None, actor_id: uuid.UUID | None,
    before: int | None, limit: int,
) -> list[AuditEvent]:  # fmt: skip
    """The trail for an auditor, by person or by actor, newest first. Reading it is itself recorded."""
    query = select(AuditEvent)
    if person_id is not None:
        query = query.where(AuditEvent.person_id == person_id)
    if actor_id is not None:
        query = query.where(AuditEvent.actor_id == actor_id)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    events = list(await db.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)))
    await record(db, actor, "read", "audit_event", people=[person_id], purpose="audit")
    return events
