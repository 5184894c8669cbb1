"""Somebody stands before the worker with a document: who that is, and setting free a wrong binding.

Who lives in no household is visible to no worker, and yet somebody else may have bound an account to the person's
document. The document opens just that much, and nobody tries out numbers: five misses a day.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, and_, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, unrestricted, visible
from app.crypto import mask_name
from app.db import begin
from app.errors import NotFound
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.staff import StaffAccount
from app.services import audit, documents, identity

MISSED = literal_column("'find_missed'", Text)  # in the statement itself: its index has this condition


@dataclass(frozen=True, slots=True)
class Found:
    """The name is masked. `in_household`: in one of the worker's region."""

    id: uuid.UUID
    name: str
    in_household: bool
    bound_at: datetime | None


async def find(actor: Actor, *, document: documents.Document, purpose: str) -> Found:
    """The person of this document, if one of the worker's region or in no household at all; else NotFound, as if
    there were none. A miss is recorded in a transaction that commits."""
    async with begin() as db:
        person = await _presented(db, actor, document, purpose)
        if person is not None:
            await audit.record(db, actor, "find", "person", person.id, people=[person.id], purpose=purpose)
            bound_at = await db.scalar(
                select(ResidentAccount.bound_at).where(ResidentAccount.person_id == person.id)
            )
            return Found(person.id, mask_name(person.name), person.region_code is not None, bound_at)
    raise NotFound


async def release_binding(
    actor: Actor, *, document: documents.Document, name: str, phone: str, purpose: str
) -> None:
    """As `identity.release_binding`, for whom name and document show: the phone is put on file with which the
    person can bind, and an account bound so far is bound no more."""
    async with begin() as db:
        person = await _presented(db, actor, document, purpose, name=name)
        if person is not None:
            await identity.put_phone(db, actor, person, phone, purpose=purpose)
    if person is None:
        raise NotFound


async def _presented(
    db: AsyncSession, actor: Actor, document: documents.Document, purpose: str, *, name: str | None = None
) -> Person | None:
    """Who it is, locked; None is a miss, and recorded as one."""
    await _require_patience(db, actor)
    known = (await identity.holders(db, [document.index])).get(document.index)
    person = None
    if known is not None and name in (None, known.name):
        living = and_(Person.region_code.is_(None), Person.died_on.is_(None), unrestricted(actor))
        query = select(Person).where(Person.id == known.id, or_(visible(actor, Person), living))
        person = await db.scalar(query.with_for_update(of=Person).execution_options(populate_existing=True))
    if person is None:
        whose = [known.id] if known else []
        await audit.record(db, actor, "find_missed", "person", people=whose, purpose=purpose)
    return person


async def _require_patience(db: AsyncSession, actor: Actor) -> None:
    """Of two tries at once the second waits for the first."""
    own = select(StaffAccount.id).where(StaffAccount.id == actor.account_id)
    await db.execute(own.with_for_update(key_share=True))
    await identity.require_patience(db, actor, MISSED)
