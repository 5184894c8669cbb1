"""What every command needs: the command itself, where it prints, the database."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncSession

from app import crypto, db, embedded
from app.settings import settings

# The embedded server's folder library warns about desktop sessions.
warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR.*")
cli = typer.Typer(help="暖心 Nuanxin: the backend of a family planning association.", no_args_is_help=True)
# Long lines stay whole: what is printed here gets copied.
console = Console(soft_wrap=True)


def database_url() -> str:
    return settings().database_url or embedded.url(settings())


def owner_url() -> str:
    """Whoever owns the tables: migrates, and fills in what the association's services begin with."""
    config = settings()
    return config.migration_database_url or config.database_url or embedded.owner_url(config)


Result = TypeVar("Result")


def in_transaction(action: Callable[[AsyncSession], Awaitable[Result]], url: str = "") -> Result:
    """Run one service call in one transaction on a connection of its own."""

    async def run() -> Result:
        crypto.use(crypto.SettingsKeys(settings()))
        engine = db.connect(settings(), url or database_url())
        try:
            async with db.begin() as session:
                return await action(session)
        finally:
            await engine.dispose()

    return asyncio.run(run())
