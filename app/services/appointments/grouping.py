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
from sqlalchemy.ext.asyncio import AsyncSession

LARGEST = 32
# One under way at a time makes the largest groups. Of one that waits for a lock the others do not wait for long.
SLOW_SECONDS, GROUPS = 0.1, 4
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
    #: A group to lead, or None: somebody has asked for this one.
    turn: "asyncio.Future[list[Tap] | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(slots=True)
class Line:
    """Those who gather, and how many groups are under way."""

    waiting: deque[Tap] = field(default_factory=deque)
    groups: int = 0
    since: float = 0.0

    def may_go(self) -> bool:
        slow = asyncio.get_running_loop().time() - self.since > SLOW_SECONDS
        return self.groups == 0 or (slow and self.groups < GROUPS)

    def open(self, group: list[Tap]) -> list[Tap]:
        """A group that goes now: with whoever waits."""
        while self.waiting and len(group) < LARGEST:
            tap = self.waiting.popleft()
            if not tap.turn.done():  # else gone meanwhile
                group.append(tap)
        if group:
            self.groups += 1
            self.since = asyncio.get_running_loop().time()
        return group

    def close(self, group: list[Tap], rows: list[Any]) -> None:
        """A group has come back, or could not go: the first of those who wait leads the next."""
        for tap, row in zip(group, rows, strict=True):
            tap.row = row
            if not tap.turn.done():
                tap.turn.set_result(None)
        self.groups -= 1
        if following := self.open([]):
            following[0].turn.set_result(following)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()


async def book(db: AsyncSession, tap: Tap) -> Any:
    """The outcome of one. `db` is in autocommit, and idle until it is this one's turn."""
    line = _lines.setdefault(asyncio.get_running_loop(), Line())
    if line.may_go():
        await _lead(db, line, line.open([tap]))
    else:
        line.waiting.append(tap)
        group = await _turn(line, tap)
        if group:
            await _lead(db, line, group)
    if tap.row is None or tap.row.outcome == ALONE:
        [tap.row] = await _ask(db, [tap])
    return tap.row


async def _turn(line: Line, tap: Tap) -> list[Tap] | None:
    try:
        return await tap.turn
    except asyncio.CancelledError:  # between being called and coming: the others go alone
        if tap.turn.done() and not tap.turn.cancelled() and (group := tap.turn.result()):
            line.close(group, [None] * len(group))
        raise


async def _lead(db: AsyncSession, line: Line, group: list[Tap]) -> None:
    rows: list[Any] = [None] * len(group)
    try:
        rows = await _ask(db, group)
    except DBAPIError:
        if len(group) == 1:
            raise
        await db.rollback()  # gives the connection back, which may be lost
    finally:
        line.close(group, rows)


async def _ask(db: AsyncSession, group: list[Tap]) -> list[Any]:
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
    return list(await db.execute(BOOK, values))
