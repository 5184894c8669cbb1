"""Asking to be erased, and deciding about it (PIPL arts. 47, 50)."""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.crypto import mask_name
from app.db import begin
from app.errors import Conflict, NotFound, WrongState
from app.models.households import Person
from app.models.identity import Role
from app.models.rights import Erasure, ErasureStatus
from app.services import audit, consents, idempotency, identity
from app.services.corrections.decisions import OwnRequest
from app.services.idempotency import Key
from app.services.rights.anonymising import anonymise
from app.services.rights.emptying import hold_homes
from app.services.rights.holds import Hold, holds
from app.services.rights.offices import at_the_office, office_of

S = ErasureStatus
UNDER_WAY = (S.OPEN, S.HELD)
#: Who holds the person's row while an erasure is decided need not see the person: the request was seen.
DECIDING = Actor.system("erasure")
log = logging.getLogger("nuanxin.rights")


class ErasurePending(Conflict, constraint="uq_erasure_person_id_under_way"):
    zh, en = "已有正在办理的注销申请", "A request to erase is under way already"
    do_zh, do_en = "请等待办理结果，或先撤回", "Wait for its decision, or withdraw it first"


@dataclass(frozen=True, slots=True)
class Listed:
    """A request in a list, the name masked."""

    id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str
    status: ErasureStatus
    holds: list[dict[str, Any]]
    reason: str | None
    requester_role: Role
    requested_at: datetime
    decided_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class Detail:
    """With why it was asked, and what stands against it today."""

    erasure: Listed
    why: str | None
    holds_now: list[Hold]


async def request_own(
    db: AsyncSession, actor: Actor, *, key: Key, person_id: uuid.UUID | None, why: str | None
) -> Listed:
    """For oneself, or as a parent for a child under 14 of the own household."""
    own = await identity.own(db, actor)
    if person_id is None or person_id == own.id:
        return await _request(db, actor, key, own, why)
    await consents.require_guardian(db, actor, own.id, person_id)
    return await _request(db, actor, key, await fetch(db, actor, Person, person_id), why)


async def request_for(
    db: AsyncSession, actor: Actor, *, key: Key, person_id: uuid.UUID, why: str, purpose: str
) -> Listed:
    """A worker on behalf of somebody without a phone, or of the relatives of who has died (PIPL art. 49)."""
    person = await at_the_office(db, actor, person_id)
    return await _request(db, actor, key, person, why, purpose=purpose)


async def _request(
    db: AsyncSession, actor: Actor, key: Key, person: Person, why: str | None, *, purpose: str | None = None
) -> Listed:
    if await idempotency.claim(db, actor, key):
        row = Erasure(
            id=key.id, person_id=person.id, region_code=await _office(db, person), status=S.OPEN,
            requester_role=actor.role, requested_by=actor.account_id, requested_at=clock.now(), holds=[],
        )  # fmt: skip
        row.why = why
        db.add(row)
        await db.flush()  # refuses the second of two at once
        await audit.record(db, actor, "request", "erasure", row.id, people=[person.id], purpose=purpose)
    return await _read(db, await fetch(db, actor, Erasure, key.id))


async def _office(db: AsyncSession, person: Person) -> str:
    """Where it is decided."""
    return (await db.scalars(select(office_of()).where(Person.id == person.id))).one()


