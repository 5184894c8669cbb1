"""What both villages see of a move, and whom a village has registered that lives elsewhere: masked."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, unrestricted, visible, within
from app.crypto import mask_name
from app.models.households import Household, Membership, Person, Relation
from app.models.moves import Move, MoveSide, MoveStatus
from app.models.regions import Region
from app.services import regions
from app.services.pages import newest_first

#: Digits of a county's code. Written out, as in the partial index: a parameter could be any number.
SIX: Any = literal_column("6")


@dataclass(frozen=True, slots=True)
class MoveRow:
    """`persons` counts who moves; `head` is the masked name of who heads the household now. What is the household's
    own is told to the village where it is, and to the one to which it is handed over while that decides."""

    id: uuid.UUID
    household_id: uuid.UUID
    household_number: int | None
    head: str | None
    whole: bool
    persons: int | None
    from_region_code: str
    from_region_name: str
    to_region_code: str
    to_region_name: str
    to_household_id: uuid.UUID | None
    moved_on: date
    status: MoveStatus
    begun_by: MoveSide
    reason: str | None
    version: int
    created_at: datetime
    decided_at: datetime | None


def _moves(actor: Actor) -> Select[Any]:
    here = (Membership.household_id == Move.household_id, Membership.valid_to.is_(None))
    head = (
        select(Person.name)
        .join(Membership, Membership.person_id == Person.id)
        .where(*here, Membership.relation == Relation.HEAD, unrestricted(actor))
        .limit(1)
        .scalar_subquery()
    )
    size = select(func.count()).select_from(Membership).where(*here).scalar_subquery()
    return select(Move, Household, head, size).join(Household, Household.id == Move.household_id)


def _row(actor: Actor, move: Move, home: Household, head: str | None, size: int) -> MoveRow:
    offered = move.status is MoveStatus.PROPOSED and move.begun_by is MoveSide.RELEASING
    told = offered or regions.reaches(actor, home.region_code)
    return MoveRow(
        id=move.id, household_id=move.household_id, household_number=home.number if told else None,
        head=mask_name(head) if told and head else None, whole=not move.members,
        persons=len(move.members) or (size if told else None), from_region_code=move.from_region_code,
        from_region_name=move.from_region_name, to_region_code=move.to_region_code,
        to_region_name=move.to_region_name, to_household_id=move.to_household_id, moved_on=move.moved_on,
        status=move.status, begun_by=move.begun_by, reason=move.reason, version=move.version,
        created_at=move.created_at, decided_at=move.decided_at,
    )  # fmt: skip


async def view(db: AsyncSession, actor: Actor, move: Move) -> MoveRow:
    """One that the actor has reached already."""
    return _row(actor, *(await db.execute(_moves(actor).where(Move.id == move.id))).one())


async def listing(
    db: AsyncSession, actor: Actor, *, status: MoveStatus | None, before: uuid.UUID | None, limit: int
) -> list[MoveRow]:
    """From and to the worker's villages, newest first."""
    query = _moves(actor).where(visible(actor, Move))
    if status is not None:
        query = query.where(Move.status == status)
    query = newest_first(query, Move.created_at, Move.id, before, limit)
    return [_row(actor, *row) for row in await db.execute(query)]


@dataclass(frozen=True, slots=True)
class PersonAway:
    """Nothing but that somebody is registered here and lives there: the masked name, the village of registration,
    the county of residence."""

    id: uuid.UUID
    name: str
    hukou_region_code: str
    hukou_region_name: str
    county_code: str
    county_name: str | None


async def people_away(
    db: AsyncSession, actor: Actor, *, after: tuple[str, uuid.UUID] | None, limit: int
) -> list[PersonAway]:
    """Registered (hukou) within the worker's region, living in a household of this association in another county.
    They are counted there, and only there."""
    hukou, county = aliased(Region), aliased(Region)
    county_code = func.rpad(func.left(Person.region_code, SIX), 12, "0")
    query = (
        select(Person.id, Person.name, Person.hukou_region_code, hukou.name, county_code, county.name)
        .join(hukou, hukou.code == Person.hukou_region_code)
        .outerjoin(county, county.code == county_code)
        .where(
            within(Person.hukou_region_code, actor.region_code),  # type: ignore[arg-type]
            unrestricted(actor),
            func.left(Person.region_code, SIX) != func.left(Person.hukou_region_code, SIX),
        )
        .order_by(Person.hukou_region_code, Person.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(Person.hukou_region_code, Person.id) > func.row(*after))
    return [PersonAway(id, mask_name(name), *others) for id, name, *others in await db.execute(query)]
