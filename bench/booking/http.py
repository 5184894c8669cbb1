"""Bookings through HTTP, or any request again and again, sent by the client process."""

import asyncio
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from app import tokens
from app.services.identity import DOOR
from bench import load
from bench.booking import rows
from bench.booking.plan import CLIENTS, Runner, Size, Workload
from bench.load import HOST
from bench.report import Run
from bench.stage import Servers, numbered

JSON = "Content-Type: application/json\r\n"


def bookings(workload: Workload, count: int, access: Sequence[str]) -> list[bytes]:
    """One booking for each resident, the slots in turn; where there are reads, theirs are among the count."""
    made = []
    for number in range(count // (4 if workload.reads else 1)):
        body = b'{"slot_id":"%s"}' % str(numbered(rows.SLOT, number % workload.slots + 1)).encode()
        bearer = f"Bearer {access[number]}"
        if workload.reads:
            looks = ["slots?service=pre_pregnancy_check", "appointments", "slots?service=pre_pregnancy_check"]
            made += [request("GET", f"{DOOR}/{path}", bearer) for path in looks]
        key = f"Idempotency-Key: {uuid.uuid4()}\r\n"
        made.append(request("POST", f"{DOOR}/appointments", bearer, key + JSON, body))
    return made


def request(method: str, path: str, authorization: str, more: str = "", body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {authorization}\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Http:
    def __init__(self, client: ProcessPoolExecutor, url: str, size: Size) -> None:
        self.client, self.url, self.size = client, url, size
        accounts = [numbered(rows.ACCOUNT, number + 1) for number in range(size.residents)]
        self.access = [tokens.issue_access(DOOR, account, account) for account in accounts]

    def bookings(self, workload: Workload, count: int) -> list[bytes]:
        return bookings(workload, count, self.access)

    def book(self, servers: Servers, clients: int = CLIENTS) -> Runner:
        def run(workload: Workload) -> Run:
            requests = self.bookings(workload, self.size.requests)
            return self.judged(workload, *self.send(servers, requests, clients))

        return run

    def judged(self, workload: Workload, answers: load.Answers, cpu: float) -> Run:
        shed = sum(sample[:2] == (503, "busy") for sample in answers.samples)
        wanted = {(409, "slot-full")} if workload.full else {(201, "")}
        wanted |= {(200, "")} if workload.reads else set()
        good = [sample[2] for sample in answers.samples if sample[:2] in wanted]
        booked = sum(sample[0] == 201 for sample in answers.samples)
        refused = sum(400 <= sample[0] < 500 for sample in answers.samples)
        read = sum(sample[0] == 200 for sample in answers.samples)
        dropped = answers.dropped + len(answers.samples) - booked - refused - read - shed
        void = asyncio.run(rows.violations(self.url, confirmed=booked, unsure=dropped))
        if len(good) + shed < len(answers.samples):
            void.append(f"{len(answers.samples) - len(good) - shed} answers of another kind than {wanted}")
        return Run(len(good) / answers.seconds, good, cpu, refused, dropped, shed, answers.late, void)

    def repeat(self, servers: Servers, path: str) -> Run:
        requests = [request("GET", path, f"Bearer {self.access[0]}")] * self.size.requests
        answers, cpu = self.send(servers, requests, CLIENTS)
        latencies = [seconds for status, _, seconds in answers.samples if status == 200]
        return Run(len(latencies) / answers.seconds, latencies, cpu, dropped=answers.dropped)

    def send(self, servers: Servers, requests: list[bytes], clients: int) -> tuple[load.Answers, float]:
        """The answers, and the servers' processor seconds for each."""
        before = servers.cpu()
        work = self.client.submit(load.run, servers.ports, requests, clients, self.size.seconds)
        answers = work.result()
        return answers, (servers.cpu() - before) / max(1, len(answers.samples))
