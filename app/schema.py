"""The database schema: bring it up to date, say what the application may do in it, refuse to run on a stale one."""

import asyncio
from functools import cache
from urllib.parse import unquote, urlsplit

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Enum, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import ROOT

#: Held by the one runner of migrations.
ADVISORY_LOCK = 7_301_664_012
#: How long a migration waits for a table.
LOCK_TIMEOUT = "5s"
#: What servers and workers connect as: owns nothing.
ROLE = "nuanxin_app"
#: After every upgrade, in place of what was granted before. Append-only tables are known by their trigger. The ledger
#: is written by its functions alone, as their owner: a temporary table of the caller's must not stand in for one of
#: its own, so that those are looked up last. The registry's import renews the planner's statistics by itself.
GRANTS = """
DO $$
DECLARE
    place text := current_schema();
    one record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO nuanxin_app', place);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM nuanxin_app', place);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO nuanxin_app', place);
    FOR one IN SELECT oid::regclass AS name,
        CASE WHEN relname IN ('alembic_version', 'transfer', 'account_balance', 'ledger_account', 'refused_transfer',
                              'ledger_period', 'ledger_turnover') THEN 'SELECT'
             WHEN relname = 'unsealed_transfer' THEN 'SELECT, DELETE'
             WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgfoid = 'refuse_change'::regproc
                           AND tgtype & 24 = 24 AND tgqual IS NULL AND tgattr = '') THEN 'SELECT, INSERT'
             WHEN relname = 'import_row' AND current_setting('server_version_num')::int >= 170000
             THEN 'SELECT, INSERT, UPDATE, DELETE, MAINTAIN'
             ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS rights
          FROM pg_class c WHERE relnamespace = place::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('GRANT %s ON %s TO nuanxin_app', one.rights, one.name);
    END LOOP;
    FOR one IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = place::regnamespace AND prosecdef LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one.name, place);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO nuanxin_app', one.name);
    END LOOP;
END
$$"""
#: For somebody who may create roles.
CREATE_ROLE = f"CREATE ROLE {ROLE} LOGIN PASSWORD '…'"


def one_of(name: str, *values: str) -> Enum:
    """For migrations: a column that takes these values alone, as the models have it."""
    return Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)


def install(*functions: str) -> None:
    """For migrations: the functions as their files in app/models/sql say."""
    for function in functions:
        text = (ROOT / "app" / "models" / "sql" / f"{function}.sql").read_text(encoding="utf-8")
        op.get_bind().exec_driver_sql(text)


def append_only(*tables: str) -> None:
    """For migrations: from now on nothing in them is changed or deleted."""
    for table in tables:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()"
        )


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


def upgrade(url: str, application: str = "") -> bool:
    """Run the migrations that are missing as the owner of the tables; a second runner waits for the first. Then say
    what the application's role may do. False: there is no such role, and the owner may not create it."""
    command.upgrade(config(url), "head")
    return asyncio.run(_grant(url, application))


async def _grant(url: str, application: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
            if not await _has_role(connection, application):
                return False
            await connection.execute(GRANTS)
    finally:
        await connection.close()
    return True


async def _has_role(connection: asyncpg.Connection, application: str) -> bool:
    """Created if need be, with the password that the application is going to use."""
    if await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", ROLE):
        return True
    mine = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    if not await connection.fetchval(mine):
        return False
    parts = urlsplit(application)
    password = unquote(parts.password or "") if parts.username == ROLE else ""
    secret = await connection.fetchval("SELECT ' PASSWORD ' || quote_literal($1::text)", password or None)
    try:
        async with connection.transaction():
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN{secret or ''}")
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        pass  # roles are of the whole cluster: another database's migration made it just now
    return True


def as_application(url: str) -> str:
    """The same database for the application's role, where nobody asks for a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{ROLE}@{parts.netloc.rpartition('@')[2]}").geturl()


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
