"""What a search for people and one for households have in common."""

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid
from app.models.households import CategoryDefinition, FamilyType, Household, HouseholdStatus
from app.services import regions
from app.services.plain import Body, Line, RegionCode, Text

COUNTED_EXACTLY = 1000
LocalNumber = Annotated[str, Text(40)]


class SharedCriteria(Body):
    """All that is given must hold."""

    region_code: Annotated[RegionCode | None, Field(description="Narrower than the own region")] = None
    local_number: Annotated[
        LocalNumber | None, Field(description="The village's own number of the household")
    ] = None
    category: Annotated[Line | None, Field(description="Code of a category held now")] = None
    family_type: FamilyType | None = None


async def prepare(db: AsyncSession, actor: Actor, criteria: SharedCriteria) -> str | None:
    """Whether the region lies within the actor's and the category exists. Returns who holds such a category. Each
    search is planned for what it looks for: 王 is everywhere, 麴 is nowhere."""
    await db.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    if criteria.region_code is not None:
        await regions.require_own_region(db, actor, criteria.region_code)
    if criteria.category is None:
        return None
    holder = await db.scalar(
        select(CategoryDefinition.holder).where(CategoryDefinition.code == criteria.category)
    )
    if holder is None:
        raise Invalid.at("/category", "没有这个类别", "no such category")
    return holder


async def count(db: AsyncSession, found: Select[Any]) -> dict[str, Any]:
    """How many, exactly up to a thousand: counting more would read them all."""
    # Of so few the planner would rather read a table from its beginning until it has met them: on a disk without
    # moving parts looking each of them up costs a fraction.
    await db.execute(text("SET LOCAL random_page_cost = 1.1"))
    some = found.order_by(None).limit(COUNTED_EXACTLY + 1).subquery()
    number = await db.scalar(select(func.count()).select_from(some)) or 0
    return {"count": min(number, COUNTED_EXACTLY), "more": number > COUNTED_EXACTLY}


def numbered(local_number: str) -> list[ColumnElement[bool]]:
    """A village gives a number to one active household at a time."""
    return [Household.local_number == local_number, Household.status == HouseholdStatus.ACTIVE]


def prefixed(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Begins with. A range, which an index answers whatever the plan; LIKE needs the pattern when planning."""
    return (column >= prefix) & (column < prefix + "\U0010ffff")
