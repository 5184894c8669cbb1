"""Bookings that meet in one process go to the database together: while some are under way, others gather.

Nobody waits who would not wait anyway: one that comes alone goes at once, as a group of one. Each has an outcome of its
own; what makes a whole group fail makes each of it try alone."""

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import BigInteger, LargeBinary, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from app.db import statements

LARGEST = 32
# One under way at a time makes the largest groups. Of one that waits for a lock the others do not wait for long.
SLOW_SECONDS, GROUPS = 0.1, 4
# A group that follows another so soon is of a rush: it takes along whoever is at the door.
RUSH_SECONDS, TURNS = 0.05, 3
ALONE = "alone"
COLUMNS = {
    "ids": Uuid, "accounts": Uuid, "fingerprints": LargeBinary, "slots": Uuid, "places": BigInteger, "codes": Text,
    "requests": Text,
}  # fmt: skip
BOOK = text(
    "SELECT outcome, again, (booked).* "
    "FROM book_appointment(:ids, :accounts, :fingerprints, :slots, :places, :codes, :requests, :now)"
).bindparams(*(bindparam(name, type_=ARRAY(kind)) for name, kind in COLUMNS.items()))


@dataclass(slots=True, eq=False)
class Tap:
    """What one resident asks for."""

    id: uuid.UUID
    account: uuid.UUID | None
    fingerprint: bytes
    slot: uuid.UUID
    places: int
    code: str
    request: str
    now: datetime
    row: Any = None
    #: Whether to lead the next group; if not, somebody has asked for this one.
    turn: "asyncio.Future[bool] | None" = None


@dataclass(slots=True)
class Line:
    """Those who gather, and how many groups are under way."""

    waiting: deque[Tap] = field(default_factory=deque)
    groups: int = 0
    since: float = 0.0

    def may_go(self) -> bool:
        return self.groups == 0 or (self.age() > SLOW_SECONDS and self.groups < GROUPS)

    def age(self) -> float:
        return asyncio.get_running_loop().time() - self.since

    def wait(self, tap: Tap) -> "asyncio.Future[bool]":
        tap.turn = asyncio.get_running_loop().create_future()
        self.waiting.append(tap)
        return tap.turn

    async def gather(self, leader: Tap) -> list[Tap]:
        """With whoever waits; in a rush, with whoever comes in the same breath too."""
        rush = self.age() < RUSH_SECONDS
        self.since = asyncio.get_running_loop().time()
        if rush:
            await self._breath()
        group = [leader]
        while len(group) < LARGEST and (tap := self._next()):
            group.append(tap)
        return group

    async def _breath(self) -> None:
        """As long as others come with every few turns of the loop: those who are at the door already."""
        here = -1
        while here < len(self.waiting) < LARGEST - 1:
            here = len(self.waiting)
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def _next(self) -> Tap | None:
        while self.waiting:
            tap = self.waiting.popleft()
            if tap.turn and not tap.turn.done():  # else gone meanwhile
                return tap
        return None

    def close(self, group: list[Tap], rows: list[Any]) -> None:
        """A group has come back, or could not go: the first of those who wait leads the next."""
        for tap, row in zip(group, rows, strict=True):
            tap.row = row
            if tap.turn and not tap.turn.done():
                tap.turn.set_result(False)
        self.groups -= 1
        if (following := self._next()) and following.turn:
            self.groups += 1
            following.turn.set_result(True)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()


async def book(tap: Tap) -> Any:
    """The outcome of one. Who leads asks for all: nobody else takes a connection."""
    line = _lines.setdefault(asyncio.get_running_loop(), Line())
    if line.may_go():
        line.groups += 1
        await _lead(line, tap)
    elif await _turn(line, line.wait(tap)):
        await _lead(line, tap)
    if tap.row is None or tap.row.outcome == ALONE:
        [tap.row] = await _ask([tap])
    return tap.row


async def _turn(line: Line, turn: "asyncio.Future[bool]") -> bool:
    try:
        return await turn
    except asyncio.CancelledError:  # between being called and coming: the next leads
        if turn.done() and not turn.cancelled() and turn.result():
            line.close([], [])
        raise


async def _lead(line: Line, tap: Tap) -> None:
    group: list[Tap] = []
    rows: list[Any] = []
    try:
        group = await line.gather(tap)
        rows = await _ask(group)
    except DBAPIError:
        if len(group) == 1:
            raise
    finally:
        line.close(group, rows or [None] * len(group))


async def _ask(group: list[Tap]) -> list[Any]:
    values = {
        "ids": [tap.id for tap in group],
        "accounts": [tap.account for tap in group],
        "fingerprints": [tap.fingerprint for tap in group],
        "slots": [tap.slot for tap in group],
        "places": [tap.places for tap in group],
        "codes": [tap.code for tap in group],
        "requests": [tap.request for tap in group],
        "now": max(tap.now for tap in group),
    }
    async with statements.begin() as db:
        return list(await db.execute(BOOK, values))
