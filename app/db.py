"""The engine, the declarative base, and the two ways to talk to PostgreSQL: a transaction, a statement."""

import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import URL, BigInteger, DateTime, Enum, LargeBinary, MetaData, Text, Uuid, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.settings import Settings

__all__ = [
    "AsyncSession",
    "Base",
    "aside",
    "begin",
    "bind",
    "connect",
    "driver",
    "get_db",
    "in_batches",
    "new_id",
]

#: A transaction each. Tests rebind it to a connection whose outer transaction is rolled back.
sessions = async_sessionmaker(expire_on_commit=False)
#: Autocommit: every statement is its own transaction and one round trip, for the hot paths.
statements = async_sessionmaker(expire_on_commit=False)
#: Beside each pool one connection for what must be kept while a transaction that is refused still holds its locks:
#: who waits for it holds a connection of the pool, so from there it might never come.
_beside: WeakKeyDictionary[Any, AsyncEngine] = WeakKeyDictionary()


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        uuid.UUID: Uuid,
        dict[str, Any]: JSONB,
        list[str]: JSONB,
        list[dict[str, Any]]: JSONB,
        StrEnum: Enum(
            StrEnum,
            native_enum=False,
            create_constraint=True,
            length=40,
            values_callable=lambda states: [state.value for state in states],
        ),
    }


# Nothing a request or a job does takes longer; whoever waits in vain hears 503. Migrations have their own.
LIMITS = {
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "5s",
}


def driver(url: str) -> str:
    """The URL as SQLAlchemy wants it."""
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


def connect(settings: Settings, url: str) -> AsyncEngine:
    """Open the process's pool. Parameters are hidden from errors: they are people's data."""
    engine = _pool(driver(url), settings.database_pool)
    bind(engine)
    return engine


def _pool(url: str | URL, size: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={
            "timeout": 5,
            "server_settings": {"application_name": "nuanxin", "jit": "off", **LIMITS},
        },
    )


def bind(engine: AsyncEngine) -> None:
    sessions.configure(bind=engine)
    statements.configure(bind=engine.execution_options(isolation_level="AUTOCOMMIT"))
    if engine not in _beside:
        small = _beside[engine] = _pool(engine.url, 1)
        event.listen(engine.sync_engine, "engine_disposed", lambda _: small.sync_engine.dispose())


@asynccontextmanager
async def begin() -> AsyncIterator[AsyncSession]:
    """One transaction: for jobs, commands, and what must survive the refusal of a request."""
    async with sessions.begin() as db:
        yield db


async def in_batches(batch: Callable[[AsyncSession], Awaitable[int]], size: int) -> int:
    """For jobs: again and again, each in a transaction of its own, until a batch is not full. Says how many in all.
    A statement may take five minutes."""
    total = 0
    while True:
        async with begin() as db:
            await db.execute(text("SET LOCAL statement_timeout = '5min'"))
            done = await batch(db)
        total += done
        if done < size:
            return total


@asynccontextmanager
async def aside() -> AsyncIterator[AsyncSession]:
    """A transaction beside an open one, which is about to be refused and holds its locks until this one has ended."""
    bound = sessions.kw["bind"]
    async with sessions(bind=_beside.get(bound, bound)) as db, db.begin():
        yield db


async def get_db() -> AsyncIterator[AsyncSession]:
    """The request's transaction, committed after serialisation and before the response leaves."""
    async with sessions.begin() as db:
        yield db


def new_id() -> uuid.UUID:
    """UUIDv7 (RFC 9562 §5.7): sorts by creation time, so that new rows land together in the index."""
    milliseconds = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | chance >> 62 << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    return uuid.UUID(int=value)
