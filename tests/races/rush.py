"""Hundreds of residents who want one of few places, as clients of several servers."""

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
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

PATIENCE_SECONDS = 60
AT_ONCE = 400  # more than three servers let in and keep in line
REFUSALS = {"slot-full", "already-booked"}


@dataclass(frozen=True)
class Tap:
    """A finger on the button. Two of one key are a double tap."""

    token: str
    key: uuid.UUID
    slot_id: uuid.UUID


@dataclass(frozen=True)
class Rush:
    clinic_id: uuid.UUID
    slots: dict[uuid.UUID, int]
    taps: list[Tap]

    @property
    def places(self) -> int:
        return sum(self.slots.values())


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return "booked" if self.status == 201 else str(self.body.get("type", "")).rpartition(":")[2]


async def prepare(session: AsyncSession, *, capacities: Sequence[int], couples: int) -> Rush:
    """Everybody is bound, qualified and has agreed to the notices: what remains is the last place. As many want a
    place in a slot as it is large. Of every fourth couple both tap, of the next the wife taps twice."""
    service = await appointments.service(session)
    rule = await session.scalar(select(RuleVersion.id).filter_by(code=service.rule_code))
    assert rule is not None
    notices = list(await session.scalars(select(ConsentNotice.id).filter_by(retired_at=None)))
    hospital = await appointments.clinic(session)
    first = clock.now() + timedelta(days=3)
    slots = [
        await appointments.slot(
            session,
            place=hospital.clinic,
            service=service,
            capacity=capacity,
            starts_at=first + timedelta(hours=hour),
        )
        for hour, capacity in enumerate(capacities)
    ]
    pairs = [
        (appointments.person("李秀英", Sex.FEMALE), appointments.person("王建军", Sex.MALE))
        for _ in range(couples)
    ]
    people = [person for pair in pairs for person in pair]
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
    for wife, husband in pairs:
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
    wanted = [slot.id for slot in slots for _ in range(slot.capacity)]
    taps = [
        tap
        for place, pair in enumerate(pairs)
        for tap in _taps(place, wanted[place % len(wanted)], *(accounts[person.id] for person in pair))
    ]
    return Rush(hospital.clinic.id, {slot.id: slot.capacity for slot in slots}, taps)


def _taps(place: int, slot_id: uuid.UUID, wife: uuid.UUID, husband: uuid.UUID) -> list[Tap]:
    def tap(account_id: uuid.UUID) -> Tap:
        token = tokens.issue_access(identity.DOOR, account_id, new_id())
        return Tap(token, new_id(), slot_id)

    first = tap(wife)
    if place % 4 == 0:
        return [first, tap(husband)]
    return [first, first] if place % 4 == 1 else [first]


class Crowd:
    """Their phones. Each repeats the very same request, under the same key and with the ticket that it was given, while
    the service is away or has no room; where nobody answers it tries the next server."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.answers: dict[uuid.UUID, list[Answer]] = defaultdict(list)
        self.told = asyncio.Semaphore(0)  # once for each "booked" that a phone shows
        self.repeated = 0

    def booked(self) -> set[uuid.UUID]:
        return {key for key, heard in self.answers.items() if heard[0].kind == "booked"}

    async def book(self, rush: Rush, turn: Callable[[int], Awaitable[None]]) -> None:
        """Each taps when it is its turn."""
        async with AsyncExitStack() as stack:
            # One connection a phone: a shared pool would spend its time on looking for one.
            free: asyncio.Queue[httpx.AsyncClient] = asyncio.Queue()
            for _ in range(min(AT_ONCE, len(rush.taps))):
                http = httpx.AsyncClient(timeout=30, trust_env=False, verify=False)
                free.put_nowait(await stack.enter_async_context(http))
            await asyncio.gather(*(self._tap(free, turn, *tap) for tap in enumerate(rush.taps)))

    async def _tap(
        self, free: "asyncio.Queue[httpx.AsyncClient]", turn: Callable[[int], Awaitable[None]], place: int, tap: Tap
    ) -> None:  # fmt: skip
        await turn(place)
        http = await free.get()
        answer = await self._insist(http, place, tap)
        free.put_nowait(http)
        self.answers[tap.key].append(answer)
        if answer.kind == "booked":
            self.told.release()

    async def _insist(self, http: httpx.AsyncClient, place: int, tap: Tap) -> Answer:
        headers = {"Authorization": f"Bearer {tap.token}", "Idempotency-Key": str(tap.key)}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            url = f"{self.urls[place % len(self.urls)]}/citizen/v1/appointments"
            try:
                response = await http.post(url, headers=headers, json={"slot_id": str(tap.slot_id)})
            except httpx.TransportError:
                place += 1
            else:
                if response.status_code != 503:
                    return Answer(response.status_code, response.json())
                headers |= {"Queue-Ticket": response.headers.get("Queue-Ticket", "")}
            self.repeated += 1
            await asyncio.sleep(0.25)
        raise TimeoutError("the service did not come back")


def check_answers(crowd: Crowd, places: int) -> None:
    """Every answer is a place or a known problem, and a double tap has one answer."""
    for key, heard in crowd.answers.items():
        assert all(answer.body == heard[0].body for answer in heard if answer.status == 201)
        assert len({answer.kind for answer in heard}) == 1, [answer.kind for answer in heard]
        assert heard[0].status == 409 or heard[0].body["id"] == str(key)
    kinds = Counter(heard[0].kind for heard in crowd.answers.values())
    assert set(kinds) - {"booked"} <= REFUSALS, kinds
    assert kinds["booked"] == places, kinds


async def check_database(session: AsyncSession, rush: Rush, booked: set[uuid.UUID]) -> None:
    """What clients saw is what is there: each place once, no couple twice, nothing left by a refusal."""
    rows = list(await session.scalars(select(Appointment)))
    assert {row.id for row in rows} == booked
    assert {row.status for row in rows} == {AppointmentStatus.BOOKED}
    assert len({row.subject_id for row in rows}) == len(rows) == rush.places
    assert Counter(row.slot_id for row in rows) == rush.slots
    assert dict((await session.execute(select(Slot.id, Slot.booked))).all()) == rush.slots
    for table in (AppointmentEvent, IdempotencyKey):
        assert await session.scalar(select(func.count()).select_from(table)) == rush.places
