"""The inbox of each resident: every notice lies there, whatever becomes of the message by WeChat."""

import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Select, Text, Uuid, cast, column, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import new_id
from app.models.catalogue import HealthcareService
from app.models.funds import Fund
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.messages import InboxMessage, MessageCredit, MessageStatus, NoticeKind, SubscriptionMessage
from app.services import audit
from app.services.messages import texts
from app.services.messages.texts import Language


@dataclass(frozen=True, slots=True)
class Notice:
    """What these people are told about one thing. `once` tells apart notices of one kind about it."""

    people: Collection[uuid.UUID | None]
    entity_id: uuid.UUID
    values: Mapping[str, str]
    once: str = ""


async def tell(
    db: AsyncSession, kind: NoticeKind, people: Collection[uuid.UUID | None], *, entity: str, entity_id: uuid.UUID,
    values: Mapping[str, str], once: str = "",
) -> None:  # fmt: skip
    """One notice to each of these people, once for each kind, thing and `once`. In `values` what, where and when stand;
    never a name, a result or a diagnosis."""
    await tell_many(db, kind, [Notice(people, entity_id, values, once)], entity=entity)


async def tell_many(db: AsyncSession, kind: NoticeKind, notices: Iterable[Notice], *, entity: str) -> None:
    """Any number of notices in one statement, with the messages by WeChat for those who agreed to one. Nothing is told
    to who died, to who is erased, or about whom nothing is done but storing."""
    rows = sorted(
        (str(person), str(one.entity_id), one.once, str(new_id()), json.dumps(texts.checked(one.values)))
        for one in notices
        for person in {person for person in one.people if person is not None}
    )
    if not rows:
        return
    columns = ("id", "person_id", "kind", "entity", "entity_id", "once", "values", "created_at")
    told = insert(InboxMessage).from_select(columns, _given(kind, entity, rows)).on_conflict_do_nothing()
    template_id = texts.template_of(kind)
    if template_id is None:
        await db.execute(told)
        return
    new = told.returning(InboxMessage.id, InboxMessage.person_id).cte("told")
    due = (
        select(func.gen_random_uuid(), ResidentAccount.id, new.c.id, *_queued())
        .join(ResidentAccount, ResidentAccount.person_id == new.c.person_id)
        .join(MessageCredit, MessageCredit.account_id == ResidentAccount.id)
        .where(MessageCredit.template_id == template_id, MessageCredit.remaining > 0)
    )
    await db.execute(insert(SubscriptionMessage).from_select(OUTBOX, due))


OUTBOX = ("id", "account_id", "inbox_message_id", "status", "created_at", "next_attempt_at")


def _queued() -> list[Any]:
    return [literal(MessageStatus.QUEUED.value), literal(clock.now()), literal(clock.now())]


def _given(kind: NoticeKind, entity: str, rows: Sequence[tuple[str, ...]]) -> Select[Any]:
    """In one order, so that two that tell the same people do not wait for each other."""
    people, entities, onces, ids, values = (list(part) for part in zip(*rows, strict=True))
    arrays = [
        cast([uuid.UUID(id) for id in part], ARRAY(Uuid)) for part in (ids, people, entities)
    ] + [cast(part, ARRAY(Text)) for part in (onces, values)]  # fmt: skip
    given = (
        func.unnest(*arrays)
        .table_valued(
            column("id", Uuid), column("person_id", Uuid), column("entity_id", Uuid), column("once", Text),
            column("said", Text),
        )
        .render_derived(name="given")
    )  # fmt: skip
    alive = (Person.died_on.is_(None), Person.erased_at.is_(None), Person.restricted_at.is_(None))
    return (
        select(
            given.c.id, given.c.person_id, literal(kind.value), literal(entity), given.c.entity_id, given.c.once,
            cast(given.c.said, JSONB), literal(clock.now()),
        )
        .join(Person, Person.id == given.c.person_id)
        .where(*alive)
        .order_by(given.c.person_id, given.c.entity_id, given.c.once)
    )  # fmt: skip


async def listed(
    db: AsyncSession, actor: Actor, *, language: Language, unread: bool, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """One's own notices, newest first, as read in this language."""
    query = select(InboxMessage).where(visible(actor, InboxMessage))
    if unread:
        query = query.where(InboxMessage.read_at.is_(None))
    if before is not None:
        query = query.where(InboxMessage.id < before)
    rows = list(await db.scalars(query.order_by(InboxMessage.id.desc()).limit(limit)))
    return await _read(db, rows, language)


async def _read(db: AsyncSession, rows: list[InboxMessage], language: Language) -> list[dict[str, Any]]:
    names = await _english(db, rows) if language == "en" else {}
    shown = []
    for row in rows:
        title, body = texts.render(row, language, service=names.get(str(row.values.get("service"))))
        shown.append({
            "id": row.id, "kind": row.kind, "title": title, "body": body, "page": texts.page_of(row),
            "entity": row.entity, "entity_id": row.entity_id, "created_at": row.created_at, "read_at": row.read_at,
        })  # fmt: skip
    return shown


async def _english(db: AsyncSession, rows: list[InboxMessage]) -> dict[str, str]:
    zh = {str(row.values.get("service")) for row in rows}
    services = select(HealthcareService.zh, HealthcareService.en).where(HealthcareService.zh.in_(zh))
    funds = select(Fund.zh, Fund.en).where(Fund.zh.in_(zh))
    return {row.zh: row.en for row in await db.execute(services.union_all(funds))}


async def unread(db: AsyncSession, actor: Actor) -> int:
    mine = select(func.count()).where(visible(actor, InboxMessage), InboxMessage.read_at.is_(None))
    return await db.scalar(mine) or 0


async def mark_read(db: AsyncSession, actor: Actor, id: uuid.UUID, *, language: Language) -> dict[str, Any]:
    row = await fetch(db, actor, InboxMessage, id, lock=True)
    if row.read_at is None:
        row.read_at = clock.now()
        await audit.record(db, actor, "mark_read", "inbox_message", row.id, people=[row.person_id])
    return (await _read(db, [row], language))[0]


async def mark_all_read(db: AsyncSession, actor: Actor) -> int:
    """Returns how many were unread."""
    mine = update(InboxMessage).where(visible(actor, InboxMessage), InboxMessage.read_at.is_(None))
    seen = await db.execute(mine.values(read_at=clock.now()).returning(InboxMessage.person_id))
    people = list(seen.scalars())
    await audit.record(db, actor, "mark_read", "inbox_message", people=people)
    return len(people)


async def purge(db: AsyncSession, *, before: datetime) -> None:
    """What was told so long ago, read or not, and what became of it by WeChat."""
    old = select(InboxMessage.id).where(InboxMessage.created_at < before)
    await db.execute(delete(SubscriptionMessage).where(SubscriptionMessage.inbox_message_id.in_(old)))
    await db.execute(delete(InboxMessage).where(InboxMessage.created_at < before))
