"""In the opening second a booking is one statement, so one round trip: counted at the driver, below SQLAlchemy."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from asyncpg.connection import LoggedQuery
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from app import db, tokens
from app.db import new_id
from app.models.appointments import Slot
from app.services import eligibility
from app.services.identity import DOOR
from tests.clients import client
from tests.factories import appointments as given
from tests.factories.appointments import Spouses

pytestmark = pytest.mark.committed


@contextmanager
def statements() -> Iterator[list[str]]:
    """Everything that the driver sends meanwhile, BEGIN and COMMIT too."""
    engine: AsyncEngine = db.sessions.kw["bind"]
    sent: list[str] = []

    def log(query: LoggedQuery) -> None:
        sent.append(query.query)

    def listen(connection: object, *_: object) -> None:
        connection.driver_connection.add_query_logger(log)

    event.listen(engine.sync_engine, "checkout", listen)
    yield sent
    event.remove(engine.sync_engine, "checkout", listen)


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


@pytest.mark.usefixtures("committed")
async def test_booking_by_a_qualified_resident_is_one_statement(app: FastAPI) -> None:
    spouses, slot = await a_qualified_couple(), await a_slot(capacity=1)
    with statements() as sent:
        answer = await post_booking(app, spouses, slot)
    assert answer.status_code == 201, answer.text
    assert len(sent) == 1, sent
    assert "book_appointment" in sent[0]


@pytest.mark.usefixtures("committed")
async def test_refusing_a_full_slot_is_one_statement(app: FastAPI) -> None:
    spouses, slot = await a_qualified_couple(), await a_slot(capacity=0)
    with statements() as sent:
        answer = await post_booking(app, spouses, slot)
    assert answer.json()["type"].endswith(":slot-full")
    assert len(sent) == 1, sent
