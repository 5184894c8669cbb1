"""The files of a day: made after 10:00 of the next one, kept for three months."""

import hashlib
import logging
from datetime import date
from typing import Literal

import httpx
from pydantic import BaseModel, Field

from app import clock
from app.integrations.wechat_pay import calling, sending
from app.integrations.wechat_pay.values import (
    AnswerNotGenuine,
    Bill,
    BillKind,
    BillNotReady,
    WechatPayRefused,
    WechatPayUnavailable,
)

log = logging.getLogger("nuanxin.wechat_pay")

BILL_LIMIT, DOWNLOAD_SECONDS = 100_000_000, 120


class _Address(BaseModel):
    hash_type: Literal["SHA1"]
    hash_value: str = Field(pattern="^[0-9A-Fa-f]{40}$")
    download_url: str = Field(max_length=4096)


async def trade_bill(day: date) -> Bill | None:
    """Payments and refunds of the day; None: there were none. BillNotReady: ask later."""
    return await _bill(BillKind.TRADE, day, "/v3/bill/tradebill", {"bill_type": "ALL"})


async def fund_flow_bill(day: date) -> Bill | None:
    """Every movement of the merchant's balance on the day; None: there were none. BillNotReady: ask later."""
    return await _bill(BillKind.FUND_FLOW, day, "/v3/bill/fundflowbill", {"account_type": "BASIC"})


async def _bill(kind: BillKind, day: date, path: str, options: dict[str, str]) -> Bill | None:
    if day >= clock.today():
        raise BillNotReady
    try:
        params = {"bill_date": day.isoformat(), **options}
        answer = await calling.call("GET", path, repeat_lost=True, params=params)
    except WechatPayRefused as refused:
        if refused.code == "NO_STATEMENT_EXIST":
            return None
        if refused.code == "STATEMENT_CREATING":
            raise BillNotReady from refused
        raise
    address = calling.read(_Address, answer)
    content = await _download(address.download_url)
    # The file comes unsigned; the hash came signed.
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if digest != address.hash_value.lower():
        log.error("the bill is not the one that WeChat hashed", extra={"fields": {"day": day.isoformat()}})
        raise AnswerNotGenuine
    return Bill(kind, day, content, digest)


async def _download(url: str) -> bytes:
    """From WeChat's own hosts only: our signature goes nowhere else."""
    if not any(_same_host(url, host) for host in sending.hosts()):
        log.error("the bill lies on another host")
        raise AnswerNotGenuine
    answer = await sending.send("GET", url, limit=BILL_LIMIT, seconds=DOWNLOAD_SECONDS)
    if answer.status != 200:
        raise WechatPayUnavailable
    return answer.content


def _same_host(url: str, host: str) -> bool:
    try:
        ours, theirs = httpx.URL(host), httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return (ours.scheme, ours.host, ours.port) == (
        theirs.scheme,
        theirs.host,
        theirs.port,
    ) and not theirs.userinfo
