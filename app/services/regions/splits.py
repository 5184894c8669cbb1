"""After a split somebody has to say which household lies in which part."""

import uuid
from typing import Any

from sqlalchemy import and_, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, unrestricted, visible
from app.crypto import mask_name
from app.db import Base
from app.errors import Invalid, NotFound, place
from app.models.households import Household, Membership, Person, Relation
from app.models.regions import RegionSuccession, SuccessionKind
from app.services.households import family_types
from app.services.regions import reading
from app.services.regions.following import FOLLOWS, OF_PERSON, note_region_changes, rewrite_forms


def _parts_of(code: str) -> Any:
    return (
        RegionSuccession.old_code == code,
        RegionSuccession.kind == SuccessionKind.SPLIT,
        RegionSuccession.applied_at.is_not(None),
    )


async def unassigned(
    db: AsyncSession, actor: Actor, *, code: str, after: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """The households that still stand in a division that was split, by the head's masked name. None for any other."""
    head = and_(
        Membership.household_id == Household.id,
        Membership.relation == Relation.HEAD,
        Membership.valid_to.is_(None),
    )
    query = (
        select(Household, Person.name)
        .outerjoin(Membership, head)
        .outerjoin(Person, and_(Person.id == Membership.person_id, unrestricted(actor)))
        .where(
            visible(actor, Household),
            Household.region_code == code,
            select(RegionSuccession.id).where(*_parts_of(code)).exists(),
        )
    )
    if after is not None:
        query = query.where(Household.id > after)
    return [
        {
            "id": row.id, "number": row.number, "status": row.status, "head": mask_name(name) if name else None,
            "version": row.version,
        }
        for row, name in await db.execute(query.order_by(Household.id).limit(limit))
    ]  # fmt: skip


async def assign(db: AsyncSession, actor: Actor, *, region_code: str, ids: list[uuid.UUID]) -> int:
    """Households of a split division lie in this part of it from now on; their people and what is under way for them
    follow. All of them or none. Those that lie there already are passed over: says how many moved."""
    await reading.require_own_region(db, actor, region_code)
    query = select(Household).where(Household.id.in_(ids), visible(actor, Household)).order_by(Household.id)
    rows = list(
        await db.scalars(query.with_for_update(of=Household).execution_options(populate_existing=True))
    )
    if len(rows) < len(set(ids)):
        raise NotFound
    moving = [row for row in rows if row.region_code != region_code]
    split_from = select(RegionSuccession.old_code).where(
        RegionSuccession.new_code == region_code,
        RegionSuccession.kind == SuccessionKind.SPLIT,
        RegionSuccession.applied_at.is_not(None),
    )
    parts_of = set(await db.scalars(split_from))
    wrong = [ids.index(row.id) for row in moving if row.region_code not in parts_of]
    if wrong:
        why = "该户所在区划未拆分出此区划", "the household's division was not split into this one"
        raise Invalid(errors=[place(f"/household_ids/{index}", *why) for index in wrong[:20]])
    if moving:
        await _move(db, actor, moving, region_code)
    return len(moving)


async def _move(db: AsyncSession, actor: Actor, moving: list[Household], region_code: str) -> None:
    ids, old = [row.id for row in moving], {row.region_code for row in moving}
    await _move_proposals(db, ids, old, region_code)
    changes = select(
        Household.id, Household.region_code.label("old_code"), literal(region_code).label("new_code")
    ).where(Household.id.in_(ids))
    await note_region_changes(db, actor, changes.subquery())
    members = select(Membership.person_id).where(
        Membership.household_id.in_(ids), Membership.valid_to.is_(None)
    )
    theirs: list[tuple[str, str, Any]] = [(name, "person_id", members) for name in OF_PERSON]
    for name, holder, whose in [*theirs, ("correction", "household_id", ids)]:
        table = Base.metadata.tables[name]
        here = and_(table.c[holder].in_(whose), table.c.region_code.in_(old))
        which = FOLLOWS[name, "region_code"](table)
        raised = {"version": table.c.version + 1} if "version" in table.c else {}
        await db.execute(update(table).where(here, which).values(region_code=region_code, **raised))
    people = list(
        await db.scalars(select(Person).where(Person.id.in_(members)).order_by(Person.id).with_for_update())
    )
    for person in people:
        person.region_code = region_code
        if person.hukou_region_code in old:
            person.hukou_region_code = region_code
    await rewrite_forms([row for row in moving if row.form_sealed], dict.fromkeys(old, region_code))
    for row in moving:
        row.region_code = region_code
    await db.flush()  # here a house number that the part has already is refused
    await family_types.settle(db, ids)


async def _move_proposals(db: AsyncSession, ids: list[uuid.UUID], old: set[str], region_code: str) -> None:
    """Moves that wait for an answer: out of these households, or into them."""
    for household, place_of in (("household_id", "from_region_code"), ("to_household_id", "to_region_code")):
        table = Base.metadata.tables["household_move"]
        theirs = and_(table.c[household].in_(ids), table.c[place_of].in_(old))
        which = FOLLOWS["household_move", place_of](table)
        changes = {place_of: region_code, "version": table.c.version + 1}
        await db.execute(update(table).where(theirs, which).values(changes))
