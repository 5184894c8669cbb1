"""Asking for a correction, and taking it back."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.crypto import mask_name
from app.errors import Conflict, Forbidden, Invalid, NotFound, WrongState
from app.models.corrections import Correction, CorrectionField, CorrectionStatus
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.models.identity import Role
from app.services import audit, idempotency, identity
from app.services.corrections import changes
from app.services.corrections.changes import Change, NewAddress
from app.services.households import belonging
from app.services.households.handbook import note
from app.services.idempotency import Key
from app.services.pages import newest_first


class CorrectionPending(
    Conflict, constraint=("uq_correction_person_id_field_open", "uq_correction_household_id_field_open")
):
    zh, en = "该项已有待审核的更正申请", "A correction of this is waiting already"
    do_zh, do_en = "请等待审核结果，或先撤回原申请", "Wait for its decision, or withdraw it first"


class NotYours(Forbidden):
    zh, en = "只能撤回自己的申请", "Only who asked may withdraw it"
    do_zh, do_en = "请由申请人撤回", "Whoever made the request may do so"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in a list: names and values masked."""

    id: uuid.UUID
    person_id: uuid.UUID | None
    household_id: uuid.UUID | None
    name: str | None
    field: CorrectionField
    old: str | None
    new: str | None
    status: CorrectionStatus
    reason: str | None
    requester_role: Role
    requested_at: datetime
    decided_at: datetime | None
    version: int


async def request(
    db: AsyncSession, actor: Actor, *, key: Key, subject_id: uuid.UUID, change: Change, evidence: str
) -> Asked:
    """What was verified changes only when a second person has seen the evidence (PIPL art. 46). A resident asks for
    the own household, a worker for those of the region; a field has one open request."""
    if await idempotency.claim(db, actor, key):
        await subject_of(db, actor, subject_id, change)  # nobody holds what is not to be seen
        await belonging.lock_homes(db, [subject_id], [subject_id])  # before people, as everybody does
        subject = await subject_of(db, actor, subject_id, change)
        await _check(db, actor, subject, change)
        household = await household_of(db, subject)
        row = Correction(
            id=key.id, region_code=household.region_code, field=change.field, status=CorrectionStatus.OPEN,
            requester_role=actor.role, requested_by=actor.account_id, requested_at=clock.now(),
            person_id=subject.id if isinstance(subject, Person) else None,
            household_id=subject.id if isinstance(subject, Household) else None,
        )  # fmt: skip
        row.old = changes.kept(changes.now(subject, change.field))
        row.new, row.evidence = changes.kept(changes.written(change)), evidence
        db.add(row)
        await db.flush()  # refuses the second of two at once
        await note(
            db, actor, household, "correction_requested", change.field, person_id=row.person_id,
            detail={"evidence": evidence, "new": {change.field: changes.written(change)}},
        )  # fmt: skip
    return await read(db, actor, await fetch(db, actor, Correction, key.id))


async def subject_of(
    db: AsyncSession, actor: Actor, id: uuid.UUID, change: Change, *, lock: bool = False
) -> Person | Household:
    """The household for its address, else a person; of a household that is active."""
    subject: Person | Household
    if isinstance(change, NewAddress):
        subject = await fetch(db, actor, Household, id, lock=lock)
    else:
        subject = await fetch(db, actor, Person, id, lock=lock)
    await household_of(db, subject)
    return subject


async def household_of(db: AsyncSession, subject: Person | Household) -> Household:
    if isinstance(subject, Household):
        household: Household | None = subject
    else:
        query = select(Household).join(Membership, Membership.household_id == Household.id)
        household = await db.scalar(
            query.where(Membership.person_id == subject.id, Membership.valid_to.is_(None))
        )
    if household is None or household.status is not HouseholdStatus.ACTIVE:
        raise WrongState(status_now=household.status if household else None)
    return household


async def _check(db: AsyncSession, actor: Actor, subject: Person | Household, change: Change) -> None:
    if changes.now(subject, change.field) == changes.written(change) and await _may_know(db, actor, subject):
        raise Invalid.at(changes.VALUE, "与现在的登记相同", "this is on file already")
    if isinstance(subject, Person):
        await changes.check(db, subject, change)


async def _may_know(db: AsyncSession, actor: Actor, subject: Person | Household) -> bool:
    """To a housemate the values are masked: guessing them is not answered."""
    if actor.role is not Role.RESIDENT or isinstance(subject, Household):
        return True
    return subject.id == await identity.own_id(db, actor)


async def withdraw(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Asked:
    """By who asked, while nobody has decided."""
    row = await held(db, actor, id, version)
    if not _asked_by(actor, row):
        raise NotYours
    row.status = CorrectionStatus.WITHDRAWN
    await db.flush()  # raises the version that the answer shows
    await audit.record(db, actor, "withdraw", "correction", row.id, people=[row.person_id])
    return await read(db, actor, row)


def _asked_by(actor: Actor, row: Correction) -> bool:
    """A worker's role may have changed since; ids of workers are chosen by administrators."""
    resident = row.requester_role is Role.RESIDENT
    return row.requested_by == actor.id and resident == (actor.role is Role.RESIDENT)


async def held(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Correction:
    """An open request, until the transaction ends."""
    subject = select(func.coalesce(Correction.person_id, Correction.household_id))
    subject_id = await db.scalar(subject.where(Correction.id == id, visible(actor, Correction)))
    if subject_id is None:
        raise NotFound
    await belonging.lock_homes(db, [subject_id], [subject_id])
    row = await fetch_version(db, actor, Correction, id, version)
    if row.status is not CorrectionStatus.OPEN:
        raise WrongState(status_now=row.status)
    return row


def _with_names() -> Select[Correction, str | None]:
    """With the name of the person; a household has none."""
    person = aliased(Person)
    return select(Correction, person.name).outerjoin(person, person.id == Correction.person_id)


async def listing(
    db: AsyncSession,
    actor: Actor,
    *,
    status: CorrectionStatus,
    after: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[Asked]:
    """Of the worker's region, those who wait longest first."""
    query = _with_names().where(visible(actor, Correction), Correction.status == status)
    if after is not None:
        query = query.where(func.row(Correction.requested_at, Correction.id) > func.row(*after))
    rows = await db.execute(query.order_by(Correction.requested_at, Correction.id).limit(limit))
    return [_asked(actor, row, name) for row, name in rows]


async def own(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Asked]:
    """What the resident asked for, or others about the resident, newest first."""
    query = _with_names().where(visible(actor, Correction))
    rows = await db.execute(newest_first(query, Correction.requested_at, Correction.id, before, limit))
    return [_asked(actor, row, name) for row, name in rows]


async def read(db: AsyncSession, actor: Actor, row: Correction) -> Asked:
    name = await db.scalar(select(Person.name).where(Person.id == row.person_id))
    return _asked(actor, row, name)


def _asked(actor: Actor, row: Correction, name: str | None) -> Asked:
    return Asked(
        id=row.id, person_id=row.person_id, household_id=row.household_id, name=mask_name(name) if name else None,
        field=row.field, old=changes.masked(row.field, changes.opened(row.old)),
        new=changes.masked(row.field, changes.opened(row.new)), status=row.status,
        reason=row.reason if _asked_by(actor, row) else None, requester_role=row.requester_role,
        requested_at=row.requested_at, decided_at=row.decided_at, version=row.version,
    )  # fmt: skip
