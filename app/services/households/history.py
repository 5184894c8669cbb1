"""The handbook as it is read: a household's whole history in time order. Steps that are nobody else's to see are
gathered under each domain's own rule of who sees what: the handbook shows nobody more than that."""

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import AGE_OF_OWN_CONSENT, Actor, fetch, unrestricted
from app.crypto import mask_name
from app.errors import NotFound
from app.models.handbook import HandbookDetail
from app.models.households import Household, Membership, Person, Relation
from app.models.identity import Role
from app.services import audit, identity
from app.services.households import belonging
from app.services.households.handbook import members_of, people_of
from app.services.households.steps import steps_of
from app.settings import ROOT

After = tuple[datetime, str]


@cache
def wordings() -> dict[str, dict[str, str]]:
    """What each kind of step is called, in Chinese and English."""
    words: dict[str, dict[str, str]] = json.loads((ROOT / "app/data/handbook.json").read_text("utf-8"))
    return words


@dataclass(frozen=True, slots=True)
class Step:
    """`name` is of whom the step is about. `subject` says about what, in the words of its catalogue. `detail` is
    sealed otherwise: evidence, old and new values."""

    at: datetime
    key: str
    kind: str
    zh: str
    en: str
    happened_on: date | None
    person_id: uuid.UUID | None
    name: str | None
    note: str | None
    subject_zh: str | None
    subject_en: str | None
    actor_role: str | None
    detail: dict[str, Any] | None


async def own(db: AsyncSession, actor: Actor, *, after: After | None, limit: int) -> list[Step]:
    """The resident's own household: with what was written about oneself, the household and its small children."""
    home_id = await belonging.home_of(db, await identity.own_id(db, actor))
    if home_id is None:
        raise NotFound
    return await read(db, actor, id=home_id, after=after, limit=limit, purpose="own_file", opened=True)


async def read(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, after: After | None, limit: int, purpose: str,
    opened: bool = False,
) -> list[Step]:  # fmt: skip
    """One page in time order. The look is recorded in the file of each member. `opened` shows names in full and
    what is sealed."""
    row = await fetch(db, actor, Household, id)
    steps = (await steps_of(db, actor, row)).subquery()
    # Who is not to be read about has no name here, and nothing that is sealed.
    readable = and_(Person.id == steps.c.person_id, unrestricted(actor))
    query = select(steps, Person.name).outerjoin(Person, readable)
    if after is not None:
        query = query.where(func.row(steps.c.at, steps.c.key) > func.row(*after))
    found = list(await db.execute(query.order_by(steps.c.at, steps.c.key).limit(limit)))
    action = "read_unmasked" if opened and actor.role is not Role.RESIDENT else "read"
    await audit.record(
        db, actor, action, "household_handbook", row.id, people=await people_of(db, row), purpose=purpose
    )
    named = await _named(db, actor, row) if opened else set()
    details = await _details(db, actor, row, found) if opened else {}
    return [_step(one, details.get(one.detail_id), named) for one in found]


def _step(one: Any, detail: dict[str, Any] | None, named: Collection[uuid.UUID] | None) -> Step:
    words = wordings().get(one.kind, {"zh": "登记变更", "en": "A change"})
    name = one.name
    if name is not None and named is not None and one.person_id not in named:
        name = mask_name(name)
    return Step(
        at=one.at, key=one.key, kind=one.kind, zh=words["zh"], en=words["en"], happened_on=one.happened_on,
        person_id=one.person_id, name=name, note=one.note, subject_zh=one.subject_zh,
        subject_en=one.subject_en, actor_role=one.actor_role, detail=detail,
    )  # fmt: skip


async def _named(db: AsyncSession, actor: Actor, row: Household) -> set[uuid.UUID] | None:
    """Whose names a resident reads in full: of those who belong to the household now. None: everybody's."""
    if actor.role is not Role.RESIDENT:
        return None
    return set(await db.scalars(members_of(row)))


async def _in_care(db: AsyncSession, own_id: uuid.UUID, row: Household) -> set[uuid.UUID]:
    """Oneself, and the small children who belong to the household now and for whom one decides: see
    consents.require_guardian."""
    members = select(Person.id, Membership.relation, Person.birth_date).join(
        Membership, Membership.person_id == Person.id
    )
    here = (Membership.household_id == row.id, Membership.valid_to.is_(None))
    people = {id: (relation, born) for id, relation, born in await db.execute(members.where(*here))}
    if own_id not in people or people[own_id][0] not in {Relation.HEAD, Relation.SPOUSE}:
        return {own_id}
    young = clock.years_ago(AGE_OF_OWN_CONSENT)
    children = {id for id, (relation, born) in people.items() if relation is Relation.CHILD and born > young}
    return {own_id, *children}


async def _details(
    db: AsyncSession, actor: Actor, row: Household, found: Collection[Any]
) -> dict[uuid.UUID, dict[str, Any]]:
    """What is sealed. A resident reads it of oneself, of the household as such and of the own children under 14."""
    sealed = [one for one in found if one.detail_id is not None]
    if actor.role is Role.RESIDENT:
        about = {None, *await _in_care(db, await identity.own_id(db, actor), row)}
        wanted = {one.detail_id for one in sealed if one.person_id in about}
    else:
        wanted = {one.detail_id for one in sealed if one.person_id is None or one.name is not None}
    rows = await db.scalars(select(HandbookDetail).where(HandbookDetail.id.in_(wanted)))
    return {one.id: json.loads(one.content) for one in rows if one.content is not None}
