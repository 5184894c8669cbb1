"""Appointments together with those whom they are for, in the one order of locks: people, appointments, slots, lines.

Whoever records a death, a divorce or a merge holds the people and comes to their appointments. A notice, a certificate
or a place held for somebody needs the person too, by its foreign key: who is to write one holds the people first."""

import uuid
from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.errors import NotFound
from app.models.appointments import Appointment
from app.models.households import Person


async def people(
    db: AsyncSession, ids: Iterable[uuid.UUID | None], *, waits: bool = True
) -> set[uuid.UUID | None]:
    """As their foreign keys would hold them, only earlier. Without `waits` those whom nobody else holds; says whom."""
    wanted = {id for id in ids if id is not None}
    if not wanted:
        return {None}
    query = select(Person.id).where(Person.id.in_(wanted)).order_by(Person.id)
    held = query.with_for_update(read=True, key_share=True, skip_locked=not waits)
    return {None, *await db.scalars(held)}


async def appointments(
    db: AsyncSession, which: ColumnElement[bool], *, limit: int | None = None, waits: bool = True
) -> list[Appointment]:
    """These, as they are now, in the order in which they were made. Without `waits` those that nobody else holds: who
    holds slots already waits for nobody."""
    query = select(Appointment.id, Appointment.person_id, Appointment.spouse_id).where(which)
    found = (await db.execute(query.order_by(Appointment.created_at, Appointment.id).limit(limit))).all()
    if not found:
        return []
    ours = await people(db, {id for row in found for id in row[1:]}, waits=waits)
    ids = [row.id for row in found if ours >= set(row[1:])]
    held = select(Appointment).where(Appointment.id.in_(ids), which).order_by(Appointment.id)
    held = held.with_for_update(of=Appointment, skip_locked=not waits)
    rows = await db.scalars(held.execution_options(populate_existing=True))
    return sorted(rows, key=lambda row: (row.created_at, row.id))


async def appointment(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Appointment:
    """One that the actor sees, or NotFound."""
    rows = await appointments(db, and_(Appointment.id == id, visible(actor, Appointment)))
    if not rows:
        raise NotFound
    return rows[0]
