"""WeChat Pay on loopback: what the payer's phone, the bank and WeChat's control room do, outside of our system."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.sandbox.wechat_pay import Merchant, create_wechat_pay
from app.settings import settings
from tests.servers import serving


@contextmanager
def wechat_pay_server() -> Iterator[str]:
    """The stand-in for the merchant of the settings."""
    with serving(create_wechat_pay(Merchant.of(settings()))) as url:
        yield url


async def control(path: str, body: dict[str, Any] | None = None) -> Any:
    """`pay`, `refund`, `notice`, `bill`, `fail`, …: see app/sandbox/wechat_pay/control.py."""
    # Plain HTTP on loopback, so no time is spent on reading certificate authorities.
    options: dict[str, Any] = {"trust_env": False, "timeout": 60, "verify": False}
    async with httpx.AsyncClient(base_url=settings().wechat_pay_base_url, **options) as http:
        answer = await http.post(f"/control/{path}", json=body or {})
        assert answer.is_success, answer.text
        return answer.json()


async def notice(number: str, kind: str = "genuine", *, refund: bool = False) -> tuple[dict[str, str], bytes]:
    """Headers and body of a notice as WeChat would post it now, for a server that has no address."""
    made = await control("made", {"out_refund_no" if refund else "out_trade_no": number, "notices": [kind]})
    return made["headers"], made["body"].encode()
