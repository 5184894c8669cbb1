"""The client: a closed loop over kept-open connections on raw sockets, so cheap that it is not what is measured.
Bounded in count and in time; sends to this machine only."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop

HOST = "127.0.0.1"
#: After the last request is sent, how long an answer may take before it counts as dropped.
PATIENCE = 10.0


@dataclass
class Answers:
    seconds: float = 0.0
    #: One a request answered: status, problem type or "", seconds.
    samples: list[tuple[int, str, float]] = field(default_factory=list)
    dropped: int = 0


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is complete."""

    def __init__(self, requests: Iterator[bytes], answers: Answers, until: float) -> None:
        self.requests, self.answers, self.until = requests, answers, until
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer, self.sent = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send_next()

    def send_next(self) -> None:
        request = next(self.requests, None) if perf_counter() < self.until else None
        self.sent = perf_counter() if request else 0.0
        if request:
            self.transport.write(request)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) < int(length.partition(b"\r\n")[0]):
            return
        status = int(head[9:12])
        kind = json.loads(body).get("type", "").rpartition(":")[2] if status >= 400 else ""
        self.answers.samples.append((status, kind, perf_counter() - self.sent))
        self.buffer = b""
        self.send_next()

    def connection_lost(self, _: Exception | None) -> None:
        self.answers.dropped += bool(self.sent)
        if not self.finished.done():
            self.finished.set_result(None)


async def _run(ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float) -> Answers:
    loop, answers, queue = asyncio.get_running_loop(), Answers(), iter(requests)
    started = perf_counter()
    made = [
        await loop.create_connection(
            lambda: Connection(queue, answers, started + limit), HOST, ports[number % len(ports)]
        )
        for number in range(connections)
    ]
    await asyncio.wait([protocol.finished for _, protocol in made], timeout=limit + PATIENCE)
    answers.seconds = perf_counter() - started
    for transport, protocol in made:
        if not protocol.finished.done():
            transport.abort()
            await protocol.finished
    return answers


def run(ports: Sequence[int], requests: Sequence[bytes], connections: int, limit: float) -> Answers:
    """Send the requests, at most for `limit` seconds, the connections dealt out evenly over the ports."""
    return uvloop.run(_run(ports, requests, connections, limit))
