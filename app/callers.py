"""Clients of the doors as somebody outside would write them: for the journey, the tests, and as an example."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from app import demo


class Refused(Exception):
    """The server did not answer as the story expects. A refusal is a problem document (RFC 9457)."""

    def __init__(self, message: str, answer: httpx.Response | None = None) -> None:
        super().__init__(message)
        self.answer = answer

    @property
    def problem(self) -> dict[str, Any]:
        document: dict[str, Any] = self.answer.json() if self.answer is not None else {}
        return document


@dataclass
class Caller:
    """Somebody at a door, who signs in once and then speaks JSON."""

    http: httpx.AsyncClient
    door: str
    headers: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, expect: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:  # fmt: skip
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        url = self.door + path
        sent = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        sent |= self.sign(method, url, content)
        answer = await self.http.request(method, url, content=content, headers=sent)
        if answer.is_error if expect is None else answer.status_code != expect:
            raise Refused(f"{method} {url} answered {answer.status_code}: {answer.text}", answer)
        return answer.json() if answer.content else None

    def sign(self, _method: str, _url: str, _content: bytes) -> dict[str, str]:
        return {}

    async def create(self, path: str, body: Any) -> Any:
        """POST with the id of the thing to be made: safe to repeat."""
        return await self.call("POST", path, body, headers={"Idempotency-Key": str(uuid.uuid4())})


@dataclass
class Hospital(Caller):
    """Signs every request: id.timestamp.METHOD path, a newline, the body; HMAC-SHA256 with the shared secret."""

    key_id: str = str(demo.PARTNER_KEY)
    secret: str = demo.PARTNER_SECRET

    def sign(self, method: str, url: str, content: bytes) -> dict[str, str]:
        message, sent = f"msg_{secrets.token_hex(8)}", str(int(time.time()))
        signed = f"{message}.{sent}.{method} {url}\n".encode() + content
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return {
            "Nuanxin-Key": self.key_id, "Webhook-Id": message, "Webhook-Timestamp": sent,
            "Webhook-Signature": f"v1,{signature}",
        }  # fmt: skip
