"""How many messages of a WeChat template somebody agreed to: one for each tap on "allow". WeChat cannot be asked."""

import uuid
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.db import new_id
from app.errors import Conflict
from app.models.messages import InboxMessage, MessageCredit, MessageStatus, NoticeKind, SubscriptionMessage
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.messages import texts, timing
from app.settings import settings

MOST = 20
#: Of the latest notices, one may be worth sending now that it may be.
LATEST = 10


class NoTemplate(Conflict):
    """The association has no WeChat template for this kind of notice."""

    zh, en = "此类通知不通过微信发送", "Notices of this kind are not sent by WeChat"
    do_zh, do_en = "请在小程序的消息中查看", "Read them in the inbox of the mini-program"


async def add_credit(db: AsyncSession, actor: Actor, *, key: Key, kind: NoticeKind) -> int:
    """The resident tapped "allow" once: one more message of this kind's template may be sent. Returns how many may.
    Where WeChat itself tells of such taps, this one is not counted twice."""
    template_id = texts.template_of(kind)
    if template_id is None:
        raise NoTemplate
    if await idempotency.claim(db, actor, key) and settings().wechat_push_token is None:
        await agreed(db, actor.account_id, template_id)
        await send_what_waits(db, actor, template_id)
        await audit.record(db, actor, "allow_message", "message_credit")
    return await remaining(db, actor.account_id, template_id)


async def remaining(db: AsyncSession, account_id: uuid.UUID, template_id: str) -> int:
    known = select(MessageCredit.remaining).where(*_of(account_id, template_id))
    return await db.scalar(known) or 0


async def overview(db: AsyncSession, actor: Actor) -> list[dict[str, Any]]:
    """What may be asked for with `wx.requestSubscribeMessage`, and how many messages may still be sent."""
    mine = select(MessageCredit.template_id, MessageCredit.remaining)
    rows = await db.execute(mine.where(MessageCredit.account_id == actor.account_id))
    known = {row.template_id: row.remaining for row in rows}
    return [
        {"kind": kind, "template_id": template_id, "remaining": known.get(template_id, 0)}
        for kind in NoticeKind
        if (template_id := texts.template_of(kind))
    ]


def _of(account_id: uuid.UUID, template_id: str) -> tuple[Any, Any]:
    return MessageCredit.account_id == account_id, MessageCredit.template_id == template_id


async def agreed(db: AsyncSession, account_id: uuid.UUID, template_id: str) -> None:
    values = {"account_id": account_id, "template_id": template_id, "remaining": 1}
    one_more = {"remaining": func.least(MessageCredit.remaining + 1, MOST)}
    statement = insert(MessageCredit).values(values)
    await db.execute(statement.on_conflict_do_update(constraint="pk_message_credit", set_=one_more))


async def none_left(db: AsyncSession, account_id: uuid.UUID, template_id: str) -> None:
    """WeChat says so (43101), or the resident has forbidden the template: what we counted was wrong."""
    await db.execute(update(MessageCredit).where(*_of(account_id, template_id)).values(remaining=0))


async def use(db: AsyncSession, account_id: uuid.UUID, template_id: str) -> bool:
    one_less = update(MessageCredit).where(*_of(account_id, template_id), MessageCredit.remaining > 0)
    used = one_less.values(remaining=MessageCredit.remaining - 1).returning(MessageCredit.remaining)
    return await db.scalar(used) is not None


async def send_what_waits(db: AsyncSession, actor: Actor, template_id: str) -> None:
    """The latest unread notice that could not be sent for want of a credit, if it is still worth it: a reminder that
    was written between the booking and the tap."""
    tried = exists().where(
        SubscriptionMessage.inbox_message_id == InboxMessage.id,
        SubscriptionMessage.account_id == actor.account_id,
    )
    query = select(InboxMessage).where(visible(actor, InboxMessage), InboxMessage.read_at.is_(None), ~tried)
    query = query.where(InboxMessage.kind.in_(texts.kinds_of(template_id)))
    now = clock.now()
    for notice in await db.scalars(query.order_by(InboxMessage.id.desc()).limit(LATEST)):
        if timing.ends(notice) > now:
            values = {
                "id": new_id(), "account_id": actor.account_id, "inbox_message_id": notice.id,
                "status": MessageStatus.QUEUED, "created_at": now, "next_attempt_at": now,
            }  # fmt: skip
            await db.execute(insert(SubscriptionMessage).values(values).on_conflict_do_nothing())
            return
