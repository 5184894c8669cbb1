"""EXPLAIN of a query with its own parameters."""

from typing import Any

from sqlalchemy import ClauseElement, Executable, Select
from sqlalchemy.ext.compiler import compiles


class Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, query: Select[Any], options: str = "") -> None:
        self.query, self.options = query, options


@compiles(Explain)
def _explain(element: Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN {element.options} {compiler.process(element.query, **options)}"
