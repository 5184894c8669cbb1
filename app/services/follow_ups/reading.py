"""What is due, in lists with masked names; a single follow-up, with its steps."""

import uuid
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, own_person, visible
from app.crypto import mask_name
from app.models.follow_ups import FollowUp, FollowUpEvent, FollowUpKind, FollowUpStatus
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.services import audit
from app.services.follow_ups.work import LIVE


@dataclass(frozen=True, slots=True)
class DueFollowUp:
    """A follow-up with the masked name, for a worker's list."""

    id: uuid.UUID
    report_id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str
    kind: FollowUpKind
    status: FollowUpStatus
    due_on: date
    overdue: bool
    version: int


def _due(row: FollowUp, name: str) -> DueFollowUp:
    overdue = row.status in LIVE and row.due_on < clock.today()
    return DueFollowUp(
        row.id, row.report_id, row.person_id, mask_name(name), row.region_code, row.kind, row.status,
        row.due_on, overdue, row.version,
    )  # fmt: skip


async def list_due(
    db: AsyncSession,
    actor: Actor,
    *,
    after: tuple[date, uuid.UUID] | None,
    limit: int,
    status: FollowUpStatus | None = None,
    overdue: bool | None = None,
) -> list[DueFollowUp]:
    """What is to be done in the worker's region, the most urgent first; done and obsolete ones when asked for."""
    query = select(FollowUp, Person.name).join(Person, Person.id == FollowUp.person_id)
    query = query.where(visible(actor, FollowUp))
    query = query.where(FollowUp.status.in_(LIVE) if status is None else FollowUp.status == status)
    if overdue is not None:
        late = FollowUp.status.in_(LIVE) & (FollowUp.due_on < clock.today())
        query = query.where(late if overdue else ~late)
    if after is not None:
        query = query.where(func.row(FollowUp.due_on, FollowUp.id) > func.row(*after))
    rows = await db.execute(query.order_by(FollowUp.due_on, FollowUp.id).limit(limit))
    return [_due(row, name) for row, name in rows]


async def list_own(db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int) -> list[FollowUp]:
    """What the resident is to expect, newest first."""
    query = select(FollowUp).where(
        visible(actor, FollowUp),
        FollowUp.person_id == own_person(actor),
        FollowUp.status != FollowUpStatus.OBSOLETE,
    )
    if after is not None:
        query = query.where(FollowUp.id < after)
    return list(await db.scalars(query.order_by(FollowUp.id.desc()).limit(limit)))


@dataclass(frozen=True, slots=True)
class Detail:
    follow_up: FollowUp
    name: str
    household_id: uuid.UUID | None
    events: list[FollowUpEvent]


async def read(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, purpose: str) -> Detail:
    """One follow-up with its steps; the read goes into the person's file."""
    row = await fetch(db, actor, FollowUp, follow_up_id)
    name = await db.scalar(select(Person.name).where(Person.id == row.person_id))
    events = await db.scalars(
        select(FollowUpEvent).where(FollowUpEvent.follow_up_id == row.id).order_by(FollowUpEvent.id)
    )
    await audit.record(db, actor, "read", "follow_up", row.id, people=[row.person_id], purpose=purpose)
    household = await _household(db, actor, row)
    return Detail(row, mask_name(name or ""), household.id if household else None, list(events))


@dataclass(frozen=True, slots=True)
class Contact:
    """How to reach somebody, unmasked."""

    name: str
    phone: str | None
    address: str | None


async def contact(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, purpose: str) -> Contact:
    """To go there or to call: while the person lives in the worker's region. The look goes into the file."""
    row = await fetch(db, actor, FollowUp, follow_up_id)
    person = await fetch(db, actor, Person, row.person_id)
    household = await _household(db, actor, row)
    await audit.record(
        db, actor, "read_unmasked", "follow_up", row.id, people=[row.person_id], purpose=purpose
    )
    return Contact(person.name, person.phone, household.address if household else None)


async def _household(db: AsyncSession, actor: Actor, row: FollowUp) -> Household | None:
    """Where the person lives now."""
    query = select(Household).join(Membership, Membership.household_id == Household.id)
    return await db.scalar(
        query.where(
            visible(actor, Household),
            Household.status == HouseholdStatus.ACTIVE,
            Membership.person_id == row.person_id,
            Membership.valid_to.is_(None),
        ).limit(1)
    )
