"""What hinders a change of boundaries: each rule with its place and its reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.regions import COUNTY, Region, RegionSuccession, SuccessionKind
from app.services.plain import Body, Day, RegionCode, Text, example
from app.services.regions.files import LONGEST_NAME, above, level_of
from app.services.regions.imports import province
from app.settings import settings


class NewSuccession(Body):
    model_config = example(
        kind="moved",
        old_code="640104001000",
        new_code="640104099000",
        new_name="凤凰街街道",
        effective_on="2027-01-01",
        source="银政发〔2026〕1号",
    )

    kind: SuccessionKind
    old_code: RegionCode
    new_code: Annotated[
        RegionCode, Field(description="The same code if only the name changes; a part of a split is one of several")
    ]  # fmt: skip
    new_name: Annotated[
        Annotated[str, Text(LONGEST_NAME)] | None, Field(description="For a new name or a new division")
    ] = None
    effective_on: Day
    source: Annotated[str, Text(200)]


Why = tuple[str, str]


@dataclass
class Scene:
    """The divisions that changes name, and what else is under way."""

    regions: dict[str, Region]
    waiting: Sequence[RegionSuccession]
    stated: list[NewSuccession]
    children: dict[str, list[str]] = field(default_factory=dict)

    def under_way(self) -> list[NewSuccession | RegionSuccession]:
        changes: list[NewSuccession | RegionSuccession] = [*self.stated]
        changes += [row for row in self.waiting if row.applied_at is None]
        return [change for change in changes if change.kind is not SuccessionKind.RENAMED]

    def current(self, code: str) -> bool:
        return code in self.regions and self.regions[code].valid_to is None


async def scene_of(db: AsyncSession, stated: list[NewSuccession]) -> Scene:
    codes = {code for new in stated for code in (new.old_code, new.new_code)}
    named = codes | {code for one in codes for code in above(one)}
    regions = {row.code: row for row in await db.scalars(select(Region).where(Region.code.in_(named)))}
    applied_splits = RegionSuccession.kind == SuccessionKind.SPLIT
    of_interest = or_(
        RegionSuccession.applied_at.is_(None), applied_splits & RegionSuccession.old_code.in_(codes)
    )
    waiting = list(await db.scalars(select(RegionSuccession).where(of_interest)))
    children: dict[str, list[str]] = defaultdict(list)
    old = {new.old_code for new in stated}
    below = select(Region.parent_code, Region.code).where(
        Region.parent_code.in_(old), Region.valid_to.is_(None)
    )
    for parent, code in await db.execute(below):
        children[parent or ""].append(code)
    return Scene(regions, waiting, stated, children)


def wrong_with(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    """The first thing that is wrong with a change, and where."""
    for check in (_wrong_old, _wrong_kind, _wrong_new, _wrong_order, _wrong_children):
        if wrong := check(new, scene):
            return wrong
    return None


def _wrong_old(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    code = new.old_code
    if not code.startswith(province()[:2]) or level_of(code) < COUNTY or code == settings().region_code:
        return "/old_code", (
            "只能调整本省县级以下的区划",
            "only counties, towns, villages of the own province change",
        )
    split_further = new.kind is SuccessionKind.SPLIT and any(
        one.old_code == code and one.kind is SuccessionKind.SPLIT and one.effective_on == new.effective_on
        for one in scene.waiting
    )
    if not scene.current(code) and not split_further:
        return "/old_code", ("没有这个行政区划，或已停用", "not a current division")
    return None


def _wrong_kind(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    if (new.kind is SuccessionKind.RENAMED) != (new.old_code == new.new_code):
        return "/kind", (
            "仅更名时代码不变；其他调整须有新代码",
            "a new name keeps the code; any other change has a new one",
        )
    if new.kind is SuccessionKind.RENAMED:
        if new.new_name in {None, scene.regions[new.old_code].name}:
            return "/new_name", ("请填写新名称", "state the new name")
        return None
    same = [one for one in scene.under_way() if one.old_code == new.old_code and one is not new]
    if any(one.kind is not SuccessionKind.SPLIT or new.kind is not SuccessionKind.SPLIT for one in same):
        return "/old_code", (
            "该区划已有接替关系；拆为几个请都用“拆分”",
            "its successor is stated already; for several use split",
        )
    return None


def _wrong_new(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    code = new.new_code
    if new.kind is SuccessionKind.RENAMED:
        return None
    if code[:2] != province()[:2] or level_of(code) != level_of(new.old_code):
        return "/new_code", ("须与原区划同省同级", "must be of the same province and level")
    return _wrong_existing(new, scene) if code in scene.regions else _wrong_beginning(new, scene)


def _wrong_existing(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    if not scene.current(new.new_code):
        return "/new_code", ("新区划已停用", "the new division has ended")
    if new.kind is SuccessionKind.MOVED:
        return "/kind", (
            "新代码已有区划，应为“合并”",
            "the new code is a division already: that is a merger",
        )
    if new.new_name not in {None, scene.regions[new.new_code].name}:
        return "/new_name", (
            "新区划现名不同；更名请另行提交",
            "it has another name; state a new name as its own change",
        )
    return None


def _wrong_beginning(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    """A division that begins with the change. A county may lie directly below the province."""
    begins = {one.new_code for one in scene.under_way()}
    nearest = above(new.new_code)[0]
    if level_of(new.new_code) > COUNTY and not (scene.current(nearest) or nearest in begins):
        return "/new_code", ("上级区划不存在", "the division above is not there")
    if new.new_name is None:
        return "/new_name", ("新设区划须填写名称", "a new division needs its name")
    return None


def _wrong_order(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    """A chain (A to B to C) or a circle has no one order in which it could take effect."""
    others = [one for one in scene.under_way() if one is not new and one.old_code != new.old_code]
    if new.kind is SuccessionKind.RENAMED:
        return None
    if any(one.old_code == new.new_code for one in others):
        return "/new_code", (
            "新区划本身也在调整中：请直接写最终代码",
            "the new division is to change too: state the final code",
        )
    if any(one.new_code == new.old_code for one in others):
        return "/old_code", ("该区划是另一待生效调整的新区划", "it is the new division of a change under way")
    if any(above(new.new_code)[:1] == [one.old_code] for one in others):
        return "/new_code", ("其上级区划将停用", "the division above it is to end")
    return None


def _wrong_children(new: NewSuccession, scene: Scene) -> tuple[str, Why] | None:
    if new.kind is SuccessionKind.RENAMED:
        return None
    ending = {one.old_code for one in scene.under_way() if one.effective_on <= new.effective_on}
    if any(code not in ending for code in scene.children.get(new.old_code, [])):
        return "/old_code", ("下级区划须一并调整", "the divisions below it must change with it, or before")
    return None
