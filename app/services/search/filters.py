"""Searches that a worker makes often, kept under a name."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict
from app.models.search import SavedFilter
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.search import matching
from app.services.search.households import HouseholdCriteria
from app.services.search.people import PeopleCriteria

MOST = 200
Criteria = Annotated[PeopleCriteria | HouseholdCriteria, Field(discriminator="kind")]
_criteria: TypeAdapter[PeopleCriteria | HouseholdCriteria] = TypeAdapter(Criteria)


class FilterNameTaken(Conflict, constraint="uq_saved_filter_created_by_name"):
    zh, en = "您已有同名的常用查询", "You have a saved filter of this name"
    do_zh, do_en = "请换一个名称，或修改原有的查询", "Choose another name, or change that one"


class TooManyFilters(Conflict):
    zh, en = "常用查询已达上限", "There are too many saved filters"
    do_zh, do_en = "请先删除不再使用的查询", "Delete those you no longer use"


def written(criteria: PeopleCriteria | HouseholdCriteria) -> str:
    """Only what is sought: a criterion that ceases to exist breaks those who used it, and nobody else."""
    return criteria.model_dump_json(exclude_none=True)


def read(stored: str) -> PeopleCriteria | HouseholdCriteria:
    return _criteria.validate_json(stored)


async def save(
    db: AsyncSession, actor: Actor, *, key: Key, name: str, criteria: PeopleCriteria | HouseholdCriteria
) -> dict[str, Any]:
    if await idempotency.claim(db, actor, key):
        own = select(SavedFilter.id).where(SavedFilter.created_by == actor.account_id)
        if len((await db.scalars(own.limit(MOST))).all()) >= MOST:
            raise TooManyFilters
        await matching.prepare(db, actor, criteria)
        row = SavedFilter(id=key.id, created_by=actor.account_id, name=name, created_at=clock.now())
        row.criteria = written(criteria)
        db.add(row)
        await audit.record(db, actor, "save", "saved_filter", row.id)
    return _view(await fetch(db, actor, SavedFilter, key.id))


async def change(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, name: str,
    criteria: PeopleCriteria | HouseholdCriteria,
) -> dict[str, Any]:  # fmt: skip
    row = await fetch_version(db, actor, SavedFilter, id, version)
    await matching.prepare(db, actor, criteria)
    row.name, row.criteria = name, written(criteria)
    await db.flush()  # the new version is shown
    await audit.record(db, actor, "change", "saved_filter", id)
    return _view(row)


async def delete(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> None:
    """A filter is nobody's history: it goes."""
    await db.delete(await fetch(db, actor, SavedFilter, id, lock=True))
    await audit.record(db, actor, "delete", "saved_filter", id)


async def listing(
    db: AsyncSession, actor: Actor, *, before: tuple[datetime, uuid.UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """One's own, the newest first: not by name, which may be somebody's, and cursors travel in addresses. The cursor
    has the moment too: the last one shown may have been deleted since."""
    query = select(SavedFilter).where(visible(actor, SavedFilter))
    if before is not None:
        query = query.where(func.row(SavedFilter.created_at, SavedFilter.id) < func.row(*before))
    query = query.order_by(SavedFilter.created_at.desc(), SavedFilter.id.desc()).limit(limit)
    return [_view(row) for row in await db.scalars(query)]


def _view(row: SavedFilter) -> dict[str, Any]:
    try:
        criteria = read(row.criteria)
    except ValidationError:
        criteria = None  # of an earlier release
    return {
        "id": row.id, "name": row.name, "criteria": criteria, "version": row.version, "created_at": row.created_at,
    }  # fmt: skip
