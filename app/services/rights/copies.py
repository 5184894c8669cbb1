"""Everything held about a person, as a copy in a common machine-readable form (PIPL art. 45)."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import AGE_OF_OWN_CONSENT, Actor, own_person
from app.db import Base
from app.models.households import Membership, Person, Relation
from app.services import audit
from app.services.rights.held import HELD, OF_AN_ACCOUNT, About, Held, about, about_account
from app.services.rights.offices import at_the_office

#: Of one table. Nobody comes near it; whoever does is told so.
MOST = 10_000
#: Whose account it was is said by the role: the ids of workers are theirs.
OTHERS = {"actor_id", "requested_by", "request_id"}


async def own_file(db: AsyncSession, actor: Actor) -> dict[str, Any]:
    """The resident's own, and those of the children under 14 whose guardian the resident is (PIPL art. 31). Of an
    account that is bound to nobody, what hangs on it: who gives is a person with rights, too."""
    person = await db.scalar(select(Person).where(Person.id == own_person(actor)))
    if person is None:
        return await _of_account(db, actor)
    children = await _children(db, person.id)
    await audit.record(
        db, actor, "export", "person", person.id, people=[person.id, *children], purpose="own_file"
    )
    return {
        "made_at": clock.now(), "person_id": person.id, "sections": await _sections(db, person.id),
        "children": [{"person_id": child, "sections": await _sections(db, child)} for child in children],
    }  # fmt: skip


async def _of_account(db: AsyncSession, actor: Actor) -> dict[str, Any]:
    await audit.record(db, actor, "export", "resident_account", actor.account_id, purpose="own_file")
    sections = await _read(db, OF_AN_ACCOUNT, about_account(actor.account_id))
    return {"made_at": clock.now(), "person_id": None, "sections": sections, "children": []}


async def file_of(db: AsyncSession, actor: Actor, *, person_id: uuid.UUID, purpose: str) -> dict[str, Any]:
    """The same for who has no phone, or for the relatives of who has died: a worker hands over the copy. Recorded as
    an unmasked read."""
    person = await at_the_office(db, actor, person_id)
    await audit.record(db, actor, "export", "person", person.id, people=[person.id], purpose=purpose)
    return {
        "made_at": clock.now(), "person_id": person.id, "sections": await _sections(db, person.id), "children": [],
    }  # fmt: skip


async def _children(db: AsyncSession, person: uuid.UUID) -> list[uuid.UUID]:
    parent, child = aliased(Membership), aliased(Membership)
    query = (
        select(Person.id)
        .join(child, child.person_id == Person.id)
        .join(parent, parent.household_id == child.household_id)
        .where(parent.person_id == person, parent.relation.in_([Relation.HEAD, Relation.SPOUSE]))
        .where(child.relation == Relation.CHILD, child.valid_to.is_(None), parent.valid_to.is_(None))
        .where(Person.birth_date > clock.years_ago(AGE_OF_OWN_CONSENT))
    )
    return list(await db.scalars(query.order_by(Person.birth_date, Person.id)))


async def _sections(db: AsyncSession, person: uuid.UUID) -> list[dict[str, Any]]:
    return await _read(db, HELD, await about(db, person))


async def _read(db: AsyncSession, tables: Sequence[Held], whose: About) -> list[dict[str, Any]]:
    sections = []
    for held in tables:
        table = inspect(held.model)
        query = select(held.model).where(held.of(whose)).order_by(*table.primary_key).limit(MOST + 1)
        rows = list(await db.scalars(query))
        sections.append(
            {
                "table": held.model.__tablename__, "zh": held.zh, "en": held.en,
                "rows": [shown(row) for row in rows[:MOST]], "complete": len(rows) <= MOST,
            }
        )  # fmt: skip
    return sections


def shown(row: Base) -> dict[str, Any]:
    """Sealed columns opened, hashes and salts in hex; without blind indexes, and without who of the workers it was."""
    values: dict[str, Any] = {}
    for name, column in inspect(type(row)).columns.items():
        if name in OTHERS or any(key.column.table.name == "staff_account" for key in column.foreign_keys):
            continue
        if name.endswith("_sealed"):
            values[name.removesuffix("_sealed")] = getattr(row, name.removesuffix("_sealed"))
        elif not name.endswith("_index"):
            values[name] = _plain(getattr(row, name))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value
