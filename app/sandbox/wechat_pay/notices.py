"""Notices posted to the merchant, as they should be and with every kind of mischief, until they are answered 2xx."""

import asyncio
import base64
import json
import secrets
import ssl
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import httpx

from app import clock
from app.sandbox.wechat_pay.book import Book, Order, Refund, refunded, stamped
from app.sandbox.wechat_pay.signatures import Signatures

# WeChat's own: 15 s, 15 s, 30 s, 3 min … for a day.
LADDER = (0.2, 0.5, 1, 2, 5, 10)
ANSWER_SECONDS, AT_ONCE = 5, 16


class Kind(StrEnum):
    GENUINE = "genuine"
    STALE = "stale"
    EARLY = "early"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SERIAL = "unknown_serial"
    SIGNTEST = "signtest"
    TAMPERED = "tampered"
    OTHER_MERCHANT = "other_merchant"
    OTHER_APP = "other_app"
    OTHER_CURRENCY = "other_currency"
    OTHER_AMOUNT = "other_amount"


@dataclass
class Delivery:
    """One notice on its way: the last answer, and how often it was sent."""

    id: str
    kind: Kind
    number: str
    status: int | None = None
    tries: int = 0


class Notices:
    def __init__(self, book: Book, signatures: Signatures) -> None:
        self.book, self.signatures = book, signatures
        self.ids: dict[tuple[str, str], str] = {}
        self.deliveries: list[Delivery] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.places = asyncio.Semaphore(AT_ONCE)

    def post(self, about: Order | Refund, kinds: list[Kind]) -> None:
        """In this order, each after the answer to the one before; later tries do not hold up the rest."""
        if kinds:
            self._start(self._series(about, kinds))

    def id(self, about: Order | Refund) -> str:
        """The same at every delivery of an event."""
        return self.ids.setdefault((about.number, self._event_type(about)), secrets.token_hex(18))

    async def settled(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)

    def told(self) -> list[dict[str, Any]]:
        return [asdict(delivery) for delivery in self.deliveries]

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _series(self, about: Order | Refund, kinds: list[Kind]) -> None:
        for kind in kinds:
            delivery = Delivery(self.id(about), kind, about.number)
            self.deliveries.append(delivery)
            await self._send(about, delivery)
            if kind is Kind.GENUINE and not _taken(delivery):
                self._start(self._again(about, delivery))

    async def _again(self, about: Order | Refund, delivery: Delivery) -> None:
        for seconds in LADDER:
            await asyncio.sleep(seconds)
            await self._send(about, delivery)
            if _taken(delivery):
                return

    async def _send(self, about: Order | Refund, delivery: Delivery) -> None:
        """Sealed and signed anew each time."""
        delivery.tries += 1
        body, headers = self.made(about, delivery.kind, delivery.id)
        url = about.asked.get("notify_url") or self._order(about).asked["notify_url"]
        options: dict[str, Any] = {"timeout": ANSWER_SECONDS, "verify": _tls(), "trust_env": False}
        try:
            async with self.places, httpx.AsyncClient(**options) as client:
                delivery.status = (await client.post(url, content=body, headers=headers)).status_code
        except httpx.HTTPError:
            delivery.status = None

    def made(self, about: Order | Refund, kind: Kind, id: str) -> tuple[bytes, dict[str, str]]:
        """The body as sent, and its headers."""
        plain = self._mischief(self._plain(about), kind)
        original = "refund" if isinstance(about, Refund) else "transaction"
        resource = self.signatures.seal(json.dumps(plain, ensure_ascii=False).encode(), original)
        if kind is Kind.TAMPERED:
            sealed = bytearray(base64.b64decode(resource["ciphertext"]))
            sealed[-1] ^= 1
            resource["ciphertext"] = base64.b64encode(sealed).decode()
        envelope = {
            "id": id,
            "create_time": stamped(clock.now()),
            "resource_type": "encrypt-resource",
            "event_type": self._event_type(about),
            "summary": "支付成功" if original == "transaction" else "退款通知",
            "resource": {"original_type": original, **resource},
        }
        body = json.dumps(envelope, ensure_ascii=False).encode()
        return body, self._headers(body, kind, self._order(about).serial)

    def _headers(self, body: bytes, kind: Kind, serial: str) -> dict[str, str]:
        apart = {Kind.STALE: -timedelta(minutes=6), Kind.EARLY: timedelta(minutes=6)}.get(kind, timedelta())
        headers = self.signatures.headers(body, serial, clock.now() + apart)
        if kind is Kind.SIGNTEST:
            headers["Wechatpay-Signature"] = "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"][19:]
        if kind is Kind.BAD_SIGNATURE:
            headers["Wechatpay-Signature"] = base64.b64encode(secrets.token_bytes(256)).decode()
        if kind is Kind.UNKNOWN_SERIAL:
            headers["Wechatpay-Serial"] = secrets.token_hex(20).upper()
        return headers | {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0"}

    def _mischief(self, plain: dict[str, Any], kind: Kind) -> dict[str, Any]:
        if kind is Kind.OTHER_MERCHANT:
            plain["mchid"] = "1900000999"
        if kind is Kind.OTHER_APP and "appid" in plain:
            plain["appid"] = "wx9999999999999999"
        if kind is Kind.OTHER_CURRENCY:
            plain["amount"]["currency"] = "USD"
        if kind is Kind.OTHER_AMOUNT:
            plain["amount"]["refund" if "refund" in plain["amount"] else "total"] += 1
        return plain

    def _plain(self, about: Order | Refund) -> dict[str, Any]:
        if isinstance(about, Order):
            # A notice tells of the payment, whatever came after it.
            return self.book.described(about) | {"trade_state": "SUCCESS", "trade_state_desc": "支付成功"}
        told = self.book.described_refund(about)
        kept = (
            "out_trade_no",
            "transaction_id",
            "out_refund_no",
            "refund_id",
            "user_received_account",
            "success_time",
        )
        return {name: told[name] for name in kept if name in told} | {
            "mchid": self.book.merchant.mchid,
            "refund_status": about.status,
            "amount": refunded(about),
        }

    def _event_type(self, about: Order | Refund) -> str:
        return f"REFUND.{about.status}" if isinstance(about, Refund) else "TRANSACTION.SUCCESS"

    def _order(self, about: Order | Refund) -> Order:
        return about.order if isinstance(about, Refund) else about


def _taken(delivery: Delivery) -> bool:
    return delivery.status is not None and 200 <= delivery.status < 300


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
