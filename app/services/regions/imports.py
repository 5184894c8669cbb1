"""Villages and communities from the statistics bureau's table (统计用区划代码和城乡划分代码)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Text, any_, literal, select, text, union, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, region_bounds
from app.db import Base, new_id
from app.models.regions import VILLAGE, Region, RegionSuccession, SuccessionKind
from app.services import audit
from app.services.regions.files import (
    CODE,
    DIGITS,
    LONGEST_NAME,
    Complaints,
    Line,
    above,
    level_of,
    read,
)
from app.services.regions.following import SERVING
from app.services.regions.reading import RegionOutsideOwn, reaches
from app.settings import settings

COLUMNS = {
    "code": (
        "统计用区划代码", "代码", "区划代码", "行政区划代码", "统计用区划代码（12位）", "region_code", "regioncode",
    ),
    "name": ("名称", "区划名称", "行政区划名称", "单位名称", "村（居）委会名称", "region_name"),
    "class": ("城乡分类代码", "城乡分类", "城乡划分代码", "type", "classcode"),
    "parent": ("上级代码", "上级区划代码", "父级代码", "parent_code", "parentcode", "streetcode"),
}  # fmt: skip
CLASS = re.compile("[12][0-9]{2}")
# Entries that stand for no division (市辖区, 省直辖县级行政区划): what they hold lies directly below the next above.
PSEUDO = {"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"}
CHUNK = 5000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Known:
    level: int
    parent_code: str | None
    name: str
    ended: bool
    ministry: bool


@dataclass(frozen=True, slots=True)
class Change:
    code: str
    name: str
    old_name: str | None = None


@dataclass
class Plan:
    """What a file changes. `skipped`: entries that are no divisions of their own."""

    added: list[Change] = field(default_factory=list)
    renamed: list[Change] = field(default_factory=list)
    ended: list[Change] = field(default_factory=list)
    unchanged: int = 0
    skipped: int = 0
    parents: dict[str, str] = field(default_factory=dict)


async def load_villages(
    db: AsyncSession, actor: Actor, data: bytes, *, as_of: date | None = None, dry_run: bool,
    progress: Progress | None = None,
) -> Plan:  # fmt: skip
    """All of the file or nothing. It is complete for every town whose villages it lists: a village of such a town
    that is missing in it ends, which is refused while anybody lives or works there (state its successor first).
    Every line lies within the administrator's region. Names of towns and above stay the Ministry's. Loading the same
    file again changes nothing."""
    lines = read(data, COLUMNS, ("code", "name"))
    # One import or change of boundaries at a time.
    await db.execute(text("LOCK TABLE region IN SHARE ROW EXCLUSIVE MODE"))
    known, complaints = await _known(db), Complaints()
    rows = _checked(actor, lines, known, complaints)
    plan = _plan(rows, known, complaints)
    await _require_unused(db, [change.code for change in plan.ended], complaints)
    await _require_not_pending(db, rows, plan, complaints)
    complaints.settle()
    if not dry_run:
        await _write(db, plan, as_of or clock.today(), progress)
        await audit.record(db, actor, "import", "region")
    return plan


def province() -> str:
    return settings().region_code[:2].ljust(12, "0")


async def _known(db: AsyncSession) -> dict[str, Known]:
    """The divisions of the association's province."""
    query = select(
        Region.code, Region.level, Region.parent_code, Region.name, Region.valid_to, Region.source
    ).where(Region.code.between(*region_bounds(province())))
    return {
        row.code: Known(
            row.level, row.parent_code, row.name, row.valid_to is not None, row.source.startswith("MCA ")
        )
        for row in await db.execute(query)
    }


def _checked(
    actor: Actor, lines: list[Line], known: dict[str, Known], complaints: Complaints
) -> dict[str, Line]:
    """The lines by code that are right in themselves."""
    rows: dict[str, Line] = {}
    for line in lines:
        wrong = _wrong(line, known)
        code = line.cells["code"]
        if not wrong and not reaches(actor, code):
            wrong = RegionOutsideOwn.zh, RegionOutsideOwn.en
        if not wrong and code in rows:
            first = rows[code].number
            wrong = f"代码与第 {first} 行重复", f"the code stands in line {first} already"
        if wrong:
            complaints.at(line.number, *wrong)
        else:
            rows[code] = line
    return rows


def _wrong(line: Line, known: dict[str, Known]) -> tuple[str, str] | None:
    code, name = line.cells["code"], line.cells["name"]
    if not CODE.fullmatch(code):
        return (
            "代码应为 12 位数字（请将该列设为文本格式）",
            "a code has 12 digits (format the column as text)",
        )
    if not code.startswith(province()[:2]):
        return "不属于本会所在省份", "not of the association's own province"
    if not name or len(name) > LONGEST_NAME:
        return f"名称应为 1 至 {LONGEST_NAME} 个字符", f"a name has 1 to {LONGEST_NAME} characters"
    if line.cells.get("class") and not CLASS.fullmatch(line.cells["class"]):
        return "城乡分类代码应为 3 位数字", "the urban-rural class has 3 digits"
    if code in known and known[code].ended and level_of(code) < VILLAGE:
        return "该代码已停用", "this division has ended"
    return None


