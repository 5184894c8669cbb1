"""The WeChat access token that all processes share, renewed by one of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.db import begin
from app.integrations import wechat
from app.models.messages import WechatToken
from app.settings import settings

Result = TypeVar("Result")
LEASE = timedelta(seconds=15)
# In its last five minutes WeChat hands out a new token while the old one still works.
RENEW_BEFORE = timedelta(minutes=5)


async def call(action: Callable[[str], Awaitable[Result]]) -> Result:
    """Do something with the token. If WeChat says that it is no longer good, once more with a new one."""
    token = await current()
    try:
        return await action(token)
    except wechat.TokenRejected:
        renewed = await current(rejected=token)
    try:
        return await action(renewed)
    except wechat.TokenRejected as error:
        raise wechat.WechatUnavailable from error


async def current(*, rejected: str | None = None) -> str:
    """A good token. The process that takes the lease fetches it, outside of any transaction; others go on with
    the old one while it is good, and wait where it is not."""
    for _ in range(60):
        token, lease_is_ours = await _look(rejected)
        if lease_is_ours:
            return await _renew()
        if token is not None:
            return token
        await asyncio.sleep(0.25)
    raise wechat.WechatUnavailable


async def _look(rejected: str | None) -> tuple[str | None, bool]:
    now = clock.now()
    async with begin() as db:
        row = await db.scalar(select(WechatToken).where(WechatToken.id == settings().wechat_appid))
        if row is None:
            blank = {"id": settings().wechat_appid, "expires_at": now, "refreshing_until": now}
            await db.execute(insert(WechatToken).values(blank).on_conflict_do_nothing())
            return None, False
        good = row.token if row.expires_at > now and row.token != rejected else None
        if good and row.expires_at > now + RENEW_BEFORE:
            return good, False
        lease = (
            update(WechatToken)
            .where(WechatToken.id == row.id, WechatToken.refreshing_until <= now)
            .where(or_(WechatToken.expires_at == row.expires_at, WechatToken.expires_at <= now))
            .values(refreshing_until=now + LEASE)
            .returning(WechatToken.id)
        )
        return good, await db.scalar(lease) is not None


async def _renew() -> str:
    token, seconds = await wechat.stable_token()
    async with begin() as db:
        row = await db.get_one(WechatToken, settings().wechat_appid)
        row.token = token
        row.expires_at = clock.now() + timedelta(seconds=seconds)
        row.refreshing_until = clock.now()
    return token
