"""The door of the rush: bounded inside, bounded in line, first come first in, and nobody else waits."""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app import admission, tokens
from app.admission import ROOM, Admission, Lane
from app.services.identity import DOOR
from tests.clients import client

INSIDE, LINE = ROOM["booking"]
BOOKING = ("POST", "/citizen/v1/appointments")


class Slow:
    """An application that answers when told to, and notes in which order it was asked."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(dict(scope["headers"]).get(b"name", b"").decode())
        await self.go.wait()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Phone:
    """One resident, asking again and again."""

    def __init__(self, door: Admission, name: str = "") -> None:
        self.door, self.name = door, name
        self.account = uuid.uuid4()

    async def ask(
        self, ticket: str = "", what: tuple[str, str] = BOOKING, language: str = "zh"
    ) -> tuple[int, dict[str, str], bytes]:
        token = tokens.issue_access(DOOR, self.account, self.account)
        given = {
            "authorization": f"Bearer {token}", "queue-ticket": ticket, "name": self.name, "accept-language": language,
        }  # fmt: skip
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nobody reads the body of who is refused")

        headers = [(name.encode(), value.encode()) for name, value in given.items() if value]
        await self.door(
            {"type": "http", "method": what[0], "path": what[1], "headers": headers}, receive, send
        )
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], answered, sent[1]["body"]


def crowd(door: Admission, size: int) -> list["asyncio.Task[Any]"]:
    return [asyncio.create_task(Phone(door, f"crowd-{n}").ask()) for n in range(size)]


async def a_full_door(slow: Slow) -> tuple[Admission, list["asyncio.Task[Any]"]]:
    door = Admission(slow, b"key")
    tasks = crowd(door, INSIDE + LINE)
    await asyncio.sleep(0.01)
    assert len(slow.asked) == INSIDE
    return door, tasks


async def test_one_too_many_hears_at_once_when_to_come_back_and_all_others_are_served() -> None:
    slow = Slow()
    door, tasks = await a_full_door(slow)
    status, headers, body = await Phone(door).ask()
    problem = json.loads(body)
    assert (status, problem["type"]) == (503, "urn:nuanxin:problem:busy")
    assert int(headers["retry-after"]) in admission.RETRY_AFTER
    assert headers["x-request-id"] in problem["instance"]
    assert "排队" in problem["detail"]
    assert "Your place in line" in json.loads((await Phone(door).ask(language="en"))[2])["detail"]
    slow.go.set()
    assert {status for status, *_ in await asyncio.gather(*tasks)} == {201}
    assert door.lanes["booking"].inside == 0
    assert (await Phone(door).ask())[0] == 201


async def test_who_came_before_goes_in_before_who_was_there_all_the_time() -> None:
    slow = Slow()
    door, tasks = await a_full_door(slow)
    early = Phone(door, "early")
    _, headers, _ = await early.ask()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    slow.asked.clear()
    await asyncio.sleep(0.005)
    tasks = crowd(door, INSIDE + LINE)
    await asyncio.sleep(0.01)
    # The line is full again, of people who came later than the ticket says.
    again = asyncio.create_task(early.ask(headers["queue-ticket"]))
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in tasks) == 1, "the last in line made room"
    slow.go.set()
    assert (await again)[0] == 201
    assert slow.asked[INSIDE] == "early"
    assert sorted(status for status, *_ in await asyncio.gather(*tasks))[-1] == 503


@pytest.mark.parametrize("spoil", ["forged", "foreign", "expired", "future", "nonsense"])
async def test_a_ticket_that_is_not_ones_own_or_too_old_is_none(
    spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, now = Admission(Slow(), b"key"), 1_000_000.0
    mine = door.ticket("me", now - 30)
    assert door.came(mine, "me", now) == now - 30
    spoilt: dict[str, Callable[[], bytes]] = {
        "forged": lambda: mine[:-1] + (b"0" if mine[-1:] != b"0" else b"1"),
        "foreign": lambda: door.ticket("somebody else", now - 30),
        "expired": lambda: door.ticket("me", now - admission.TICKET_SECONDS - 1),
        "future": lambda: door.ticket("me", now + 5),
        "nonsense": lambda: b"nan.\xff\xfe",
    }
    assert door.came(spoilt[spoil](), "me", now) == now


async def test_a_ticket_is_good_at_another_process() -> None:
    one, other = Admission(Slow(), b"key"), Admission(Slow(), b"key")
    assert other.came(one.ticket("me", 99_990.5), "me", 100_000.0) == 99_990.5


async def test_nobody_waits_longer_than_patience_or_twice() -> None:
    lane = Lane(1, 4)
    assert await lane.enter(1, "inside")
    first = asyncio.create_task(lane.enter(2, "me"))
    await asyncio.sleep(0)
    assert not await lane.enter(2, "me")
    async with asyncio.timeout(admission.PATIENCE_SECONDS * 4):
        assert not await first
    assert (lane.waiting, lane.accounts, lane.inside) == ([], set(), 1)
    lane.leave()
    assert lane.inside == 0


async def test_who_goes_away_while_being_called_gives_the_place_to_the_next() -> None:
    lane = Lane(1, 4)
    await lane.enter(1, "inside")
    tasks = [asyncio.create_task(lane.enter(2 + n, f"{n}")) for n in range(2)]
    await asyncio.sleep(0)
    lane.leave()
    tasks[0].cancel()
    assert await tasks[1] is True
    lane.leave()
    assert (lane.inside, lane.waiting) == (0, [])


async def test_others_never_wait() -> None:
    slow = Slow()
    door, tasks = await a_full_door(slow)
    elsewhere = [
        ("GET", "/healthz"), ("POST", "/partner/v1/reports"), ("GET", "/staff/v1/appointments"),
        ("GET", "/citizen/v1/slots"),
    ]  # fmt: skip
    asked = [asyncio.create_task(Phone(door, "other").ask(what=what)) for what in elsewhere]
    await asyncio.sleep(0.01)
    assert slow.asked.count("other") == len(elsewhere)
    slow.go.set()
    await asyncio.gather(*asked, *tasks)


async def test_metrics_say_how_many_were_sent_away(connection: object) -> None:
    slow = Slow()
    door, tasks = await a_full_door(slow)
    await Phone(door).ask()
    slow.go.set()
    await asyncio.gather(*tasks)
    async with client() as http:
        text = (await http.get("/metrics")).text
    assert 'nuanxin_admission_total{lane="booking",outcome="shed"}' in text
