"""The application's database role cannot bend the ledger: nothing that it can send changes what was posted."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import db, doctor, schema
from app.db import Base
from app.models.proofs import UnsealedTransfer
from app.services.proofs import sealing
from tests.command import told
from tests.database import execute
from tests.factories import ledger
from tests.guards.test_migrations import APPEND_ONLY

READ_ONLY = (
    "transfer", "account_balance", "ledger_account", "refused_transfer", "ledger_period", "ledger_turnover",
)  # fmt: skip
#: What of INSERT, UPDATE, DELETE, TRUNCATE the role has; where nothing is said, the first three.
RIGHTS = {
    **dict.fromkeys(APPEND_ONLY, (True, False, False, False)),
    **dict.fromkeys((*READ_ONLY, "alembic_version"), (False, False, False, False)),
    "unsealed_transfer": (False, False, True, False),
}
POST = "SELECT post_transfer($1, $2, '410102-T', 100, 'donation', 'donation/x', current_date, now(), true)"
OPENED = "SELECT open_ledger_account($1, '', '', 'income', NULL, NULL, 2, now())"


@pytest.fixture
async def role(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as servers and workers have it, rolled back."""
    connection = await asyncpg.connect(schema.as_application(database))
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def refused(role: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with role.transaction():
            await role.execute(statement)


async def test_the_role_has_just_what_it_needs_on_every_table(role: asyncpg.Connection) -> None:
    rows = await role.fetch(
        "SELECT relname, has_table_privilege(oid, 'SELECT') AS reads, "
        "ARRAY[has_table_privilege(oid, 'INSERT'), has_table_privilege(oid, 'UPDATE'), "
        "has_table_privilege(oid, 'DELETE'), has_table_privilege(oid, 'TRUNCATE')] AS has "
        "FROM pg_class c WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
    )
    assert set(Base.metadata.tables) <= {row["relname"] for row in rows}
    assert all(row["reads"] for row in rows)
    ordinary = (True, True, True, False)
    wrong = {
        row["relname"]: row["has"]
        for row in rows
        if tuple(row["has"]) != RIGHTS.get(row["relname"], ordinary)
    }
    assert wrong == {}


@pytest.mark.parametrize("table", READ_ONLY)
async def test_the_ledger_refuses_its_every_statement(table: str, role: asyncpg.Connection) -> None:
    column = next(iter(Base.metadata.tables[table].columns)).name
    for statement in (
        f"INSERT INTO {table} DEFAULT VALUES", f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}",
        f"TRUNCATE {table}", f"ALTER TABLE {table} DISABLE TRIGGER ALL", f"DROP TABLE {table}",
        f"SELECT * FROM {table} FOR UPDATE", f"COPY {table} FROM STDIN",
        f"CREATE TRIGGER x BEFORE INSERT ON {table} EXECUTE FUNCTION refuse_change()",
    ):  # fmt: skip
        await refused(role, statement)


async def test_the_role_may_not_become_more(role: asyncpg.Connection) -> None:
    for statement in (
        "CREATE TABLE mine (id int)", "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1", "CREATE ROLE mine",
        "SET session_replication_role = replica", "SET ROLE postgres", "CREATE SCHEMA mine",
        "ALTER FUNCTION open_ledger_account SET search_path = pg_temp",
    ):  # fmt: skip
        await refused(role, statement)
    owned = "SELECT count(*) FROM pg_class WHERE relowner = 'nuanxin_app'::regrole"
    assert await role.fetchval(owned) == 0


async def test_the_functions_write_it_and_no_table_of_its_own_stands_in(role: asyncpg.Connection) -> None:
    """A temporary table is looked up first, unless a function says otherwise."""
    for name in READ_ONLY:
        await role.execute(f"CREATE TEMPORARY TABLE {name} (LIKE public.{name} INCLUDING ALL)")
    for code in ("100999", "410102-T"):
        await role.execute(OPENED, code)
    id = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e12"
    assert await role.fetchval(POST, id, "100999") == "posted"
    assert await role.fetchval(POST, id, "100999") == "replayed"
    assert await role.fetchval("SELECT amount_fen FROM public.transfer") == 100
    assert await role.fetchval("SELECT sum(debits) FROM public.account_balance") == 100
    for name in READ_ONLY:
        assert await role.fetchval(f"SELECT count(*) FROM {name}") == 0


