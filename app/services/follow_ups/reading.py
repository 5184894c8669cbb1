"""What is due, in lists with masked names; a single follow-up, with its steps and what was written at them."""

import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, func, not_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch, own_person, visible
from app.crypto import mask_name
from app.models.follow_ups import (
    FollowUp,
    FollowUpAction,
    FollowUpEvent,
    FollowUpKind,
    FollowUpNote,
    FollowUpStatus,
    ReferralStep,
)
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.models.staff import StaffAccount
from app.services import audit
from app.services.follow_ups.events import LIVE, having, live
from app.settings import ROOT


@dataclass(frozen=True, slots=True)
class DueFollowUp:
    """A follow-up with the masked name, for a worker's list. `doubted`: an amended report no longer calls for it."""

    id: uuid.UUID
    report_id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str
    kind: FollowUpKind
    topic: str
    step: ReferralStep | None
    status: FollowUpStatus
    due_on: date
    overdue: bool
    escalated: bool
    doubted: bool
    assignee_id: uuid.UUID | None
    assignee: str | None
    version: int


@dataclass(frozen=True, slots=True)
class OwnFollowUp:
    """For the resident it is about."""

    id: uuid.UUID
    report_id: uuid.UUID
    kind: FollowUpKind
    status: FollowUpStatus
    step: ReferralStep | None
    due_on: date
    zh: str
    en: str
    expect_zh: str
    expect_en: str


@dataclass(frozen=True, slots=True)
class Wished:
    """Which follow-ups a list is to show; those still to be done unless a status is named."""

    status: FollowUpStatus | None = None
    kind: FollowUpKind | None = None
    overdue: bool | None = None
    escalated: bool | None = None
    doubted: bool | None = None
    unassigned: bool | None = None
    assignee_id: uuid.UUID | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        late = FollowUp.status.in_(LIVE) & (FollowUp.due_on < clock.today())
        yes_or_no = (
            (self.overdue, late),
            (self.escalated, FollowUp.escalated_for == FollowUp.due_on),
            (self.doubted, FollowUp.doubted_at.is_not(None)),
            (self.unassigned, FollowUp.assignee_id.is_(None)),
        )
        chosen = [live() if self.status is None else having(self.status)]
        if self.kind is not None:
            chosen.append(FollowUp.kind == self.kind)
        if self.assignee_id is not None:
            chosen.append(FollowUp.assignee_id == self.assignee_id)
        told = [(said, condition) for said, condition in yes_or_no if said is not None]
        return chosen + [
            condition if said else not_(func.coalesce(condition, False)) for said, condition in told
        ]


def _due(row: FollowUp, name: str, assignee: str | None) -> DueFollowUp:
    unfinished = row.status in LIVE
    return DueFollowUp(
        row.id, row.report_id, row.person_id, mask_name(name), row.region_code, row.kind, row.topic, row.step,
        row.status, row.due_on, unfinished and row.due_on < clock.today(),
        unfinished and row.escalated_for == row.due_on, row.doubted_at is not None, row.assignee_id, assignee,
        row.version,
    )  # fmt: skip


async def list_due(
    db: AsyncSession,
    actor: Actor,
    *,
    after: tuple[date, uuid.UUID] | None,
    limit: int,
    wished: Wished = Wished(),
) -> list[DueFollowUp]:
    """What is to be done in the worker's region, the most urgent first."""
    query = (
        select(FollowUp, Person.name, StaffAccount.name)
        .join(Person, Person.id == FollowUp.person_id)
        .outerjoin(StaffAccount, StaffAccount.id == FollowUp.assignee_id)
        .where(visible(actor, FollowUp), *wished.conditions())
    )
    if after is not None:
        query = query.where(func.row(FollowUp.due_on, FollowUp.id) > func.row(*after))
    rows = await db.execute(query.order_by(in_order(actor), FollowUp.id).limit(limit))
    return [_due(*row) for row in rows]


def in_order(actor: Actor) -> ColumnElement[Any]:
    """By the due date. A village or town sorts its few: in the index of everybody's due dates it would walk past those
    of all others."""
    if actor.region_code[6:9] == "000":
        return FollowUp.due_on.expression
    return FollowUp.due_on.op("+")(text("0"))


@cache
def _words() -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = json.loads((ROOT / "app/data/follow_ups.json").read_text("utf-8"))
    return words


async def list_own(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[OwnFollowUp]:
    """What the resident is to expect, newest first, in words that say no result."""
    query = select(FollowUp).where(
        visible(actor, FollowUp),
        FollowUp.person_id == own_person(actor),
        FollowUp.status != FollowUpStatus.OBSOLETE,
    )
    if after is not None:
        query = query.where(FollowUp.id < after)
    rows = await db.scalars(query.order_by(FollowUp.id.desc()).limit(limit))
    return [
        OwnFollowUp(row.id, row.report_id, row.kind, row.status, row.step, row.due_on, **_words()[row.kind])
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """One step, with what was written at it."""

    at: datetime
    status: FollowUpStatus
    action: FollowUpAction
    step: ReferralStep | None
    happened_on: date | None
    assignee_id: uuid.UUID | None
    actor_role: str
    actor_id: uuid.UUID | None
    place: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Detail:
    follow_up: FollowUp
    name: str
    household_id: uuid.UUID | None
    events: list[Step]


async def read(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, purpose: str) -> Detail:
    """One follow-up with its steps; the read goes into the person's file. What was written at them is for those who do
    follow-ups, not for who only supervises."""
    row = await fetch(db, actor, FollowUp, follow_up_id)
    name = await db.scalar(select(Person.name).where(Person.id == row.person_id))
    query = (
        select(FollowUpEvent, FollowUpNote)
        .outerjoin(FollowUpNote, FollowUpNote.id == FollowUpEvent.note_id)
        .where(FollowUpEvent.follow_up_id == row.id)
        .order_by(FollowUpEvent.id)
    )
    told = actor.may(Permission.FOLLOW_UP_COMPLETE)
    steps = [_step(event, written if told else None) for event, written in await db.execute(query)]
    await audit.record(db, actor, "read", "follow_up", row.id, people=[row.person_id], purpose=purpose)
    household = await _household(db, actor, row)
    return Detail(row, mask_name(name or ""), household.id if household else None, steps)


def _step(event: FollowUpEvent, written: FollowUpNote | None) -> Step:
    return Step(
        event.at, event.status, event.action, event.step, event.happened_on, event.assignee_id, event.actor_role,
        event.actor_id, written.place if written else None, written.note if written else None,
    )  # fmt: skip


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
