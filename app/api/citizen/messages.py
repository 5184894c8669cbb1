"""The inbox, and agreeing to messages by WeChat."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Listing, Paging, View, example, listing, resident_may
from app.errors import NotFound, language_of, problems
from app.models.messages import NoticeKind
from app.services import messages
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.messages.credits import NoTemplate
from app.services.messages.texts import Language

router = APIRouter(tags=["消息 messages"])
Own = Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)]


def _language(request: Request) -> Language:
    return "en" if language_of(request) == "en" else "zh"


Spoken = Annotated[Language, Depends(_language)]


class MessageView(View):
    """A notice, worded in the language of `Accept-Language`. `page`: of the mini-program, to open with a tap."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e31",
        kind="appointment_reminder",
        title="预约提醒",
        body="您预约的免费孕前优生健康检查：2026年12月1日 09:00，优生门诊。请携带身份证，按检查须知做好准备。",
        page="pages/appointment?id=0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21&message=0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e31",
        entity="appointment",
        entity_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21",
        created_at="2026-11-30T01:00:00Z",
        read_at=None,
    )

    id: uuid.UUID
    kind: NoticeKind
    title: str
    body: str
    page: str
    entity: str
    entity_id: uuid.UUID
    created_at: datetime
    read_at: datetime | None


class Unread(View):
    unread: int


class MarkedRead(View):
    marked: int


class AllowMessage(Body):
    model_config = example(kind="appointment_reminder")

    kind: NoticeKind


class Credit(View):
    kind: NoticeKind
    remaining: int


class Template(Credit):
    """What to ask for with `wx.requestSubscribeMessage`. Kinds that share a template share its credits."""

    template_id: str


@router.get("/messages", summary="我的消息 Own messages")
async def list_messages(
    db: Db, actor: Own, page: Paging, language: Spoken, unread: Annotated[bool, Query()] = False
) -> Listing[MessageView]:
    """Newest first; with `unread=true` only those not read yet."""
    after = page.after_one(uuid.UUID)
    rows = await messages.listed(
        db, actor, language=language, unread=unread, before=after, limit=page.limit + 1
    )
    return Listing.model_validate(listing(rows, page, lambda row: (row["id"],)))


@router.get("/messages/unread", summary="未读消息数 How many are unread")
async def count_unread_messages(db: Db, actor: Own) -> Unread:
    return Unread(unread=await messages.unread(db, actor))


@router.post("/messages/read", summary="全部标为已读 Mark all as read")
async def read_all_messages(db: Db, actor: Own) -> MarkedRead:
    return MarkedRead(marked=await messages.mark_all_read(db, actor))


@router.post("/messages/{id}/read", summary="标为已读 Mark as read", responses=problems(NotFound))
async def read_message(db: Db, actor: Own, id: uuid.UUID, language: Spoken) -> MessageView:
    """Again: the same answer."""
    row: dict[str, Any] = await messages.mark_read(db, actor, id, language=language)
    return MessageView.model_validate(row)


@router.get("/message-credits", summary="可订阅的消息 Messages that may be allowed")
async def list_message_credits(db: Db, actor: Own) -> list[Template]:
    return [Template.model_validate(one) for one in await messages.overview(db, actor)]


@router.post(
    "/message-credits",
    status_code=201,
    summary="订阅一次提醒 Allow one reminder",
    responses=problems(NoTemplate, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def allow_message(db: Db, actor: Own, key: IdempotencyKey, body: AllowMessage) -> Credit:
    """Call it when `wx.requestSubscribeMessage` answers "accept": one tap is one message."""
    return Credit(kind=body.kind, remaining=await messages.add_credit(db, actor, key=key, kind=body.kind))