async def test_functions_of_the_owner_are_for_the_application_alone(role: asyncpg.Connection) -> None:
    rows = await role.fetch(
        "SELECT proname, proacl::text, proconfig FROM pg_proc WHERE prosecdef AND proname !~ '^pg_'"
    )
    assert {row["proname"] for row in rows} == {
        "post_transfer", "refuse_transfer", "open_ledger_account", "close_ledger_month",
    }  # fmt: skip
    for row in rows:
        assert "nuanxin_app=X/" in row["proacl"]
        assert "{=X" not in row["proacl"]
        assert ",=X" not in row["proacl"]
        assert row["proconfig"] == ["search_path=public, pg_temp"]


async def test_posting_and_sealing_work_under_the_role(committed: str) -> None:
    engine = create_async_engine(db.driver(schema.as_application(committed)), poolclass=NullPool)
    db.bind(engine)
    async with db.begin() as session:
        fund = await ledger.fund(session)
        await ledger.give(session, fund, 100)
        await ledger.spend(session, fund, 40)
    assert await sealing.seal_all() == 2
    async with db.begin() as session:
        assert (await doctor._role(session))[:2] == ("role nuanxin_app: can only add to the ledger", True)
    await engine.dispose()


async def test_the_doctor_warns_of_the_owner(session: AsyncSession) -> None:
    what, well, mend = await doctor._role(session)
    assert (what, well) == ("role postgres: could bend the ledger", None)
    assert "nuanxin_app" in mend


async def test_the_doctor_misses_a_transfer_that_was_kept_out_of_the_log(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fund = await ledger.fund(session)
    gift = await ledger.give(session, fund, 100)
    assert (await doctor._sealed(session))[1] is True
    monkeypatch.setattr(doctor, "MOST_UNSEALED", timedelta(0))
    assert (await doctor._sealed(session))[1:] == (None, "start `nuanxin worker`")
    await session.execute(delete(UnsealedTransfer).where(UnsealedTransfer.transfer_id == gift.id))
    assert (await doctor._sealed(session))[:2] == ("transfers that the public log misses: 1", False)


async def test_who_may_not_create_the_role_is_told(
    database: str, role: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "ROLE", "nuanxin_elsewhere")
    assert not await schema._has_role(role, "")
    owner = await asyncpg.connect(database)
    try:
        assert await schema._has_role(owner, "postgresql://nuanxin_elsewhere:it%27s@x/y")
        kept = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'nuanxin_elsewhere'")
        assert kept.startswith("SCRAM-SHA-256$")
        assert await schema._has_role(owner, "")
    finally:
        await owner.execute("DROP ROLE IF EXISTS nuanxin_elsewhere")
        await owner.close()


async def test_granting_again_takes_back_what_was_too_much(committed: str) -> None:
    await execute(committed, "GRANT ALL ON transfer, supply_hand_out TO nuanxin_app")
    assert await schema._grant(committed, "")
    connection = await asyncpg.connect(schema.as_application(committed))
    for table in ("transfer", "supply_hand_out"):
        await refused(connection, f"DELETE FROM {table}")
    await connection.close()


def test_the_owner_migrates_and_the_application_runs(committed: str) -> None:
    application = schema.as_application(committed)
    said = told("migrate", database=application, code=0, NUANXIN_MIGRATION_DATABASE_URL=committed)
    assert said.splitlines() == [f"The schema is at {schema.head()}."]
    assert "✓ role nuanxin_app: can only add to the ledger" in told("doctor", database=application, code=0)


def test_the_same_address_for_the_application() -> None:
    for url, expected in (
        ("postgresql://postgres:@/nuanxin?host=/tmp/x", "postgresql://nuanxin_app@/nuanxin?host=/tmp/x"),
        ("postgresql://a:b%40@db.internal:5432/n", "postgresql://nuanxin_app@db.internal:5432/n"),
    ):
        assert schema.as_application(url) == expected
