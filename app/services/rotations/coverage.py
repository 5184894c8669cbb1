"""How many of those planned have come: by year and by division. Few people are not shown to who may not see them."""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, Permission, fetch, lies_in, within
from app.models.rotations import Rotation, RotationTurn, TurnStatus
from app.services import regions
from app.services.small_numbers import SMALLEST, Key, few

UNPLACED = 0
Counted = tuple[str, int, str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """`share`: attended of planned. `by_status` only for those who may see who they are. Hidden figures are empty."""

    planned: int | None
    attended: int | None
    share: float | None
    by_status: dict[str, int] | None
    hidden: bool


HIDDEN = Figures(None, None, None, None, True)


@dataclass(frozen=True, slots=True)
class OfYear:
    """Without a year: no clinic had room."""

    year: int | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class OfRegion:
    region_code: str
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Coverage:
    region_code: str
    total: Figures
    years: list[OfYear]
    regions: list[OfRegion]


async def measure(db: AsyncSession, actor: Actor, *, id: uuid.UUID, region_code: str | None) -> Coverage:
    """Of a region of the rotation with everything below it; `regions` are those directly below. Whom the planning left
    out (died, moved away, no longer of the group) is counted nowhere."""
    rotation = await fetch(db, actor, Rotation, id)
    where = region_code or rotation.region_code
    await regions.require_own_region(db, actor, where)
    below = await regions.children(db, where)
    counted = await _counted(db, rotation, where)
    years: dict[int, Counter[str]] = {}
    for _, year, status, people in counted:
        years.setdefault(year, Counter())[status] += people
    places = _by_place(counted, [part.code for part in below], where)
    names = {part.code: part.name for part in below} | {where: (await regions.get(db, where)).name}
    detailed = actor.may(Permission.ROTATION_READ)
    total = sum(years.values(), Counter[str]())
    if not detailed and await _hidden_beside(db, rotation, where):
        return Coverage(where, HIDDEN, [], [])
    return Coverage(
        where, _figures({"": total}, detailed=detailed)[""],
        [OfYear(year or None, shown) for year, shown in sorted(_figures(years, detailed=detailed).items())],
        [OfRegion(code, names[code], shown) for code, shown in sorted(_figures(places, detailed=detailed).items())],
    )  # fmt: skip


async def _counted(db: AsyncSession, rotation: Rotation, region_code: str) -> list[Counted]:
    """The year of who came is that of the plan."""
    year = func.coalesce(cast(func.date_part("year", RotationTurn.month), BigInteger), UNPLACED)
    columns = RotationTurn.region_code, year, RotationTurn.status
    query = (
        select(*columns, func.count())
        .where(RotationTurn.rotation_id == rotation.id, within(RotationTurn.region_code, region_code))
        .where(RotationTurn.status != TurnStatus.DROPPED)
        .group_by(*columns)
    )
    return [(village, year, status.value, n) for village, year, status, n in await db.execute(query)]


def _by_place(counted: list[Counted], codes: list[str], where: str) -> dict[str, Counter[str]]:
    places: dict[str, Counter[str]] = {}
    for village, _, status, people in counted:
        places.setdefault(_within(codes, village) or where, Counter())[status] += people
    return places


async def _hidden_beside(db: AsyncSession, rotation: Rotation, where: str) -> bool:
    """Whether this division, or one around it, is hidden among its neighbours. Asked for alone it is hidden as well, or
    the difference would tell."""
    while lies_in(where, rotation.region_code) and where != rotation.region_code:
        around = (await regions.get(db, where)).parent_code
        if around is None:
            return False
        codes = [part.code for part in await regions.children(db, around)]
        beside = _figures(_by_place(await _counted(db, rotation, around), codes, around), detailed=False)
        if where in beside and beside[where].hidden:
            return True
        where = around
    return False


def _within(codes: list[str], village: str) -> str | None:
    return next((code for code in codes if lies_in(village, code)), None)


def _figures(counted: Mapping[Key, Counter[str]], *, detailed: bool) -> dict[Key, Figures]:
    if detailed:
        return {key: _shown(one, dict(one)) for key, one in counted.items()}
    too_few = few({key: one.total() for key, one in counted.items()})
    attended = {key: one[TurnStatus.ATTENDED.value] for key, one in counted.items() if key not in too_few}
    told = few({key: n for key, n in attended.items() if n}) | {
        key for key, n in attended.items() if n and 0 < counted[key].total() - n < SMALLEST
    }
    if len(told) == 1 and len(attended) > 1:  # or the difference to the sum would tell
        told.add(min(attended.keys() - told, key=lambda key: (attended[key], str(key))))
    return {
        key: HIDDEN if key in too_few
        else Figures(one.total(), None, None, None, True) if key in told
        else _shown(one, None)
        for key, one in counted.items()
    }  # fmt: skip


def _shown(one: Counter[str], by_status: dict[str, int] | None) -> Figures:
    planned, attended = one.total(), one[TurnStatus.ATTENDED.value]
    return Figures(planned, attended, round(attended / planned, 4) if planned else None, by_status, False)
