"""Whom to ask about somebody registered elsewhere: an office, never who it is."""

import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import lies_in
from app.errors import Place, place
from app.models.households import Household, Membership
from app.models.regions import COUNTY, TOWN, Region


async def names(db: AsyncSession, codes: Iterable[str]) -> dict[str, str]:
    """The office of each region, county and town: 兴庆区凤凰北街街道."""
    here, town, county = aliased(Region), aliased(Region), aliased(Region)
    query = (
        select(here.code, here.level, here.name, town.name, town.level, county.name)
        .outerjoin(town, town.code == here.parent_code)
        .outerjoin(county, county.code == town.parent_code)
        .where(here.code.in_(set(codes)))
    )
    found = {}
    for code, level, name, parent, parent_level, grandparent in await db.execute(query):
        if level > TOWN:
            found[code] = f"{grandparent if parent_level > COUNTY else ''}{parent}"
        else:
            found[code] = f"{parent}{name}" if level == TOWN else name
    return found


async def of(db: AsyncSession, people: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The office that keeps each of these people: of the household that they belong to, or did last."""
    query = (
        select(Membership.person_id, Household.region_code)
        .join(Household, Household.id == Membership.household_id)
        .where(Membership.person_id.in_(list(people)))
        .order_by(Membership.person_id, Membership.valid_to.desc().nulls_first(), Membership.id.desc())
        .ext(distinct_on(Membership.person_id))
    )
    regions = dict((await db.execute(query)).all())
    named = await names(db, regions.values())
    return {person: named[region] for person, region in regions.items()}


async def whom_to_ask(db: AsyncSession, at: dict[uuid.UUID, str], zh: str, en: str) -> list[Place]:
    """What is wrong at each place, and the office that keeps the person whom it is about: to somebody who has the
    document in hand."""
    found = await of(db, at)
    ask = {id: (f"，请联系{office}", f": ask {office}") for id, office in found.items()}
    told = {id: ask.get(id, ("", "")) for id in at}
    return [place(pointer, zh + told[id][0], en + told[id][1]) for id, pointer in at.items()]


def common(one: str, other: str) -> str:
    """The smallest division in which both lie, by code; that of the whole country has only zeros."""
    for length in (12, 9, 6, 4, 2):
        code = one[:length].ljust(12, "0")
        if lies_in(other, code):
            return code
    return "0" * 12
