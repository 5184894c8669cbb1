"""What becomes of a suspicion: two people, or one."""

import uuid
from collections.abc import Collection
from functools import reduce
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, visible
from app.crypto import mask_document, mask_name, mask_phone
from app.errors import Forbidden, Invalid, WrongState
from app.models.duplicates import Merge, Suspicion, SuspicionStatus
from app.models.households import Household, Membership, Person
from app.services import audit
from app.services.duplicates import merging, offices
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.regions.reading import reaches

#: What is compared side by side.
COMPARED = (
    "name",
    "pinyin",
    "sex",
    "birth_date",
    "document_kind",
    "phone_index",
    "hukou_region_code",
    "region_code",
)
SHOWN = {"pinyin": "sound", "phone_index": "phone"}


class DecidedElsewhere(Forbidden):
    """One of the two is beyond the worker's region. Says in `office` who sees both."""

    zh, en = "两人不都在您的辖区内", "Not both of them are in your region"
    do_zh, do_en = "请由 office 所示的上级单位处理", "The office named in office decides"


async def listing(
    db: AsyncSession, actor: Actor, *, after: tuple[int, uuid.UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """Open suspicions about people of the worker's region, the most certain first; masked."""
    a, b = aliased(Person), aliased(Person)
    query = (
        select(Suspicion, a, b)
        .join(a, a.id == Suspicion.person_a)
        .join(b, b.id == Suspicion.person_b)
        .where(visible(actor, Suspicion), Suspicion.status == SuspicionStatus.OPEN)
        # Merged, deceased, moved away, about to be erased: there is nothing to decide any more.
        .where(a.region_code.is_not(None), b.region_code.is_not(None))
        .where(a.restricted_at.is_(None), b.restricted_at.is_(None))
        .order_by(Suspicion.score.desc(), Suspicion.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(Suspicion.score, Suspicion.id) < func.row(*after))
    rows = [(row, one, other) for row, one, other in await db.execute(query)]
    people = [person for _, *pair in rows for person in pair]
    homes = await _homes(db, people)
    named = await offices.names(db, {person.region_code or "" for person in people})
    return [
        {
            "id": row.id, "score": row.score, "reasons": row.reasons, "found_at": row.found_at,
            "people": [_view(one, homes, named), _view(other, homes, named)], "differs": _differs(one, other),
            "decidable": reaches(actor, one.region_code or "", other.region_code or ""),
        }
        for row, one, other in rows
    ]  # fmt: skip


def _view(person: Person, homes: dict[uuid.UUID, int], named: dict[str, str]) -> dict[str, Any]:
    return {
        "id": person.id, "name": mask_name(person.name), "sex": person.sex,
        "birth_year": person.birth_date.year, "document_kind": person.document_kind,
        "document_number": mask_document(person.document_number),
        "phone": mask_phone(person.phone) if person.phone else None,
        "region_name": named.get(person.region_code or ""), "household_number": homes.get(person.id),
        "created_at": person.created_at,
    }  # fmt: skip


def _differs(one: Person, other: Person) -> list[str]:
    """By name alone; what agrees is in the reasons."""
    return [
        SHOWN.get(column, column) for column in COMPARED if getattr(one, column) != getattr(other, column)
    ]


async def _homes(db: AsyncSession, people: list[Person]) -> dict[uuid.UUID, int]:
    query = select(Membership.person_id, Household.number).join(
        Household, Household.id == Membership.household_id
    )
    ids = [person.id for person in people]
    found = await db.execute(query.where(Membership.person_id.in_(ids), Membership.valid_to.is_(None)))
    return dict(found.all())


async def require_within(db: AsyncSession, actor: Actor, codes: Collection[str]) -> None:
    """All that it is about lies in the worker's region; else DecidedElsewhere says who sees it all."""
    if not reaches(actor, *codes):
        code = reduce(offices.common, codes)
        raise DecidedElsewhere(office=(await offices.names(db, [code])).get(code))


async def _open(
    db: AsyncSession, actor: Actor, id: uuid.UUID, *, lock: bool
) -> tuple[Suspicion, list[Person]]:
    """An open suspicion about two people of whom the worker sees both, else who does."""
    row = await fetch(db, actor, Suspicion, id, lock=lock)
    if lock:
        await db.refresh(row)
    if row.status is not SuspicionStatus.OPEN:
        raise WrongState(status_now=row.status)
    pair = select(Person).where(Person.id.in_([row.person_a, row.person_b])).order_by(Person.id)
    people = list(await db.scalars(pair.execution_options(populate_existing=True)))
    codes = [person.region_code for person in people if person.region_code]
    if len(codes) < 2:
        raise WrongState(status_now="not_counted")
    await require_within(db, actor, codes)
    return row, people


async def dismiss(db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str) -> Suspicion:
    """Two people. Remembered: this pair is not found again."""
    row, people = await _open(db, actor, id, lock=True)
    row.status, row.decided_by, row.decided_at = SuspicionStatus.DISMISSED, actor.id, clock.now()
    row.reason = reason
    ids = [person.id for person in people]
    await audit.record(db, actor, "dismiss", "suspicion", row.id, people=ids)
    return row


async def confirm(
    db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID, keep: uuid.UUID, reason: str
) -> Merge:
    """One person: `keep` of the two stays."""
    if done := await db.get(Merge, key.id):  # the same request again: what it did is told again
        return await merging.people(
            db, actor, key=key, kept_id=keep, lost_id=done.lost_person_id or keep, reason=reason
        )
    # People are held before suspicions about them, as in every merge.
    row, _ = await _open(db, actor, id, lock=False)
    pair = {row.person_a, row.person_b}
    if keep not in pair:
        raise Invalid.at("/keep", "不是这两人之一", "not one of the two")
    [lost] = pair - {keep}
    merge = await merging.people(db, actor, key=key, kept_id=keep, lost_id=lost, reason=reason)
    await db.refresh(row)
    if row.status is not SuspicionStatus.CONFIRMED:  # somebody dismissed it while we waited
        raise WrongState(status_now=row.status)
    return merge


async def merges(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Merge]:
    """Merges of the worker's region, newest first."""
    query = select(Merge).where(visible(actor, Merge))
    return list(await db.scalars(newest_first(query, Merge.merged_at, Merge.id, before, limit)))
