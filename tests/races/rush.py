"""Five hundred residents who want one of twenty places, as clients of several servers."""

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus, Qualification, Slot
from app.models.audit import IdempotencyKey
from app.models.consents import Consent, ConsentNotice
from app.models.households import Couple, Sex
from app.models.identity import ResidentAccount
from app.models.rules import RuleVersion
from app.services import identity
from tests.factories import appointments

PLACES = 20
BOTH_BOOK, ONE_BOOKS, ONE_TAPS_TWICE = 100, 200, 100  # couples; 500 residents book
PATIENCE_SECONDS = 60
REFUSALS = {"slot-full", "already-booked"}


@dataclass(frozen=True)
class Tap:
    """A finger on the button. Two of one key are a double tap."""

    token: str
    key: uuid.UUID


@dataclass(frozen=True)
class Rush:
    slot_id: uuid.UUID
    taps: list[Tap]


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return "booked" if self.status == 201 else str(self.body.get("type", "")).rpartition(":")[2]


async def prepare(session: AsyncSession) -> Rush:
    """Everybody is bound, qualified and has agreed to the notices: what remains is the last place."""
    service = await appointments.service(session)
    rule = await session.scalar(select(RuleVersion.id).filter_by(code=service.rule_code))
    assert rule is not None
    notices = list(await session.scalars(select(ConsentNotice.id).filter_by(retired_at=None)))
    hospital = await appointments.clinic(session)
    slot = await appointments.slot(session, place=hospital.clinic, service=service, capacity=PLACES)
    couples = [
        (appointments.person("李秀英", Sex.FEMALE), appointments.person("王建军", Sex.MALE))
        for _ in range(BOTH_BOOK + ONE_BOOKS + ONE_TAPS_TWICE)
    ]
    people = [person for couple in couples for person in couple]
    session.add_all(people)
    await session.flush()
    now, accounts = clock.now(), {person.id: new_id() for person in people}
    session.add_all(
        ResidentAccount(id=accounts[one.id], openid=f"o-{one.id}", person_id=one.id, bound_at=now, created_at=now)
        for one in people
    )  # fmt: skip
    session.add_all(
        Consent(id=new_id(), person_id=one.id, notice_id=notice, given_at=now)
        for one in people
        for notice in notices
    )
    for wife, husband in couples:
        marriage = Couple(
            id=new_id(), wife_id=wife.id, husband_id=husband.id, plans_pregnancy=True, valid_from=date(2023, 1, 1)
        )  # fmt: skip
        session.add(marriage)
        session.add_all(
            Qualification(
                id=new_id(), service_id=service.id, person_id=one.id, spouse_id=other.id,
                subject_id=marriage.id, cycle="child-1", region_code=appointments.REGION,
                rule_version_id=rule, facts={}, decided_at=now, valid_until=now + timedelta(days=1),
            )
            for one, other in ((wife, husband), (husband, wife))
        )  # fmt: skip
    await session.commit()
    return Rush(slot.id, [tap for place, couple in enumerate(couples) for tap in _taps(place, *(
        tokens.issue_access(identity.DOOR, accounts[person.id], new_id()) for person in couple
    ))])  # fmt: skip


def _taps(place: int, wife: str, husband: str) -> list[Tap]:
    first = Tap(wife, new_id())
    if place % 4 == 0:
        return [first, Tap(husband, new_id())]
    return [first, first] if place % 4 == 1 else [first]


async def at_once(_: int) -> None:
    """Nobody waits for anybody."""


class Crowd:
    """Their phones. Each repeats the very same request, under the same key, while the service is away."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.answers: dict[uuid.UUID, list[Answer]] = defaultdict(list)
        self.told = asyncio.Semaphore(0)  # once for each "booked" that a phone shows
        self.repeated = 0

    def booked(self) -> set[uuid.UUID]:
        return {key for key, heard in self.answers.items() if heard[0].kind == "booked"}

    async def book(self, rush: Rush, turn: Callable[[int], Awaitable[None]] = at_once) -> None:
        """Each taps when it is its turn."""

        async def phone(place: int, tap: Tap) -> None:
            await turn(place)
            url = self.urls[place % len(self.urls)]
            # One client a phone: a shared pool would spend its time on looking for a connection.
            async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=False) as http:
                answer = await self._insist(http, rush, tap)
            self.answers[tap.key].append(answer)
            if answer.kind == "booked":
                self.told.release()

        await asyncio.gather(*(phone(place, tap) for place, tap in enumerate(rush.taps)))

    async def _insist(self, http: httpx.AsyncClient, rush: Rush, tap: Tap) -> Answer:
        headers = {"Authorization": f"Bearer {tap.token}", "Idempotency-Key": str(tap.key)}
        body = {"slot_id": str(rush.slot_id)}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                response = await http.post("/citizen/v1/appointments", headers=headers, json=body)
                if response.status_code != 503:
                    return Answer(response.status_code, response.json())
            self.repeated += 1
            await asyncio.sleep(0.25)
        raise TimeoutError("the service did not come back")


def check_answers(crowd: Crowd) -> None:
    """Every answer is a place or a known problem, and a double tap has one answer."""
    for key, heard in crowd.answers.items():
        assert all(answer.body == heard[0].body for answer in heard if answer.status == 201)
        assert len({answer.kind for answer in heard}) == 1, [answer.kind for answer in heard]
        assert heard[0].status == 409 or heard[0].body["id"] == str(key)
    kinds = Counter(heard[0].kind for heard in crowd.answers.values())
    assert set(kinds) - {"booked"} <= REFUSALS, kinds
    assert kinds["booked"] == PLACES, kinds


async def check_database(session: AsyncSession, rush: Rush, booked: set[uuid.UUID]) -> None:
    """What clients saw is what is there: each place once, no couple twice, nothing left by a refusal."""
    rows = list(await session.scalars(select(Appointment).filter_by(slot_id=rush.slot_id)))
    assert {row.id for row in rows} == booked
    assert {row.status for row in rows} == {AppointmentStatus.BOOKED}
    assert len({row.subject_id for row in rows}) == len(rows) == PLACES
    assert await session.scalar(select(Slot.booked).filter_by(id=rush.slot_id)) == PLACES
    for table in (AppointmentEvent, IdempotencyKey):
        assert await session.scalar(select(func.count()).select_from(table)) == PLACES
