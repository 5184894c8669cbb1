"""Every row of every table, to see what an action has changed."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Base

Rows = dict[str, dict[str, Any]]


async def everything(session: AsyncSession, *, but: frozenset[str] = frozenset()) -> Rows:
    """By "table key", as the database has it, without counters of versions. `but` names tables left out."""
    await session.flush()
    found: Rows = {}
    for name, table in Base.metadata.tables.items():
        if name in but | {"region"}:
            continue
        for row in await session.execute(select(table)):
            key = " ".join(str(row._mapping[column.name]) for column in table.primary_key)
            found[f"{name} {key}"] = {
                column: value for column, value in row._mapping.items() if column != "version"
            }
    return found


def difference(before: Rows, after: Rows) -> dict[str, Any]:
    """Which places differ, with both values; a row that one lacks is a difference."""
    places: dict[str, Any] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key, {}), after.get(key, {})
        for column in old.keys() | new.keys():
            if old.get(column) != new.get(column):
                places[f"{key} {column}"] = old.get(column), new.get(column)
    return places
