"""Undoing a merge: every value that it changed is again what it was, unless somebody has changed it since."""

import logging
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch
from app.db import begin
from app.errors import Conflict, Unavailable, WrongState
from app.models.consents import Consent
from app.models.duplicates import Merge, Suspicion, SuspicionStatus
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from app.services import audit
from app.services.duplicates import merging
from app.services.duplicates.built_upon import built_upon
from app.services.duplicates.changes import Changes, changed_since, dump, load, place, restore
from app.services.duplicates.deciding import require_within
from app.services.duplicates.obstacles import MergeBlocked
from app.services.households import belonging, family_types
from app.services.households.handbook import note

log = logging.getLogger("nuanxin.duplicates")
#: How long a transaction that began before a merge may still write to who was merged.
STRAGGLERS = timedelta(hours=1)


class MergeBuiltUpon(Conflict):
    """Says where: tables, ids and columns, no values."""

    zh, en = "合并后的登记已被更改，无法撤销", "What was merged has changed since: it cannot be undone"
    do_zh = "请先撤销 changed 中列出的后续更改，或按现状更正"
    do_en = "Take back the later changes that changed lists, or correct what is there now"


async def undo(db: AsyncSession, actor: Actor, *, id: uuid.UUID, reason: str) -> Merge:
    """Both are again what they were; what came to the kept one since then stays there. Of several merges into one the
    newest goes first, and all that comes back lies in the actor's region. Versions only ever go up."""
    row = await fetch(db, actor, Merge, id, lock=True)
    await db.refresh(row)
    if row.undone_at is not None:
        raise WrongState(status_now="undone")
    changes = load(row.changes)
    homes = await belonging.lock(db, await _homes(db, row, changes))
    people = await _people(db, row)
    await _require_own(db, actor, row, changes, homes, people)
    changes = await _still_to_restore(db, row, changes, people)
    since = await _later(db, row, homes) + await built_upon(db, row, changes)
    if since := since + await changed_since(db, changes):
        raise MergeBuiltUpon(changed=since)
    try:
        await restore(db, changes)
    except IntegrityError as error:  # what is to come back has its place taken
        raise MergeBuiltUpon(changed=[]) from error
    await _count_again(db, people)
    await _require_heads(db, homes)
    await family_types.settle(db, list(homes))
    await merging.raise_versions(db, *people, *homes.values())
    await _finish(db, actor, row, reason)
    kind = "person_merge_undone" if row.kept_person_id else "household_merge_undone"
    for home in homes.values():
        await note(db, actor, home, kind, person_id=row.kept_person_id)
    return row


async def _require_own(
    db: AsyncSession, actor: Actor, row: Merge, changes: Changes, homes: dict[uuid.UUID, Household],
    people: list[Person],
) -> None:  # fmt: skip
    """Where they are counted, and the households to which they return."""
    back = await _homes(db, row, [one for one in changes if one["column"] == "valid_to"])
    if not back <= homes.keys():
        raise Unavailable  # somebody moved while we waited
    counted = {person.region_code for person in people if person.region_code}
    await require_within(db, actor, counted | {homes[id].region_code for id in back})


async def _later(db: AsyncSession, row: Merge, homes: dict[uuid.UUID, Household]) -> list[dict[str, Any]]:
    """A later merge into the same one took for granted what this one did; a household that has moved since took the
    other's members along."""
    same = (
        Merge.kept_person_id == row.kept_person_id
        if row.kept_person_id
        else Merge.kept_household_id == row.kept_household_id
    )
    standing = select(Merge.id).where(same, Merge.undone_at.is_(None))
    later = standing.where(func.row(Merge.merged_at, Merge.id) > func.row(row.merged_at, row.id))
    found = [place("merge", id, "undone_at") for id in await db.scalars(later.order_by(Merge.id))]
    if row.kept_household_id and row.lost_household_id:
        kept, lost = homes[row.kept_household_id], homes[row.lost_household_id]
        if kept.region_code != lost.region_code:
            found.append(place("household", kept.id, "region_code"))
    return found


async def _still_to_restore(db: AsyncSession, row: Merge, changes: Changes, people: list[Person]) -> Changes:
    """A consent that the merge ended stays ended once the person has withdrawn from the same notice; a phone that the
    merge filled in stays once it is another."""
    if row.kept_person_id is None:
        return changes
    ended, other = aliased(Consent), aliased(Consent)
    withdrawn = (
        select(ended.id)
        .join(other, other.notice_id == ended.notice_id)
        .where(ended.person_id == row.kept_person_id, other.person_id == row.kept_person_id)
        .where(other.withdrawn_at > row.merged_at)
    )
    stays = {(str(id), "withdrawn_at") for id in await db.scalars(withdrawn)}
    if len({person.phone_index for person in people}) > 1:
        stays |= {(str(row.kept_person_id), name) for name in ("phone_sealed", "phone_index")}
    return [one for one in changes if (one["key"][0], one["column"]) not in stays]