async def withdraw(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Listed:
    """By the person, or the parent who asked, until it is done. The person is served again."""
    row = await _held(db, actor, id, version)
    person = await fetch(db, DECIDING, Person, row.person_id, lock=True)
    row.status, person.restricted_at = S.WITHDRAWN, None
    return await _note(db, actor, row, "withdraw")


async def decide(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, grant: bool, reason: str
) -> Listed:
    """Refused with the reason; or granted: done at once, or held while a duty to keep stands against it. Meanwhile the
    data are stored only, and once the last duty has ended the nightly job erases. Never by who asked: it cannot be
    undone."""
    row = await _held(db, actor, id, version)
    if row.requested_by == actor.id:
        raise OwnRequest
    person = await fetch(db, DECIDING, Person, row.person_id, lock=True)
    row.decided_by, row.decided_at, row.reason = actor.account_id, clock.now(), reason
    if not grant:
        row.status, person.restricted_at = S.REFUSED, None
        return await _note(db, actor, row, "refuse")
    return await _carry_out(db, actor, row, person)


async def _carry_out(db: AsyncSession, actor: Actor, row: Erasure, person: Person) -> Listed:
    found = await holds(db, person.id)
    row.holds = [hold.kept() for hold in found]
    if found:
        row.status, person.restricted_at = S.HELD, person.restricted_at or clock.now()
        return await _note(db, actor, row, "hold")
    row.status = S.DONE
    await anonymise(db, actor, person)
    return await _note(db, actor, row, "erase")


async def finish_due() -> int:
    """Those granted whose last hold has ended, by the nightly job, each in a transaction of its own: one that fails
    is logged and tried again the next night."""
    async with begin() as db:
        waiting = select(Erasure.id, Erasure.person_id).where(Erasure.status == S.HELD)
        due = [(row.id, row.person_id) for row in await db.execute(waiting.order_by(Erasure.decided_at))]
    done = 0
    for id, person_id in due:
        try:
            done += await _finish(id, person_id)
        except Exception:
            log.exception("erasure failed", extra={"fields": {"erasure": str(id)}})
    return done


async def _finish(id: uuid.UUID, person_id: uuid.UUID) -> bool:
    async with begin() as db:
        await hold_homes(db, person_id)
        query = select(Erasure).where(Erasure.id == id, Erasure.status == S.HELD)
        row = await db.scalar(query.with_for_update(skip_locked=True))
        if row is None or await holds(db, row.person_id):
            return False
        person = await fetch(db, DECIDING, Person, row.person_id, lock=True)
        return (await _carry_out(db, DECIDING, row, person)).status is S.DONE


async def _held(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Erasure:
    """A request under way, until the transaction ends. Households are locked first, as by everybody."""
    person_id = await db.scalar(select(Erasure.person_id).where(Erasure.id == id, visible(actor, Erasure)))
    if person_id is None:
        raise NotFound
    await hold_homes(db, person_id)
    row = await fetch_version(db, actor, Erasure, id, version)
    if row.status not in UNDER_WAY:
        raise WrongState(status_now=row.status)
    return row


async def _note(db: AsyncSession, actor: Actor, row: Erasure, action: str) -> Listed:
    await db.flush()  # raises the version that the answer shows
    await audit.record(db, actor, action, "erasure", row.id, people=[row.person_id])
    return await _read(db, row)


async def _read(db: AsyncSession, row: Erasure) -> Listed:
    name = await db.scalar(select(Person.name).where(Person.id == row.person_id))
    return _listed(row, name or "")


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> Detail:
    """Recorded in the person's file."""
    row = await fetch(db, actor, Erasure, id)
    await audit.record(db, actor, "read", "erasure", row.id, people=[row.person_id], purpose=purpose)
    return Detail(await _read(db, row), row.why, await holds(db, row.person_id))


async def listing(
    db: AsyncSession,
    actor: Actor,
    *,
    status: ErasureStatus,
    after: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[Listed]:
    """Of the region, those who wait longest first."""
    query = select(Erasure, Person.name).join(Person, Person.id == Erasure.person_id)
    query = query.where(visible(actor, Erasure), Erasure.status == status)
    if after is not None:
        query = query.where(func.row(Erasure.requested_at, Erasure.id) > func.row(*after))
    rows = await db.execute(query.order_by(Erasure.requested_at, Erasure.id).limit(limit))
    return [_listed(row, name) for row, name in rows]


async def own(db: AsyncSession, actor: Actor) -> list[Listed]:
    """The resident's own and those for the children, newest first: a handful."""
    query = select(Erasure, Person.name).join(Person, Person.id == Erasure.person_id)
    rows = await db.execute(
        query.where(visible(actor, Erasure)).order_by(Erasure.requested_at.desc()).limit(100)
    )
    return [_listed(row, name) for row, name in rows]


def _listed(row: Erasure, name: str) -> Listed:
    return Listed(
        id=row.id, person_id=row.person_id, name=mask_name(name), region_code=row.region_code, status=row.status,
        holds=row.holds, reason=row.reason, requester_role=row.requester_role, requested_at=row.requested_at,
        decided_at=row.decided_at, version=row.version,
    )  # fmt: skip
