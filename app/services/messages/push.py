"""What WeChat itself tells of what residents agreed to: its message push, as JSON.
Source: developers.weixin.qq.com, 消息推送, subscribe_msg_popup_event, subscribe_msg_change_event."""

import hashlib
import json
import uuid
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.crypto import same
from app.errors import Forbidden, NotFound
from app.integrations import wechat_push
from app.models.identity import ResidentAccount, Role
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.messages import credits, texts
from app.settings import settings

POPUP, CHANGE = "subscribe_msg_popup_event", "subscribe_msg_change_event"
SKEW = timedelta(minutes=5)


class PushRefused(Forbidden):
    """Not signed with the token, or not sealed with the key, that was agreed with WeChat; or not now."""

    zh, en = "推送签名或密文无效", "The signature or the seal of the push is not valid"
    do_zh = "请核对消息推送的令牌、加密方式和 EncodingAESKey"
    do_en = "Compare the token, the mode and the EncodingAESKey of the message push"


class Answer(BaseModel):
    template: str = Field(alias="TemplateId", max_length=100)
    said: str = Field(alias="SubscribeStatusString", max_length=20)


class Event(BaseModel):
    openid: str = Field(alias="FromUserName", pattern="^[!-~]{1,100}$")
    event: str = Field(alias="Event", max_length=100)
    # One alone comes without its list.
    answers: Annotated[
        list[Answer], BeforeValidator(lambda given: [given] if isinstance(given, dict) else given)
    ] = Field(default=[], alias="List", max_length=20)


class Sealed(BaseModel):
    encrypted: str = Field(alias="Encrypt")


def check(signature: str, timestamp: str, nonce: str) -> None:
    """It is WeChat that speaks, and now. The body is not covered: a forged tap would cost no more than a message that
    WeChat refuses, and what is sealed has a signature of its own."""
    now = int(clock.now().timestamp())
    if not _signed(signature, timestamp, nonce) or abs(now - int(timestamp)) > SKEW.total_seconds():
        raise PushRefused


def _signed(signature: str | None, *parts: str) -> bool:
    """Nobody listens where no token is set."""
    token = settings().wechat_push_token
    if token is None:
        raise NotFound
    expected = wechat_push.signature(token.get_secret_value(), *parts)
    return signature is not None and same(signature.encode(), expected.encode())


def opened(body: bytes, timestamp: str, nonce: str, msg_signature: str | None) -> bytes:
    """What WeChat says. Where a key is set, only what is sealed with it is believed."""
    key = settings().wechat_push_key
    if key is None:
        return body
    try:
        sealed = Sealed.model_validate_json(body).encrypted
        if not _signed(msg_signature, timestamp, nonce, sealed):
            raise PushRefused
        return wechat_push.opened(sealed, key=key.get_secret_value(), appid=settings().wechat_appid)
    except (ValidationError, wechat_push.Unreadable) as error:
        raise PushRefused from error


async def hear(db: AsyncSession, body: bytes) -> None:
    """One more message for each template that was accepted; none for one that was forbidden. The same push again, as
    WeChat sends it when our answer was late, counts once. Whatever else is pushed is not for us."""
    event = _event(body)
    if event is None or event.event not in (POPUP, CHANGE):
        return
    account = await db.scalar(select(ResidentAccount).where(ResidentAccount.openid == event.openid))
    if account is None:
        return
    resident = Actor(Role.RESIDENT, id=account.id)
    print_ = hashlib.sha256(body).digest()
    if not await idempotency.claim(db, resident, Key(uuid.UUID(bytes=print_[:16]), print_)):
        return
    for answer in sorted(event.answers, key=lambda one: one.template):
        if texts.kinds_of(answer.template):
            await _count(db, resident, event.event, answer)
    await audit.record(db, resident, "allow_message", "message_credit")


async def _count(db: AsyncSession, resident: Actor, event: str, answer: Answer) -> None:
    if event == CHANGE and answer.said == "reject":
        await credits.none_left(db, resident.account_id, answer.template)
    elif event == POPUP and answer.said == "accept":
        await credits.agreed(db, resident.account_id, answer.template)
        await credits.send_what_waits(db, resident, answer.template)


def _event(body: bytes) -> Event | None:
    try:
        given: Any = json.loads(body)
        return Event.model_validate(given)
    except (ValueError, RecursionError, ValidationError):
        return None
