"""Pages of long lists, by the moment at which something was made, then by its id. By the id alone they would be in no
order: clients choose it, at random if they like. For rows that nobody deletes: the last of a page is looked up for the
next one."""

import uuid
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, func, select

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


def newest_first(query: Query, at: Any, id: Any, before: uuid.UUID | None, limit: int) -> Query:
    """`before`: the last row of the page before."""
    if before is not None:
        query = query.where(func.row(at, id) < _place(at, id, before))
    return query.order_by(at.desc(), id.desc()).limit(limit)


def oldest_first(query: Query, at: Any, id: Any, after: uuid.UUID | None, limit: int) -> Query:
    """`after`: the last row of the page before."""
    if after is not None:
        query = query.where(func.row(at, id) > _place(at, id, after))
    return query.order_by(at, id).limit(limit)


def _place(at: Any, id: Any, last: uuid.UUID) -> ColumnElement[Any]:
    return func.row(select(at).where(id == last).correlate(None).scalar_subquery(), last)
