"""One signed request, one answer of bounded size that nobody has verified yet."""

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from app.integrations.wechat_pay import signing
from app.integrations.wechat_pay.values import WechatPayUnavailable
from app.settings import settings

log = logging.getLogger("nuanxin.wechat_pay")

TIMEOUT_SECONDS = 5
ANSWER_LIMIT = 1_000_000


@dataclass(frozen=True)
class Answer:
    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    content: bytes


def hosts() -> list[str]:
    """WeChat Pay's host and its spare one."""
    config = settings()
    return [config.wechat_pay_base_url, *filter(None, [config.wechat_pay_spare_url])]


async def send(
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    limit: int = ANSWER_LIMIT,
    seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """A client per call belongs to no event loop and cannot outlive one."""
    if not settings().wechat_pay_ready:
        log.error("wechat pay is not set up")
        raise WechatPayUnavailable("NOT_SET_UP")
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=_tls(), trust_env=False) as client,
        ):
            request = client.build_request(method, url, params=params, content=content, headers=_headers())
            request.headers["Authorization"] = signing.authorization(method, request.url.raw_path, content)
            response = await client.send(request, stream=True)
            return Answer(response.status_code, response.headers, await _bounded(response, limit))
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise WechatPayUnavailable from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise WechatPayUnavailable(maybe_done=True) from error


def _headers() -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        # A compressed answer could be larger than its limit before anybody notices.
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "Nuanxin",
    }
    if id := next(iter(settings().wechat_pay_public_keys), None):
        headers["Wechatpay-Serial"] = id
    return headers


async def _bounded(response: httpx.Response, limit: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > limit:
            log.error("wechat pay answered with more than expected", extra={"fields": {"limit": limit}})
            raise WechatPayUnavailable(maybe_done=True)
        parts.append(part)
    return b"".join(parts)


@cache
def _tls() -> ssl.SSLContext:
    """Loading the certificate authorities takes longer than the call, so it is done once."""
    return httpx.create_ssl_context(trust_env=False)
