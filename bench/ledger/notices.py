"""Notices of payments through HTTP: signed and sealed by WeChat Pay's stand-in, told once each."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from app import clock
from app.integrations.wechat_pay import NOTICES_PATH
from app.sandbox.wechat_pay import Merchant
from app.sandbox.wechat_pay.book import Book, Order
from app.sandbox.wechat_pay.notices import Kind, Notices
from app.sandbox.wechat_pay.signatures import Signatures
from app.settings import settings
from bench import load
from bench.ledger import rows
from bench.load import HOST
from bench.report import Run
from bench.stage import Servers, numbered


class Wechat:
    """Orders that were paid, and what is posted about them."""

    def __init__(self) -> None:
        self.merchant = Merchant.of(settings())
        signatures, self.book = Signatures(self.merchant), Book(self.merchant)
        self.notices = Notices(self.book, signatures)

    def requests(self, many: int, path: str = NOTICES_PATH) -> list[bytes]:
        """Signed just now: they are good for five minutes."""
        return [self._request(number, path) for number in range(1, many + 1)]

    def _request(self, number: int, path: str) -> bytes:
        asked = {
            "out_trade_no": numbered(rows.GIFT, number).hex, "payer": {"openid": "o-bench"},
            "amount": {"total": rows.amount_of(number)},
        }  # fmt: skip
        order = Order(asked, clock.now() + timedelta(hours=2), self.merchant.public_key_id)
        self.book.pay(order, clock.now())
        body, headers = self.notices.made(order, Kind.GENUINE, self.notices.id(order))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


@dataclass(frozen=True)
class Http:
    client: ProcessPoolExecutor
    url: str
    wechat: Wechat
    many: int
    seconds: float
    clients: int

    def tell(self, servers: Servers) -> Callable[[int], Run]:
        """Of so many orders for so many funds, each is told of once."""

        def run(funds: int) -> Run:
            asyncio.run(rows.await_payment(self.url, funds, self.many))
            answers, cpu = self._send(servers, self.wechat.requests(self.many))
            good = [seconds for status, _, seconds in answers.samples if status == 204]
            lost = answers.dropped + len(answers.samples) - len(good)
            void = asyncio.run(rows.violations_of_notices(self.url, done=len(good), unsure=lost))
            return Run(len(good) / answers.seconds, good, cpu, dropped=lost, void=void)

        return run

    def verify(self, servers: Servers) -> Run:
        """The same, of which nothing is kept."""
        answers, cpu = self._send(servers, self.wechat.requests(self.many, "/verify-only"))
        good = [seconds for status, _, seconds in answers.samples if status == 200]
        return Run(len(good) / answers.seconds, good, cpu, dropped=answers.dropped)

    def _send(self, servers: Servers, requests: list[bytes]) -> tuple[load.Answers, float]:
        before = servers.cpu()
        work = self.client.submit(load.run, servers.ports, requests, self.clients, self.seconds)
        answers = work.result()
        return answers, (servers.cpu() - before) / max(1, len(answers.samples))
