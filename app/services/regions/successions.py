"""What takes a division's place, stated beforehand or afterwards: one change at a time, or an office's table."""

import uuid
from datetime import date

from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import new_id
from app.errors import Conflict, Invalid, WrongState, place
from app.models.regions import RegionSuccession, SuccessionKind
from app.services import audit, idempotency, queue
from app.services.idempotency import Key
from app.services.regions.checks import NewSuccession, Scene, scene_of, wrong_with
from app.services.regions.files import Complaints, read
from app.services.regions.following import JOB
from app.services.regions.reading import RegionOutsideOwn, reaches

KINDS = {
    "更名": SuccessionKind.RENAMED, "变更代码": SuccessionKind.MOVED, "划转": SuccessionKind.MOVED,
    "合并": SuccessionKind.MERGED, "拆分": SuccessionKind.SPLIT,
}  # fmt: skip
COLUMNS = {
    "old_code": ("原代码", "旧代码", "原区划代码"),
    "new_code": ("新代码", "现代码", "新区划代码"),
    "new_name": ("新名称", "现名称", "新区划名称"),
    "kind": ("类型", "调整类型", "变更类型"),
    "effective_on": ("生效日期", "调整日期"),
    "source": ("依据", "文号", "批准文号"),
}


class SuccessionStated(
    Conflict,
    constraint=(
        "uq_region_succession_old_code_new_code_effective_on",
        "uq_region_succession_old_code_whole",
    ),
):
    zh, en = "该区划已有接替关系", "What takes this division's place has been stated already"
    do_zh, do_en = "请查看已提交的区划调整", "Look at the changes stated so far"


async def record(db: AsyncSession, actor: Actor, *, key: Key, new: NewSuccession) -> RegionSuccession:
    """Takes effect on its day, by the job; at once when the day has come already. Both divisions lie within the
    administrator's region, here as in a table."""
    if not reaches(actor, new.old_code, new.new_code):
        raise RegionOutsideOwn
    if await idempotency.claim(db, actor, key):
        await _exclusively(db)
        scene = await scene_of(db, [new])
        if wrong := wrong_with(new, scene):
            raise Invalid(errors=[place(wrong[0], *wrong[1])])
        _add(db, new, scene, key.id)
        await db.flush()  # so that a second of its kind is refused here
        await audit.record(db, actor, "state", "region_succession", key.id)
        await _wake(db, [new])
    return await fetch(db, actor, RegionSuccession, key.id)


async def record_file(db: AsyncSession, actor: Actor, data: bytes, *, dry_run: bool) -> tuple[int, int]:
    """All of an office's table or nothing: how many changes are new, how many had been stated before."""
    lines, complaints = read(data, COLUMNS, ("old_code", "new_code", "kind", "effective_on")), Complaints()
    await _exclusively(db)
    stated: dict[tuple[str, str, date], tuple[int, NewSuccession]] = {}
    for line in lines:
        cells = {name: cell for name, cell in line.cells.items() if cell}
        cells["kind"] = KINDS.get(cells.get("kind", ""), cells.get("kind", ""))
        cells.setdefault("source", "区划调整对照表")
        try:
            new = NewSuccession.model_validate(cells)
        except ValidationError as error:
            columns = "、".join(COLUMNS[str(item["loc"][0])][0] for item in error.errors()[:6])
            complaints.at(
                line.number, f"以下各列缺失或格式有误：{columns}", "missing or not of the expected form"
            )
            continue
        if not reaches(actor, new.old_code, new.new_code):
            complaints.at(line.number, RegionOutsideOwn.zh, RegionOutsideOwn.en)
        stated.setdefault((new.old_code, new.new_code, new.effective_on), (line.number, new))
    fresh = await _fresh(db, stated)
    scene = await scene_of(db, [new for _, new in fresh])
    for number, new in fresh:
        if wrong := wrong_with(new, scene):
            complaints.at(number, *wrong[1])
    complaints.settle()
    if not dry_run:
        await _keep(db, actor, scene)
    return len(fresh), len(stated) - len(fresh)


async def _keep(db: AsyncSession, actor: Actor, scene: Scene) -> None:
    for new in scene.stated:
        id = new_id()
        _add(db, new, scene, id)
        await audit.record(db, actor, "state", "region_succession", id)
    await db.flush()  # so that a second of its kind is refused here
    await _wake(db, scene.stated)


async def take_back(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> None:
    """Stated by mistake, and not yet in effect."""
    row = await fetch(db, actor, RegionSuccession, id, lock=True)
    if row.applied_at is not None:
        raise WrongState(status_now="applied")
    await db.delete(row)
    await audit.record(db, actor, "take_back", "region_succession", id)


async def listing(
    db: AsyncSession, actor: Actor, *, waiting: bool | None, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[RegionSuccession]:
    """By the day on which they take effect."""
    query = select(RegionSuccession).where(visible(actor, RegionSuccession))
    if waiting is not None:
        query = query.where(RegionSuccession.applied_at.is_(None) == waiting)
    if after is not None:
        query = query.where(func.row(RegionSuccession.effective_on, RegionSuccession.id) > func.row(*after))
    query = query.order_by(RegionSuccession.effective_on, RegionSuccession.id).limit(limit)
    return list(await db.scalars(query))


async def _exclusively(db: AsyncSession) -> None:
    """One change of boundaries or import at a time: each is checked against the others."""
    await db.execute(text("LOCK TABLE region IN SHARE ROW EXCLUSIVE MODE"))


async def _wake(db: AsyncSession, stated: list[NewSuccession]) -> None:
    if any(new.effective_on <= clock.today() for new in stated):
        await queue.enqueue(db, JOB, {}, once=JOB)


def _add(db: AsyncSession, new: NewSuccession, scene: Scene, id: uuid.UUID) -> None:
    name = scene.regions[new.old_code].name
    db.add(RegionSuccession(id=id, old_name=name, created_at=clock.now(), **new.model_dump()))


async def _fresh(
    db: AsyncSession, stated: dict[tuple[str, str, date], tuple[int, NewSuccession]]
) -> list[tuple[int, NewSuccession]]:
    """Without those that were stated before: the same table may be sent again."""
    row = RegionSuccession
    known = select(row.old_code, row.new_code, row.effective_on).where(
        row.old_code.in_({key[0] for key in stated})
    )
    before = {tuple(found) for found in await db.execute(known)}
    return [one for key, one in stated.items() if key not in before]
