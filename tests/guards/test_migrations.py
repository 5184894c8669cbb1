"""The database is what the models say, whichever way it came to be so."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.queries import Queries
from sqlalchemy import Connection, Enum
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from app import crypto, schema
from app.db import Base
from app.settings import ROOT
from tests.database import drop, execute, of

SQL = {
    file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "app" / "models" / "sql").glob("*.sql")
}
APPEND_ONLY = (
    "audit_event",
    "appointment_event",
    "household_event",
    "follow_up_event",
    "life_event",
    "report_version",
    "report_attachment",
    "observation",
    "risk_assessment",
    "supply_hand_out",
    "slot_event",
    "rotation_step",
    "ledger_account",
    "transfer",
    "refused_transfer",
    "ledger_period",
    "ledger_turnover",
    "reversal",
    "ledger_leaf",
    "merkle_node",
    "tree_head",
    "seal_key",
    "payment_notice",
    "goods_delivery",
    "disbursement_event",
    "bill_line",
)
#: What a row needs beyond its NOT NULL columns.
NEEDED = {
    "observation": {"value_code": "'x'"},
    "transfer": {"credit_account_id": "2", "kind": "'fee'", "phase": "'single'"},
    "ledger_period": {"month": "'2026-01-01'"},
    "receipt_request": {"status": "'refused'"},
    "reconciliation_difference": {"status": "'open'"},
}


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(schema.config()).get_heads()) == 1


def test_migrations_are_numbered_in_order() -> None:
    script = ScriptDirectory.from_config(schema.config())
    numbers = [revision.revision for revision in reversed(list(script.walk_revisions()))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


async def test_the_models_and_the_database_do_not_differ(connection: AsyncConnection) -> None:
    def differences(sync: Connection) -> list[Any]:
        options = {"include_name": schema.ours, "compare_server_default": True, "compare_type": True}
        return compare_metadata(MigrationContext.configure(sync, opts=options), Base.metadata)

    assert await connection.run_sync(differences) == [], 'make migration m="why"'


CHECKS = """
SELECT relname, pg_get_constraintdef(k.oid) AS text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.contype = 'c' AND k.connamespace = $1::regnamespace"""


async def checks(connection: asyncpg.Connection, place: str) -> set[tuple[str, str]]:
    """As PostgreSQL reads them, which has two ways of writing the casts of a list of words; some have older names."""
    rows = [row for row in await connection.fetch(CHECKS, place) if not row["relname"].startswith("pgqueuer")]
    plain = re.compile(r"::(text|character varying)(\[\])?|[()]")
    return {(row["relname"], plain.sub("", row["text"])) for row in rows}


async def test_every_check_in_the_database_is_the_one_of_the_models(rolled_back: asyncpg.Connection) -> None:
    """Autogenerate does not look at them."""
    found = await checks(rolled_back, await rolled_back.fetchval("SELECT current_schema()"))
    await rolled_back.execute("CREATE SCHEMA modelled; SET LOCAL search_path = modelled, public")
    for table in Base.metadata.tables.values():
        create = CreateTable(table, include_foreign_key_constraints=[])
        await rolled_back.execute(str(create.compile(dialect=postgresql.dialect())))
    modelled = await checks(rolled_back, "modelled")
    assert modelled
    assert found == modelled


@pytest.fixture
async def database_itself(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Without our layers."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_every_enum_column_accepts_its_own_values_and_no_others(
    database_itself: asyncpg.Connection,
) -> None:
    rows = await database_itself.fetch(
        "SELECT conrelid::regclass::text AS place, pg_get_constraintdef(oid) AS text "
        "FROM pg_constraint WHERE contype = 'c'"
    )
    checks = [(row["place"], row["text"]) for row in rows]
    columns = [
        (table.name, column.name, set(column.type.enums))
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Enum)
    ]
    assert columns
    for table, column, values in columns:
        found = [
            set(re.findall(r"'([^']*)'::", text))
            for place, text in checks
            if place == table and re.match(rf"CHECK \(\(+{column}\)?::text = ", text)
        ]
        assert values in found, f"{table}.{column}: {sorted(values)} but the database has {found}"


def body_of(text: str) -> str:
    """Between the dollar quotes."""
    return text.split("$$")[1]


@pytest.mark.parametrize("function", sorted(SQL))
async def test_each_sql_function_in_the_database_is_the_one_in_its_file(
    function: str, database_itself: asyncpg.Connection
) -> None:
    bodies = await database_itself.fetch("SELECT prosrc, proconfig FROM pg_proc WHERE proname = $1", function)
    settings = [f"{name}={value}" for name, value in re.findall(r"^SET (\w+) = (\w+)", SQL[function], re.M)]
    if re.search(r"^SET search_path FROM CURRENT", SQL[function], re.M):
        settings.append(f"search_path={await database_itself.fetchval('SELECT current_schema()')}, pg_temp")
    in_file = [(body_of(SQL[function]), settings)]
    installed = [(row["prosrc"], row["proconfig"] or []) for row in bodies]
    assert installed == in_file, "a migration must install the text of the file again"


async def test_no_sql_function_lives_in_the_database_alone(database_itself: asyncpg.Connection) -> None:
    rows = await database_itself.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace "
        "AND proname NOT LIKE '%pgqueuer%' AND proname NOT LIKE 'f\\_%' "
        "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e')"  # btree_gist
    )
    assert {row["proname"] for row in rows} - set(SQL) == set()


def test_every_table_called_append_only_is_guarded() -> None:
    called = {
        mapper.local_table.name  # type: ignore[attr-defined]
        for mapper in Base.registry.mappers
        if "append-only" in (mapper.class_.__doc__ or "").lower() or mapper.class_.__name__.endswith("Event")
    }
    assert called == set(APPEND_ONLY)


@pytest.fixture
async def rolled_back(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def insert(connection: asyncpg.Connection, table: str, **said: str) -> str:
    """A row that says something wherever it must, and what is said here; the name of a column that it fills."""
    columns = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1 "
        "AND is_nullable = 'NO' AND is_identity = 'NO' AND column_default IS NULL",
        table,
    )
    blank = {
        "uuid": "gen_random_uuid()", "timestamp with time zone": "now()", "bigint": "1", "smallint": "1", "bytea": "''",
        "boolean": "false", "jsonb": "'{}'", "date": "current_date",
    }  # fmt: skip
    checks = await connection.fetch(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::regclass",
        table,
    )
    values = []
    for column in columns:
        name = column["column_name"]
        allowed = [re.findall(r"'([^']*)'::", c["text"]) for c in checks if f"({name})" in c["text"]]
        values.append(blank.get(column["data_type"], f"'{allowed[0][0]}'" if allowed else "'x'"))
    row = dict(zip([column["column_name"] for column in columns], values, strict=True)) | NEEDED.get(
        table, {}
    )
    row |= said
    await connection.execute("SET session_replication_role = replica")  # without what it refers to
    await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})")
    await connection.execute("SET session_replication_role = origin")
    return str(columns[0]["column_name"])


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_an_append_only_table_refuses_every_change(table: str, rolled_back: asyncpg.Connection) -> None:
    connection = rolled_back
    some = await insert(connection, table)
    kept = await connection.fetchval(f"SELECT count(*) FROM {table}")
    for change in (
        f"UPDATE {table} SET {some} = {some}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            async with connection.transaction():
                await connection.execute(change)
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == kept


async def test_the_job_queue_has_the_tables_of_its_library(database_itself: asyncpg.Connection) -> None:
    plan = await Queries(AsyncpgDriver(database_itself)).plan_upgrade()
    assert not plan.statements, "a new migration must run what the library's upgrade would"


async def waits(holder: asyncpg.Connection, runners: int) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    for _ in range(400):
        if await holder.fetchval(waiting) == runners:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_of_two_migrations_at_once_each_waits_its_turn(server: str, worker_id: str) -> None:
    """However long that takes: the lock timeout of migrations is for tables."""
    name = f"two_{worker_id}"
    await drop(server, name)
    await execute(server, f"CREATE DATABASE {name}")
    url = of(server, name)
    holder = await asyncpg.connect(url)
    await holder.execute("SELECT pg_advisory_lock($1)", schema.ADVISORY_LOCK)
    impatient = f"from app import schema; schema.LOCK_TIMEOUT = '100ms'; schema.upgrade({url!r})"
    words = (sys.executable, "-c", impatient)
    runners = [await asyncio.create_subprocess_exec(*words, cwd=ROOT) for _ in range(2)]
    assert await waits(holder, len(runners))
    await asyncio.sleep(0.5)
    assert await holder.fetchval("SELECT to_regclass('alembic_version')") is None, "nothing before its turn"
    await holder.execute("SELECT pg_advisory_unlock($1)", schema.ADVISORY_LOCK)
    assert await asyncio.wait_for(asyncio.gather(*(runner.wait() for runner in runners)), 40) == [0, 0]
    assert await holder.fetchval("SELECT version_num FROM alembic_version") == schema.head()
    await holder.close()
    await drop(server, name)


async def test_what_was_written_about_people_is_sealed_in_its_place(server: str, worker_id: str) -> None:
    """Migration 0030, with what it finds."""
    name, said = f"written_{worker_id}", "王小芳住凤凰北街"
    written = {
        "receipt_request": "reason", "settlement": "reason", "reconciliation_difference": "note",
        "household": "marks", "goods_delivery": "purpose",
    }  # fmt: skip
    await drop(server, name)
    await execute(server, f"CREATE DATABASE {name}")
    url = of(server, name)
    await asyncio.to_thread(command.upgrade, schema.config(url), "0029")
    connection = await asyncpg.connect(url)
    for table, column in written.items():
        await insert(
            connection, table, **{column: f"'{json.dumps([said])}'" if column == "marks" else f"'{said}'"}
        )
    await insert(connection, "household")
    await asyncio.to_thread(command.upgrade, schema.config(url), "0030")
    for table, column in written.items():
        rows = await connection.fetch(
            f"SELECT id, {column}_sealed FROM {table} WHERE {column}_sealed IS NOT NULL"
        )
        [(id, sealed)] = rows
        opened = crypto.unseal(sealed, place=f"{table}|{column}|{id}")
        assert opened == said or json.loads(opened) == [said]
    assert await connection.fetchval("SELECT count(*) FROM household") == 2
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await connection.execute("UPDATE goods_delivery SET id = id")
    await connection.close()
    await drop(server, name)
