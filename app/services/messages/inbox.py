"""The inbox of each resident: every notice lies there, whatever becomes of the message by WeChat."""

import uuid
from collections.abc import Collection, Mapping

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.messages import InboxMessage, NoticeKind


async def tell(
    db: AsyncSession, kind: NoticeKind, people: Collection[uuid.UUID | None], *, entity: str, entity_id: uuid.UUID,
    values: Mapping[str, str], once: str = "",
) -> None:  # fmt: skip
    """One notice to each of these people, once for each kind, thing and `once`. In `values` what, where and when stand;
    never a name, a result or a diagnosis."""
    rows = [
        {
            "id": new_id(), "person_id": person, "kind": kind, "entity": entity, "entity_id": entity_id,
            "once": once, "values": dict(values), "created_at": clock.now(),
        }
        for person in sorted({one for one in people if one is not None})
    ]  # fmt: skip
    if rows:
        await db.execute(insert(InboxMessage).values(rows).on_conflict_do_nothing())
