"""The database schema: bring it up to date, refuse to run on a stale one."""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import ROOT

#: Held by the one runner of migrations.
ADVISORY_LOCK = 7_301_664_012
#: How long a migration waits for a table.
LOCK_TIMEOUT = "5s"


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """What migrations look at; the job queue keeps its own tables."""
    return not (kind == "table" and name and name.startswith("pgqueuer"))


class StaleSchema(RuntimeError):
    def __init__(self, found: str | None, expected: str) -> None:
        super().__init__(
            f"the database schema is at {found}, this code needs {expected}: run `nuanxin migrate`"
        )


def config(url: str = "") -> Config:
    alembic = Config()
    alembic.set_main_option("script_location", str(ROOT / "migrations"))
    alembic.attributes["url"] = url
    return alembic


@cache
def head() -> str:
    return str(ScriptDirectory.from_config(config()).get_current_head())


def upgrade(url: str) -> None:
    """Run the migrations that are missing; a second runner waits for the first."""
    command.upgrade(config(url), "head")


async def found(db: AsyncSession) -> str | None:
    try:
        version: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:  # no such table: nothing was ever migrated
        await db.rollback()
        return None
    return version


async def require_head(db: AsyncSession) -> None:
    if (version := await found(db)) != head():
        raise StaleSchema(version, head())


async def require_current(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as db:
        await require_head(db)