async def _homes(db: AsyncSession, row: Merge, changes: Changes) -> set[uuid.UUID]:
    """Every household that the merge or its undoing touches."""
    memberships = {uuid.UUID(one["key"][0]) for one in changes if one["table"] == "membership"}
    people = (row.kept_person_id, row.lost_person_id)
    theirs = select(Membership.household_id).where(
        or_(Membership.id.in_(memberships), Membership.person_id.in_([one for one in people if one])),
        or_(Membership.valid_to.is_(None), Membership.id.in_(memberships)),
    )
    own = {row.kept_household_id, row.lost_household_id} - {None}
    return {id for id in (*await db.scalars(theirs), *own) if id is not None}


async def _people(db: AsyncSession, row: Merge) -> list[Person]:
    """The two, or the members of the two households."""
    if row.kept_person_id:
        ids: Any = [row.kept_person_id, row.lost_person_id]
    else:
        households = [row.kept_household_id, row.lost_household_id]
        ids = select(Membership.person_id).where(
            Membership.household_id.in_(households), Membership.valid_to.is_(None)
        )
    query = select(Person).where(Person.id.in_(ids)).order_by(Person.id).with_for_update()
    return list(await db.scalars(query.execution_options(populate_existing=True)))


async def _count_again(db: AsyncSession, people: list[Person]) -> None:
    """Where each is counted follows from the memberships as they are now: a household may have moved meanwhile."""
    home = select(Household.region_code).join(Membership, Membership.household_id == Household.id)
    place = home.where(
        Membership.person_id == merging.PERSON.c.id,
        Membership.valid_to.is_(None),
        Household.status == HouseholdStatus.ACTIVE,
    )
    counted = update(merging.PERSON).where(merging.PERSON.c.id.in_([person.id for person in people]))
    await db.execute(counted.values(region_code=place.scalar_subquery()))


async def _require_heads(db: AsyncSession, homes: dict[uuid.UUID, Household]) -> None:
    """Members may have come and gone meanwhile: each household still has one head."""
    head = (
        Membership.household_id == Household.id,
        Membership.relation == Relation.HEAD,
        Membership.valid_to.is_(None),
    )
    heads = select(func.count()).select_from(Membership).where(*head).scalar_subquery()
    query = select(Household.id).where(Household.id.in_(homes), Household.status == HouseholdStatus.ACTIVE)
    wrong = list(await db.scalars(query.where(heads != 1)))
    if wrong:
        raise MergeBuiltUpon(changed=[place("household", id, "members") for id in wrong])


async def _finish(db: AsyncSession, actor: Actor, row: Merge, reason: str) -> None:
    row.undone_by, row.undone_at, row.undo_reason = actor.id, clock.now(), reason
    people = [id for id in (row.kept_person_id, row.lost_person_id) if id is not None]
    await audit.record(db, actor, "undo", "merge", row.id, people=people)
    if not people:
        return
    a, b = sorted(people)
    pair = update(Suspicion).where(
        Suspicion.person_a == a, Suspicion.person_b == b, Suspicion.status == SuspicionStatus.CONFIRMED
    )
    await db.execute(pair.values(status=SuspicionStatus.OPEN, decided_by=None, decided_at=None))
    await merging.unsettle(db, *people)


async def sweep() -> int:
    """What was written to somebody while the merge waited for its turn follows the others: how many values."""
    found = 0
    async with begin() as db:
        recent = select(Merge.id).where(
            Merge.merged_at > clock.now() - STRAGGLERS,
            Merge.undone_at.is_(None),
            Merge.lost_person_id.is_not(None),
        )
        ids = list(await db.scalars(recent))
    for id in ids:
        try:
            async with begin() as db:
                found += await _sweep(db, id)
        except MergeBlocked:
            log.warning("merge %s: what came late stays with the other", id)
    return found


async def _sweep(db: AsyncSession, id: uuid.UUID) -> int:
    row = (await db.scalars(select(Merge).where(Merge.id == id).with_for_update())).one()
    if row.undone_at is not None or row.kept_person_id is None or row.lost_person_id is None:
        return 0
    kept, lost = row.kept_person_id, row.lost_person_id
    await _people(db, row)
    late: Changes = []
    if await db.scalar(select(Person.merged_into).where(Person.id == lost)) == kept:
        await merging.references(db, late, "person", kept, lost)
    if late:
        await merging.move(db, late, kept, lost, {lost: kept})
        await merging.follow(db, late, kept, lost)
        row.changes = dump(load(row.changes) + late)
    return len(late)
