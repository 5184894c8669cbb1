"""The `nuanxin` command."""

from socket import gaierror

import httpx
from asyncpg import PostgresError
from pydantic import ValidationError
from rich.markup import escape

from app import callers, errors, schema
from app.cli import running, upkeep
from app.cli.base import cli, console
from app.settings import complaints

__all__ = ["cli", "main", "running", "upkeep"]

# What an operator meets and mends; anything else is a fault of ours and shows where.
EXPECTED = (
    ValidationError, schema.StaleSchema, errors.Problem, callers.Refused, httpx.ConnectError, ConnectionError,
    TimeoutError, gaierror, PostgresError,
)  # fmt: skip


def explain(error: Exception) -> list[str]:
    """What an operator needs to know of it; the first line is the heading."""
    match error:
        case ValidationError():
            return ["Refusing to start:", *complaints(error)]
        case schema.StaleSchema():
            return ["Refusing to start:", str(error)]
        case errors.Problem():
            told = error.document("en")
            places = [f"{wrong['pointer']}: {wrong['detail']}" for wrong in told.get("errors", [])]
            return [told["title"], *places, *filter(None, [told.get("detail")])]
        case callers.Refused():
            return ["The story cannot go on.", str(error)]
        case httpx.ConnectError():
            return ["No server answers.", f"start one with `nuanxin demo` ({error})"]
        case _:
            return ["PostgreSQL does not answer.", f"start it, or correct NUANXIN_DATABASE_URL ({error})"]


def main() -> None:
    try:
        cli()
    except EXPECTED as error:
        heading, *lines = explain(error)
        console.print(
            f"[red]{heading}[/]", *(f"  {escape(line)}" for line in lines), sep="\n", highlight=False
        )
        raise SystemExit(1) from error
