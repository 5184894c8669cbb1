"""In the opening second a booking is one round trip: counted on the wire, between the driver and PostgreSQL."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from app import db, tokens
from app.db import new_id
from app.models.appointments import Slot
from app.services import eligibility
from app.services.identity import DOOR
from tests.clients import client
from tests.factories import appointments as given
from tests.factories.appointments import Spouses

SOCKET = ".s.PGSQL.5432"
# A simple query, a sync, a flush: after each of these the driver waits for the server.
WAITS = b"QSH"


class Wire:
    """Passes everything on to PostgreSQL and notes the kind of each message that the driver sends."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.sent: list[int] = []
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def round_trips(self) -> int:
        return sum(kind in WAITS for kind in self.sent)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self.upstream)
        for task in (self.requests(reader, up_writer), self.answers(up_reader, writer)):
            self.tasks.add(asyncio.create_task(task))

    async def requests(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        kind = b""  # the first message of a connection has none
        with suppress(asyncio.IncompleteReadError):
            while True:
                size = await reader.readexactly(4)
                upstream.write(kind + size + await reader.readexactly(struct.unpack("!i", size)[0] - 4))
                self.sent += kind
                kind = await reader.readexactly(1)
        upstream.close()

    async def answers(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await upstream.read(65536):
            writer.write(data)
        writer.close()


@pytest.fixture
async def wire(committed: str) -> AsyncIterator[Wire]:
    """The app talks to its database through this, over one connection."""
    (host,) = parse_qs(urlsplit(committed).query)["host"]
    wire, direct = Wire(f"{host}/{SOCKET}"), db.sessions.kw["bind"]
    with TemporaryDirectory() as folder:  # its path is short: a socket's may have some 100 characters
        server = await asyncio.start_unix_server(wire.accept, f"{folder}/{SOCKET}")
        engine = create_async_engine(db.driver(committed.replace(host, folder)), pool_size=1, max_overflow=0)
        db.bind(engine)
        yield wire
        await engine.dispose()
        db.bind(direct)
        server.close()
        await asyncio.gather(*wire.tasks)


async def a_qualified_couple() -> Spouses:
    async with db.begin() as session:
        spouses = await given.couple(session)
        service = await given.service(session)
        explanation = await eligibility.settle(
            session, spouses.wife_actor, service=service, person_id=spouses.wife.id
        )
        assert explanation.eligible
    return spouses


async def a_slot(capacity: int) -> Slot:
    async with db.begin() as session:
        hospital = await given.clinic(session)
        service = await given.service(session)
        return await given.slot(session, place=hospital.clinic, service=service, capacity=capacity)


async def post_booking(app: FastAPI, spouses: Spouses, slot: Slot) -> httpx.Response:
    token = tokens.issue_access(DOOR, spouses.wife_actor.account_id, new_id())
    async with client(app) as caller:
        return await caller.post(
            f"{DOOR}/appointments",
            json={"slot_id": str(slot.id)},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())},
        )


async def test_a_booking_by_a_qualified_resident_is_one_round_trip(app: FastAPI, wire: Wire) -> None:
    slot = await a_slot(capacity=2)
    first, second = await a_qualified_couple(), await a_qualified_couple()
    assert (await post_booking(app, first, slot)).status_code == 201  # the statement is prepared, once
    wire.sent.clear()
    answer = await post_booking(app, second, slot)
    assert answer.status_code == 201, answer.text
    assert wire.round_trips == 1, bytes(wire.sent)


async def test_a_refusal_by_a_full_slot_is_one_round_trip(app: FastAPI, wire: Wire) -> None:
    slot, spouses = await a_slot(capacity=0), await a_qualified_couple()
    await post_booking(app, spouses, slot)
    wire.sent.clear()
    answer = await post_booking(app, spouses, slot)
    assert answer.json()["type"].endswith(":slot-full")
    assert wire.round_trips == 1, bytes(wire.sent)
