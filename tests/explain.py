"""EXPLAIN of a query with its own parameters."""

from collections.abc import Awaitable
from typing import Any

from sqlalchemy import ClauseElement, Executable, Select, event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles


class Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, query: Select[Any], options: str = "") -> None:
        self.query, self.options = query, options


@compiles(Explain)
def _explain(element: Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN {element.options} {compiler.process(element.query, **options)}"


async def by_index(session: AsyncSession, doing: Awaitable[Any], table: str) -> str:
    """How the first query of this table that is made is answered, where only what an index finds is read: in a small
    table any way is as good."""
    connection, asked = await session.connection(), list[tuple[str, Any]]()
    assert connection.sync_connection is not None

    def ask(*of: Any) -> None:
        asked.append((of[2], of[3]))

    event.listen(connection.sync_connection, "before_cursor_execute", ask)
    await doing
    event.remove(connection.sync_connection, "before_cursor_execute", ask)
    query, values = next(one for one in asked if f"FROM {table}" in one[0])
    for scan in ("seqscan", "indexscan", "indexonlyscan"):
        await session.execute(text(f"SET LOCAL enable_{scan} = off"))
    return "\n".join((await connection.exec_driver_sql(f"EXPLAIN {query}", values)).scalars())
