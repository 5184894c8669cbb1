"""Databases on the run's own server: named, made from the template, spoken to directly."""

import asyncpg

TEMPLATE = "template_nuanxin"


def of(server: str, database: str) -> str:
    """The URL of another database on the same server."""
    return server.replace("/postgres?", f"/{database}?")


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def clone(server: str, name: str) -> str:
    """A fresh copy of the migrated template, instead of whatever had its name: its URL."""
    await drop(server, name)
    await execute(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    return of(server, name)


async def drop(server: str, name: str) -> None:
    await execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


#: How many wait for a lock in this database: other tests wait for locks of theirs.
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (
    SELECT pid FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
