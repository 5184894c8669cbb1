"""Finding households of one's own region."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, Select, exists, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible, within
from app.crypto import mask_name
from app.models.households import Category, Household, HouseholdStatus, Membership, Person, Relation
from app.models.regions import Region
from app.services import audit
from app.services.plain import example
from app.services.search import matching
from app.services.search.matching import SharedCriteria

# As the index has it, so that no page is sorted.
KEY = (Household.region_code, Household.status, Household.id)


class HouseholdCriteria(SharedCriteria):
    model_config = example(kind="households", status="active", family_type="elderly")

    kind: Literal["households"] = "households"
    number: Annotated[int, Field(ge=1, le=2**53)] | None = None
    status: HouseholdStatus | None = None


async def search(
    db: AsyncSession,
    actor: Actor,
    criteria: HouseholdCriteria,
    *,
    after: tuple[str, str, uuid.UUID] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """A page of the households found, by village and status; the head's name masked."""
    found = await matches(db, actor, criteria, Household.id)
    if after is not None:
        found = found.where(tuple_(*KEY) > tuple_(*after))
    page = found.order_by(*KEY).limit(limit).subquery()
    query = (
        select(Household, Region.name, _head(actor))
        .join(page, page.c.id == Household.id)
        .outerjoin(Region, Region.code == Household.region_code)
        .order_by(*KEY)
    )
    rows = [_view(*row) for row in await db.execute(query)]
    await audit.record(db, actor, "search", "household")
    return rows


async def count(db: AsyncSession, actor: Actor, criteria: HouseholdCriteria) -> dict[str, Any]:
    number = await matching.count(db, await matches(db, actor, criteria, Household.id))
    await audit.record(db, actor, "count", "household")
    return number


async def matches(db: AsyncSession, actor: Actor, criteria: HouseholdCriteria, *columns: Any) -> Select[Any]:
    holder = await matching.prepare(db, actor, criteria)
    conditions = [visible(actor, Household)]
    if criteria.region_code is not None:
        conditions.append(within(Household.region_code, criteria.region_code))
    for column, wanted in (
        (Household.number, criteria.number),
        (Household.status, criteria.status),
        (Household.family_type, criteria.family_type),
    ):
        if wanted is not None:
            conditions.append(column == wanted)
    if criteria.local_number is not None:
        conditions += matching.numbered(criteria.local_number)
    if criteria.category is not None:
        conditions.append(_held(actor, criteria.category, holder))
    return select(*columns).select_from(Household).where(*conditions)


def _held(actor: Actor, code: str, holder: str | None) -> ColumnElement[bool]:
    """By the household, or by one of its members whom the actor sees."""
    held = exists().where(Category.code == code, Category.valid_to.is_(None))
    if holder == "household":
        return held.where(Category.household_id == Household.id)
    return held.where(
        Category.person_id == Person.id,
        visible(actor, Person),
        Membership.person_id == Person.id,
        Membership.household_id == Household.id,
        Membership.valid_to.is_(None),
    )


def _head(actor: Actor) -> Any:
    return (
        select(Person.name)
        .join(Membership, Membership.person_id == Person.id)
        .where(
            visible(actor, Person),
            Membership.household_id == Household.id,
            Membership.relation == Relation.HEAD,
            Membership.valid_to.is_(None),
        )
        .limit(1)
        .scalar_subquery()
    )


def _view(row: Household, region_name: str | None, head: str | None) -> dict[str, Any]:
    return {
        "id": row.id, "number": row.number, "local_number": row.local_number, "status": row.status,
        "region_code": row.region_code, "region_name": region_name, "family_type": row.family_type,
        "head": mask_name(head) if head else None, "version": row.version,
    }  # fmt: skip