def _plan(rows: dict[str, Line], known: dict[str, Known], complaints: Complaints) -> Plan:
    plan = Plan()
    pseudo = {code for code, line in rows.items() if code not in known and line.cells["name"] in PSEUDO}
    plan.skipped = len(pseudo)
    current = {code for code, one in known.items() if not one.ended} | (rows.keys() - pseudo)
    for code, line in rows.items():
        if code in pseudo:
            continue
        parent = _parent(line, known, current, pseudo, complaints)
        if parent is not None:
            plan.parents[code] = parent
            _compare(plan, code, line.cells["name"], known.get(code))
    towns = {parent for code, parent in plan.parents.items() if level_of(code) == VILLAGE}
    plan.ended = [
        Change(code, one.name)
        for code, one in known.items()
        if one.level == VILLAGE and not one.ended and one.parent_code in towns and code not in rows
    ]
    return plan


def _compare(plan: Plan, code: str, name: str, before: Known | None) -> None:
    if before is None or before.ended:
        plan.added.append(Change(code, name))
    elif before.name != name and not before.ministry:
        plan.renamed.append(Change(code, name, before.name))
    else:
        plan.unchanged += 1


def _parent(
    line: Line, known: dict[str, Known], current: set[str], pseudo: set[str], complaints: Complaints
) -> str | None:
    """The nearest division above; a stated parent must be that one."""
    code, stated = line.cells["code"], line.cells.get("parent", "")
    if stated.isascii() and stated.isdigit() and len(stated) in DIGITS:
        stated = stated.ljust(12, "0")
    chain = [one for one in above(code) if one not in pseudo]
    if stated == code or (stated and code in above(stated)):
        complaints.at(line.number, "上级代码形成循环", "the stated parent is the division itself or below it")
    elif stated and stated not in pseudo and stated not in chain:
        complaints.at(line.number, "上级代码与代码不符", "the stated parent does not agree with the code")
    elif level_of(code) == 1:
        return known[code].parent_code if code in known else None
    else:
        nearest = next((one for one in chain if one in current), None)
        # A level may be skipped only where the file says so, or the register has it so.
        expected = stated if stated in chain else chain[0]
        if code in known and not known[code].ended:
            expected = known[code].parent_code or expected
        if nearest == expected:
            return nearest
        complaints.at(
            line.number, f"上级 {expected} 不存在或不是最近的上级", f"{expected} is not there, or not the nearest above"
        )  # fmt: skip
    return None


def _among(column: Any, codes: list[str]) -> ColumnElement[bool]:
    """As one array: a list of parameters has an end."""
    return column == any_(literal(codes, ARRAY(Text)))  # type: ignore[no-any-return]


async def _require_unused(db: AsyncSession, codes: list[str], complaints: Complaints) -> None:
    if not codes:
        return
    columns = [Base.metadata.tables[name].c.region_code for name in SERVING]
    query = union(*(select(column).where(_among(column, codes)) for column in columns))
    for code in sorted(await db.scalars(query)):
        complaints.at(
            1, f"{code} 不在文件中，但仍有家庭、人员或机构登记在该区划：请先提交区划调整对照",
            f"{code} is missing in the file and still in use: state its successor first",
        )  # fmt: skip


async def _require_not_pending(
    db: AsyncSession, rows: dict[str, Line], plan: Plan, complaints: Complaints
) -> None:
    """What a change of boundaries takes up is not ended beside it, and what one has ended does not begin again."""
    ended = {change.code for change in plan.ended}
    for row in await db.scalars(
        select(RegionSuccession).where(RegionSuccession.kind != SuccessionKind.RENAMED)
    ):
        if row.applied_at is None and ended & {row.old_code, row.new_code}:
            complaints.at(
                1,
                f"{row.old_code} 有待生效的区划调整",
                f"a change of {row.old_code} is waiting to take effect",
            )
        elif row.applied_at is not None and row.old_code in rows:
            complaints.at(
                rows[row.old_code].number, f"该代码已停用，由 {row.new_code} 接替",
                f"this division has ended; {row.new_code} took its place",
            )  # fmt: skip


async def _write(db: AsyncSession, plan: Plan, as_of: date, progress: Progress | None) -> None:
    source = f"NBS {as_of}"
    # From the top: a division refers to the one above.
    added = sorted(plan.added, key=lambda change: level_of(change.code))
    for start in range(0, len(added), CHUNK):
        rows: list[dict[str, Any]] = [
            {
                "code": change.code, "level": level_of(change.code), "parent_code": plan.parents[change.code],
                "name": change.name, "valid_from": as_of, "valid_to": None, "source": source,
            }
            for change in added[start : start + CHUNK]
        ]  # fmt: skip
        statement = insert(Region)
        again = {name: statement.excluded[name] for name in ("name", "valid_to", "source")}
        await db.execute(statement.on_conflict_do_update(index_elements=["code"], set_=again), rows)
        if progress is not None:
            progress(start + len(rows), len(added))
    await _rename(db, plan.renamed, as_of, source)
    ended = [change.code for change in plan.ended]
    await db.execute(update(Region).where(_among(Region.code, ended)).values(valid_to=as_of))


async def _rename(db: AsyncSession, renamed: list[Change], as_of: date, source: str) -> None:
    rows = [
        {
            "id": new_id(), "kind": SuccessionKind.RENAMED, "old_code": change.code, "new_code": change.code,
            "old_name": change.old_name, "new_name": change.name, "effective_on": as_of, "source": source,
            "applied_at": clock.now(), "created_at": clock.now(),
        }
        for change in renamed
    ]  # fmt: skip
    if rows:
        await db.execute(update(Region), [{"code": change.code, "name": change.name} for change in renamed])
        await db.execute(insert(RegionSuccession), rows)
