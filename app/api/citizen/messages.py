"""Agreeing to reminders."""

from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, View, example, resident_may
from app.models.messages import MessageKind
from app.services import messages

router = APIRouter(tags=["消息 messages"])


class AllowMessage(Body):
    model_config = example(kind="appointment_reminder")

    kind: MessageKind


class Credit(View):
    kind: MessageKind
    remaining: int


@router.post("/message-credits", status_code=201, summary="订阅一次提醒 Allow one reminder")
async def allow_message(
    db: Db,
    actor: Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)],
    key: IdempotencyKey,
    body: AllowMessage,
) -> Credit:
    """Call it when `wx.requestSubscribeMessage` answers "accept": one tap is one message."""
    return Credit(kind=body.kind, remaining=await messages.add_credit(db, actor, key=key, kind=body.kind))
