"""How many people, households and categories each region has. Everybody is counted once, where they live.

Figures are made anew for all regions at once, as of one moment, so that those of the regions below sum to those of
the region. Those registered in a county and living in another are shown apart and never added to its people.
Those whose data are restricted are counted too: a figure is about nobody."""

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    Select,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor
from app.models.households import Category, Household, HouseholdStatus, Person
from app.models.regions import Region
from app.models.search import RegionStatistic
from app.services import queue, regions
from app.services.search.people import migrant

JOB = "recompute_statistics"
#: Inclusive ages; those of the services: 0–6 and 7–14 insured apart, 15–49 of child-bearing age.
BANDS = ((0, 6), (7, 14), (15, 49), (50, 59), (60, 69), (70, 79), (80, None))
AT_LONGEST = timedelta(minutes=10)
ONLY_ONE = 7_301_664_015  # advisory lock


async def request(db: AsyncSession) -> None:
    """Make the figures anew soon: after an import, or when much has changed."""
    await queue.enqueue(db, JOB, {}, once=JOB)


async def recompute(db: AsyncSession) -> bool:
    """Count everything once and sum it upwards along parents; levels are skipped in places. False: another is at it."""
    if not await db.scalar(select(func.pg_try_advisory_xact_lock(ONLY_ONE))):
        return False
    await db.execute(text(f"SET LOCAL statement_timeout = '{int(AT_LONGEST.total_seconds())}s'"))
    found = union_all(*_people(), *_households(), *_categories()).cte("found")
    total = _summed(found).cte("total")
    figures = func.jsonb_object_agg(total.c.measure, total.c.value)
    rows = select(total.c.region_code, figures, literal(clock.now())).group_by(total.c.region_code)
    await db.execute(delete(RegionStatistic))
    columns = ["region_code", "figures", "as_of"]
    await db.execute(insert(RegionStatistic).from_select(columns, rows))
    return True


def band(ages: tuple[int, int | None]) -> str:
    return f"{ages[0]}-{ages[1]}" if ages[1] is not None else f"{ages[0]}+"


def _people() -> list[Select[Any]]:
    """One pass over all people. `hukou`: where those are registered who live in another county."""
    born_by = [(Person.birth_date <= clock.years_ago(ages[0]), band(ages)) for ages in reversed(BANDS)]
    away = case((migrant(), Person.hukou_region_code))
    keys = (Person.region_code, away, Person.sex, case(*born_by, else_=band(BANDS[0])))
    names = ("region_code", "hukou", "sex", "band")
    columns: list[Any] = [key.label(name) for key, name in zip(keys, names, strict=True)]
    query: Select[Any] = select(*columns, func.count().label("value"))
    alive = and_(Person.region_code.is_not(None), Person.died_on.is_(None))
    people = query.where(alive).group_by(*keys).cte("people")
    sex = cast(people.c.sex, Text)
    by_age = func.concat("people.", sex, ".", people.c.band)
    return [
        select(people.c.region_code, measure.label("measure"), people.c.value)
        for measure in (literal("people"), func.concat("people.", sex), by_age)
    ] + [
        select(region, literal(measure).label("measure"), people.c.value).where(people.c.hukou.is_not(None))
        for region, measure in (
            (people.c.region_code, "migrants_in"),
            (people.c.hukou, "registered_here_living_elsewhere"),
        )
    ]


def _households() -> list[Select[Any]]:
    """By status, but for the drafts of residents; the active by type."""
    keys = (Household.region_code, Household.status, Household.family_type)
    query = select(*keys, func.count().label("value")).where(Household.status != HouseholdStatus.DRAFT)
    homes = query.group_by(*keys).cte("homes")
    active = homes.c.status == HouseholdStatus.ACTIVE
    kind = func.coalesce(cast(homes.c.family_type, Text), "unknown")
    status = func.concat("households.status.", cast(homes.c.status, Text))
    return [
        select(homes.c.region_code, status.label("measure"), homes.c.value),
        select(homes.c.region_code, literal("households"), homes.c.value).where(active),
        select(homes.c.region_code, func.concat("households.type.", kind), homes.c.value).where(active),
    ]


def _categories() -> list[Any]:
    """Holders of a category now, each once: people where they are counted, active households."""
    current = Category.valid_to.is_(None)
    measure = func.concat("category.", Category.code).label("measure")
    number = func.count(func.distinct(Person.id)).label("value")
    of_people = select(Person.region_code, measure, number).join(Category, Category.person_id == Person.id)
    homes = func.count(func.distinct(Household.id)).label("value")
    of_homes = select(Household.region_code, measure, homes).join(
        Category, Category.household_id == Household.id
    )
    alive = and_(Person.region_code.is_not(None), Person.died_on.is_(None))
    return [
        of_people.where(current, alive).group_by(Person.region_code, Category.code),
        of_homes.where(current, Household.status == HouseholdStatus.ACTIVE).group_by(
            Household.region_code, Category.code
        ),
    ]


def _summed(found: CTE) -> Select[Any]:
    """Every region's own and those of all below it. UNION ends even where parents go in a circle."""
    leaves = select(found.c.region_code.label("leaf"), found.c.region_code.label("above")).distinct()
    way = leaves.cte("way", recursive=True)
    up = aliased(Region)
    one_more = select(way.c.leaf, up.parent_code).join(up, up.code == way.c.above)
    way = way.union(one_more.where(up.parent_code.is_not(None)))
    total = select(way.c.above.label("region_code"), found.c.measure, func.sum(found.c.value).label("value"))
    return total.join(found, found.c.region_code == way.c.leaf).group_by(way.c.above, found.c.measure)


async def of_region(db: AsyncSession, actor: Actor, region_code: str) -> list[dict[str, Any]]:
    """The figures of a region of one's own and of those directly below it, the region itself first."""
    await regions.require_own_region(db, actor, region_code)
    below = and_(
        Region.parent_code == region_code,
        or_(Region.valid_to.is_(None), RegionStatistic.region_code.is_not(None)),
    )
    query = (
        select(Region.code, Region.name, Region.level, RegionStatistic)
        .outerjoin(RegionStatistic, RegionStatistic.region_code == Region.code)
        .where(or_(Region.code == region_code, below))
        .order_by(Region.code != region_code, Region.code)
    )
    return [
        {
            "region_code": code, "region_name": name, "level": level,
            "figures": row.figures if row else {}, "as_of": row.as_of if row else None,
        }
        for code, name, level, row in await db.execute(query)
    ]  # fmt: skip
