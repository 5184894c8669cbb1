"""B1–B3, B5, B9: many slots and a hot one, demand ten times what there is, and a server killed in the middle of it.

NUANXIN_RUSH=5 makes it 20 slots of 25 places, one of 500, and ten thousand residents.
"""

import asyncio
import os
import uuid
from datetime import date, timedelta
from pathlib import Path

import httpx
from sqlalchemy import select

from app import clock, tokens
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus
from app.services import eligibility, identity
from tests import servers
from tests.factories import appointments
from tests.races import rush

SCALE = int(os.environ.get("NUANXIN_RUSH", "1"))
SLOTS, HOT = (5 * SCALE,) * 4 * SCALE, 20 * SCALE * SCALE
WAITERS, CANCELLED = 6, 4


async def test_all_slots_are_exactly_full_though_a_server_dies_and_then_the_line_is_served_in_order(
    committed: str, tmp_path: Path
) -> None:
    # Given many slots and a hot one, three servers, and ten who want it for each place,
    async with servers.looking(committed) as session:
        prepared = await rush.prepare(session, capacities=(*SLOTS, HOT), couples=(sum(SLOTS) + HOT) * 8)
    with servers.fleet(committed, tmp_path, servers=3) as fleet:
        # when one server is killed while places are being given out,
        crowd, dying = rush.Crowd(fleet.urls), asyncio.Event()

        async def turn(place: int) -> None:
            """Too few to fill the slots come before the death, all the others with it."""
            if place >= prepared.places // 2:
                await dying.wait()

        booking = asyncio.create_task(crowd.book(prepared, turn))
        async with asyncio.timeout(30 * SCALE):
            for _ in range(prepared.places // 4):
                await crowd.told.acquire()
        dying.set()
        fleet.processes[0].kill()
        seen = crowd.booked()
        await booking

        # then every place is given, once, and what was seen is there.
        assert 0 < len(seen) < prepared.places
        assert seen <= crowd.booked()
        rush.check_answers(crowd, prepared.places)
        async with servers.looking(committed) as session:
            await rush.check_database(session, prepared, crowd.booked())

        # And when some wait in line, and then several give their places up at once,
        hot = next(slot for slot, places in prepared.slots.items() if places == HOT)
        taps = {tap.key: tap for tap in prepared.taps if tap.slot_id == hot}
        lucky = [tap for key, tap in taps.items() if key in crowd.booked()][:CANCELLED]
        async with servers.looking(committed) as session:
            service = await appointments.service(session)
            families = [await appointments.couple(session) for _ in range(WAITERS)]
            for one in families:
                await eligibility.settle(session, one.wife_actor, service=service, person_id=one.wife.id)
            await session.commit()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            for number, one in enumerate(families):
                await wait_in_line(http, fleet.urls[1 + number % 2], prepared.clinic_id, one.wife_actor)
            await asyncio.gather(
                *(give_up(http, fleet.urls[1 + number % 2], tap) for number, tap in enumerate(lucky))
            )

    # then the places are kept for the first in line.
    async with servers.looking(committed) as session:
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
