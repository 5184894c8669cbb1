"""Looking divisions up, and requiring that one is current and within reach."""

from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, lies_in
from app.errors import Forbidden, Invalid, NotFound, place
from app.models.identity import Role
from app.models.regions import Region, RegionSuccession, SuccessionKind


class RegionOutsideOwn(Forbidden):
    zh, en = "超出您的管辖区域", "Outside your own region"
    do_zh, do_en = "请选择本辖区内的行政区划", "Choose a division within your region"


async def children(db: AsyncSession, parent_code: str) -> list[Region]:
    """The divisions directly below. Levels are skipped in places: a prefecture may hold towns."""
    query = select(Region).where(Region.parent_code == parent_code, Region.valid_to.is_(None))
    return list(await db.scalars(query.order_by(Region.code)))


async def get(db: AsyncSession, code: str) -> Region:
    """Whether current or ended: an old paper names it."""
    region = await db.get(Region, code)
    if region is None:
        raise NotFound
    return region


async def successors(db: AsyncSession, code: str) -> list[str]:
    """What took the place of an ended division, in the order of the codes: several after a split."""
    query = select(RegionSuccession.new_code).where(
        RegionSuccession.old_code == code,
        RegionSuccession.kind != SuccessionKind.RENAMED,
        RegionSuccession.applied_at.is_not(None),
    )
    return list(await db.scalars(query.order_by(RegionSuccession.new_code)))


async def name_on(db: AsyncSession, code: str, day: date) -> str:
    """What a division was called on a day."""
    renamed_later = (
        select(RegionSuccession.old_name)
        .where(
            RegionSuccession.old_code == code,
            RegionSuccession.kind == SuccessionKind.RENAMED,
            RegionSuccession.applied_at.is_not(None),
            RegionSuccession.effective_on > day,
        )
        .order_by(RegionSuccession.effective_on, RegionSuccession.applied_at)
        .limit(1)
    )
    return await db.scalar(renamed_later) or (await get(db, code)).name


async def require(db: AsyncSession, codes: dict[str, str], *, lowest_level: int = 1) -> None:
    """Invalid at each pointer whose code is no current division of at least this level."""
    query = select(Region.code, Region.level).where(
        Region.code.in_(codes.values()), Region.valid_to.is_(None)
    )
    # The lock that a foreign key takes anyway, only earlier: no division ends between this look and the write.
    query = query.order_by(Region.code).with_for_update(read=True, key_share=True)
    levels = {row.code: row.level for row in await db.execute(query)}
    wrong = [pointer for pointer, code in codes.items() if levels.get(code, 0) < lowest_level]
    if wrong:
        why = "没有这个行政区划，或层级不够细", "not a current division, or not one of a town or village"
        raise Invalid(errors=[place(pointer, *why) for pointer in wrong])


def reaches(actor: Actor, *codes: str) -> bool:
    """Whether all of these are the actor's own region or lie below it."""
    if actor.role is Role.SYSTEM:
        return True
    return all(lies_in(code, actor.region_code) for code in codes)


async def require_own_region(db: AsyncSession, actor: Actor, region_code: str) -> None:
    """A current division, and the actor's own or one below it."""
    if not reaches(actor, region_code):
        raise RegionOutsideOwn
    await require(db, {"/region_code": region_code})
