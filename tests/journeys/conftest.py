"""One server and one worker for all journeys of the run; each journey brings its own family and workers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo, tokens
from app.db import new_id
from app.journey import Story
from app.models.identity import Role
from app.models.staff import StaffAccount
from tests import servers
from tests.database import clone
from tests.servers import World

# A one-time code is good once: workers that no other journey signs in need not wait for the next half minute.
VILLAGE_WORKERS = (
    "worker_ma", "worker_bai", "worker_li", "worker_tian", "worker_gao", "worker_xin", "worker_ding",
)  # fmt: skip


def village_worker(username: str) -> StaffAccount:
    account = StaffAccount(
        id=new_id(),
        username=username,
        name="马秀兰",
        role=Role.VILLAGE_WORKER,
        region_code=demo.TOWN,
        password_hash=tokens.hash_password(demo.PASSWORD),
        totp_enrolled_at=clock.now(),
        created_at=clock.now(),
    )
    account.totp_secret = demo.TOTP_SECRET
    return account


@pytest.fixture(scope="session")
def world(server: str, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A clone with real commits, the demo's people in it, and the processes that serve it."""
    name = f"journeys_{worker_id}"
    database = asyncio.run(clone(server, name))
    asyncio.run(servers.seed(database, *map(village_worker, VILLAGE_WORKERS)))
    with servers.fleet(database, tmp_path_factory.mktemp("journeys"), worker=True) as fleet:
        yield World(fleet.urls[0], database)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, timeout=20, trust_env=False) as http:
        yield http


@pytest.fixture
async def records(world: World) -> AsyncIterator[AsyncSession]:
    """A look at what the database holds."""
    async with servers.looking(world.database) as session:
        yield session


@pytest.fixture
def story(http: httpx.AsyncClient) -> Story:
    """A new family and the demo's hospital."""
    return Story(http, print)
