"""The client: a closed or an open loop over kept-open connections on raw sockets, so cheap that it is not what is
measured. Bounded in count and in time; sends to this machine only.

Closed: each connection sends the next request when it has the answer to the last. Open: requests are due at a fixed
rate whatever the answers do, and a latency counts from when a request was due."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop

HOST = "127.0.0.1"
#: After the last request is sent, how long an answer may take before it counts as dropped.
PATIENCE = 10.0
#: In an open loop: sent so long after it was due, a request counts as late.
LATE = 0.05


@dataclass
class Answers:
    seconds: float = 0.0
    #: One a request answered: status, problem type or "", seconds.
    samples: list[tuple[int, str, float]] = field(default_factory=list)
    dropped: int = 0
    late: int = 0


@dataclass(frozen=True)
class Offer:
    """Of an open loop."""

    ports: Sequence[int]
    requests: Sequence[bytes]
    connections: int
    rate: float


class Connection(asyncio.Protocol):
    """Sends one request at a time, and asks for the next when the answer is complete."""

    def __init__(self, answers: Answers, idle: Callable[["Connection"], None]) -> None:
        self.answers, self.idle = answers, idle
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer, self.since = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.idle(self)

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) < int(length.partition(b"\r\n")[0] or 0):  # 204 has none
            return
        status = int(head[9:12])
        kind = body.partition(b":problem:")[2].partition(b'"')[0].decode() if status >= 400 else ""
        self.answers.samples.append((status, kind, perf_counter() - self.since))
        self.buffer, self.since = b"", 0.0
        self.idle(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.answers.dropped += bool(self.since)
        if not self.finished.done():
            self.finished.set_result(None)


Made = list[tuple[asyncio.BaseTransport, Connection]]


async def _connect(
    ports: Sequence[int], connections: int, answers: Answers, idle: Callable[[Connection], None]
) -> Made:
    """Dealt out evenly over the ports."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_connection(lambda: Connection(answers, idle), HOST, ports[number % len(ports)])
        for number in range(connections)
    ]


async def _finish(made: Made, answers: Answers, started: float, limit: float) -> None:
    await asyncio.wait([protocol.finished for _, protocol in made], timeout=limit + PATIENCE)
    answers.seconds = perf_counter() - started
    for transport, protocol in made:
        if not protocol.finished.done():
            cast(asyncio.Transport, transport).abort()
            await protocol.finished


async def _run(ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float) -> Answers:
    answers, queue, started = Answers(), iter(requests), perf_counter()

    def idle(connection: Connection) -> None:
        request = next(queue, None) if perf_counter() < started + limit else None
        if request:
            connection.send(request, perf_counter())
        else:
            connection.transport.close()

    await _finish(await _connect(ports, connections, answers, idle), answers, started, limit)
    return answers


async def _run_open(
    ports: Sequence[int], requests: Sequence[bytes], connections: int, rate: float
) -> Answers:
    answers = Answers()
    free: deque[Connection] = deque()
    backlog: deque[tuple[bytes, float]] = deque()
    ended = False

    def idle(connection: Connection) -> None:
        if backlog:
            request, due = backlog.popleft()
            answers.late += perf_counter() - due > LATE
            connection.send(request, due)
        elif ended:
            connection.transport.close()
        else:
            free.append(connection)

    made = await _connect(ports, connections, answers, idle)
    started = perf_counter()
    for request, due in _timetable(requests, started, rate):
        if (early := due - perf_counter()) > 0:
            await asyncio.sleep(early)
        backlog.append((request, due))
        if free:
            idle(free.popleft())
    ended = True
    while free:
        idle(free.popleft())
    await _finish(made, answers, started, 0)
    answers.dropped += len(backlog)
    return answers


async def _run_beside(
    ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float, others: Offer
) -> tuple[Answers, Answers]:
    crowd, other = await asyncio.gather(
        _run(ports, requests, connections, limit),
        _run_open(others.ports, others.requests, others.connections, others.rate),
    )
    return crowd, other


def _timetable(requests: Sequence[bytes], started: float, rate: float) -> Iterator[tuple[bytes, float]]:
    return ((request, started + number / rate) for number, request in enumerate(requests))


def run(ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float) -> Answers:
    """Send the requests, at most for `limit` seconds."""
    return uvloop.run(_run(ports, requests, connections, limit))


def run_beside(
    ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float, others: Offer
) -> tuple[Answers, Answers]:
    """Both from this one process: a closed loop here, while an open one is offered elsewhere."""
    return uvloop.run(_run_beside(ports, requests, connections, limit, others))


def run_open(ports: Sequence[int], requests: Sequence[bytes], connections: int, rate: float) -> Answers:
    """Send so many a second, whatever comes back. `seconds` runs until the last answer."""
    return uvloop.run(_run_open(ports, requests, connections, rate))
