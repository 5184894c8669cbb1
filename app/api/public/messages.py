"""What WeChat's servers post to us: signed with the token of its message push."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from app.api.deps import Db
from app.errors import NotFound, problems
from app.services.messages import push
from app.services.messages.push import PushRefused

router = APIRouter(tags=["消息 messages"])
Signature = Annotated[str, Query(pattern="^[0-9a-f]{40}$")]
Timestamp = Annotated[str, Query(pattern="^[0-9]{1,12}$")]
Nonce = Annotated[str, Query(pattern="^[0-9A-Za-z]{1,40}$")]
MessageSignature = Annotated[str | None, Query(pattern="^[0-9a-f]{40}$")]
Echo = Annotated[str, Query(pattern="^[0-9A-Za-z_-]{1,100}$")]


@router.get(
    "/wechat/events",
    summary="微信消息推送验证 WeChat checks the address",
    responses=problems(NotFound, PushRefused),
    response_class=PlainTextResponse,
)
async def check_wechat_push(signature: Signature, timestamp: Timestamp, nonce: Nonce, echostr: Echo) -> str:
    """Once, when the address is entered in WeChat's console."""
    push.check(signature, timestamp, nonce)
    return echostr


@router.post(
    "/wechat/events",
    summary="微信消息推送 WeChat tells of an event",
    responses=problems(NotFound, PushRefused),
    response_class=PlainTextResponse,
)
async def take_wechat_push(
    request: Request, db: Db, signature: Signature, timestamp: Timestamp, nonce: Nonce,
    msg_signature: MessageSignature = None,
) -> str:  # fmt: skip
    """In JSON: plain (明文模式), or sealed where a key is set (安全模式, 兼容模式). Events that are not about
    subscription messages are answered and forgotten."""
    push.check(signature, timestamp, nonce)
    said = push.opened(await request.body(), timestamp, nonce, msg_signature)
    await push.hear(db, said)
    return "success"
