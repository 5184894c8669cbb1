"""Changing rows with the old and the new value of each noted, and writing the old ones back."""

import json
import uuid
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Date, DateTime, LargeBinary, Table, Uuid, and_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Base
from app.services.households.belonging import plain

#: Each: table, key (the row's primary key), column, old, new.
Changes = list[dict[str, Any]]
#: In place of a sealed value or its index: it was filled where there was none, and is not told.
SEALED = "sealed"


def table(name: str) -> Table:
    return Base.metadata.tables[name]


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    return SEALED if isinstance(value, bytes) else plain(value)


def _typed(column: Any, value: Any) -> Any:
    """As the driver wants it. What is sealed opens only in its own row: it is filled and emptied, never moved."""
    if value is None:
        return None
    assert not isinstance(column.type, LargeBinary)
    for kind, read in ((Uuid, uuid.UUID), (DateTime, datetime.fromisoformat), (Date, date.fromisoformat)):
        if isinstance(column.type, kind):
            return read(value)
    return value


async def put(
    db: AsyncSession, changes: Changes, place: Table, condition: ColumnElement[bool], **values: Any
) -> None:
    """Set the values in every such row, and note what was there. The rows are locked in one order."""
    keys = list(place.primary_key)
    columns = [place.c[name] for name in values]
    held = select(*keys, *columns).where(condition).order_by(*keys).with_for_update()
    rows = (await db.execute(held)).all()
    for row in rows:
        at = {"table": place.name, "key": [_plain(part) for part in row[: len(keys)]]}
        for column, old in zip(columns, row[len(keys) :], strict=True):
            if old != values[column.name]:
                changes.append(
                    at | {"column": column.name, "old": _plain(old), "new": _plain(values[column.name])}
                )
    if rows:
        await db.execute(update(place).where(condition).values(values))


def dump(changes: Changes) -> str:
    return json.dumps(changes, ensure_ascii=False)


def load(text: str) -> Changes:
    changes: Changes = json.loads(text)
    return changes


def _rows(changes: Changes) -> list[tuple[Table, list[Any], dict[str, Any]]]:
    """What each row was left with: table, key, values; in one order, so that they are locked in one."""

    def row(change: dict[str, Any]) -> tuple[str, str]:
        return change["table"], json.dumps(change["key"])

    grouped = []
    for _, same in groupby(sorted(changes, key=row), key=row):
        of_row = list(same)
        values = {change["column"]: change["new"] for change in of_row}
        grouped.append((table(of_row[0]["table"]), of_row[0]["key"], values))
    return grouped


def _is(place: Table, key: list[Any]) -> ColumnElement[bool]:
    return and_(
        *(column == _typed(column, part) for column, part in zip(place.primary_key, key, strict=True))
    )


def place(table: str, id: uuid.UUID | str, column: str) -> dict[str, Any]:
    """Where something has changed: no values."""
    return {"table": table, "id": str(id), "column": column}


async def changed_since(db: AsyncSession, changes: Changes) -> list[dict[str, Any]]:
    """Where the rows no longer hold what was written, or are gone. The rows are held from here on."""
    found = []
    for of, key, values in _rows(changes):
        columns = [of.c[name] for name in values]
        query = select(*columns).where(_is(of, key)).with_for_update()
        row = (await db.execute(query)).one_or_none()
        for number, column in enumerate(columns):
            if row is None or _plain(row[number]) != values[column.name]:
                found.append(place(of.name, key[0], column.name))
    return found


async def restore(db: AsyncSession, changes: Changes) -> None:
    """What was there before, the last change first: each state on the way was allowed when it was left."""
    for change in reversed(changes):
        place = table(change["table"])
        old = {change["column"]: _typed(place.c[change["column"]], change["old"])}
        await db.execute(update(place).where(_is(place, change["key"])).values(old))
