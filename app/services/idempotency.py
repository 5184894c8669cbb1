"""A creating request carries the id of the row it makes: repeating it makes nothing twice."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.crypto import same
from app.errors import Conflict, Invalid
from app.models.audit import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Key:
    """`id` becomes the row's id; `fingerprint` is a keyed hash of method, path and body."""

    id: uuid.UUID
    fingerprint: bytes


class IdempotencyKeyReused(Invalid):
    zh, en = "同一请求编号的内容不一致", "This Idempotency-Key was used with other content"
    do_zh, do_en = "请为新的请求使用新的编号", "Use a new key for a new request"


class IdempotencyKeyTaken(Conflict):
    zh, en = "该请求编号不可用", "This Idempotency-Key is not available"
    do_zh, do_en = "请更换编号后重试", "Use another key"


async def claim(db: AsyncSession, actor: Actor, key: Key) -> bool:
    """True: the key is new and the caller makes the row. False: this very request came before, and the caller
    answers with the row it made. A concurrent twin waits here until the first has committed."""
    values = {
        "id": key.id,
        "actor_id": actor.account_id,
        "fingerprint": key.fingerprint,
        "created_at": clock.now(),
    }
    made = await db.scalar(
        insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(IdempotencyKey.id)
    )
    if made is None:
        await check(db, actor, key)
    return made is not None


async def check(db: AsyncSession, actor: Actor, key: Key) -> None:
    """Whether a known key belongs to this actor and this content."""
    known = (await db.scalars(select(IdempotencyKey).where(IdempotencyKey.id == key.id))).one()
    if known.actor_id != actor.id:
        raise IdempotencyKeyTaken
    if not same(known.fingerprint, key.fingerprint):
        raise IdempotencyKeyReused


async def purge(db: AsyncSession, *, before: datetime) -> None:
    """Nobody repeats a request after so long; the row that it made stays."""
    await db.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
