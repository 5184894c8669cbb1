"""Who does a follow-up: the one village worker of the region by itself, others by taking it or by a hand-over."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import GRANTS, Actor, Permission, fetch_version, visible, within
from app.db import in_batches
from app.errors import Invalid, WrongState
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpEvent
from app.models.identity import STAFF_ROLES, Role
from app.models.regions import Region
from app.models.staff import StaffAccount
from app.services import audit
from app.services.follow_ups.events import LIVE, NotLive, live, record, refuse_foetal_sex, write

WORKERS = tuple(role for role in STAFF_ROLES if Permission.FOLLOW_UP_COMPLETE in GRANTS[role])
BATCH = 500
LEVELS = (0, 2, 4, 6, 9, 12)
NOTHING = dict.fromkeys(("live", "overdue", "escalated"), 0)


class AlreadyAssigned(WrongState):
    zh, en = "该随访由他人负责", "Somebody else does this follow-up"
    do_zh, do_en = "请由负责人或上级移交", "Ask that worker, or the township, to hand it over"


def _around(region_code: Any) -> list[ColumnElement[str]]:
    """The codes of a region and of all those above it: whose workers see what is there."""
    return [func.rpad(func.left(region_code, length), 12, "0") for length in LEVELS]


def _only_worker(region_code: Any) -> Any:
    query = select(func.array_agg(StaffAccount.id)[1]).having(func.count() == 1)
    return query.where(
        StaffAccount.role == Role.VILLAGE_WORKER,
        StaffAccount.region_code == region_code,
        StaffAccount.disabled_at.is_(None),
    )


async def only_worker(db: AsyncSession, region_code: str) -> uuid.UUID | None:
    """The village worker of a region, where there is exactly one."""
    found: uuid.UUID | None = await db.scalar(_only_worker(region_code))
    return found


async def take(db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    """Somebody takes on what nobody does; above the village also what somebody does."""
    row = await _movable(db, actor, follow_up_id, version)
    row.assignee_id = actor.account_id
    await record(db, actor, row, FollowUpAction.ASSIGNED, "take")
    return row


async def hand_over(
    db: AsyncSession, actor: Actor, *, follow_up_id: uuid.UUID, version: int, to: uuid.UUID, note: str | None
) -> FollowUp:
    """To another worker who sees it: by who does it, by anybody while nobody does, or from above the village."""
    refuse_foetal_sex("", note=note)
    row = await _movable(db, actor, follow_up_id, version)
    able = StaffAccount.role.in_(WORKERS) & StaffAccount.disabled_at.is_(None)
    sees = StaffAccount.region_code.in_(_around(row.region_code))
    if not await db.scalar(select(StaffAccount.id).where(StaffAccount.id == to, able, sees)):
        raise Invalid.at("/to", "不是负责该地区的工作人员", "not a worker whose region this is in")
    row.assignee_id = to
    written = await write(db, row, place=None, note=note)
    await record(db, actor, row, FollowUpAction.HANDED_OVER, "hand_over", note_id=written)
    return row


async def _movable(db: AsyncSession, actor: Actor, follow_up_id: uuid.UUID, version: int) -> FollowUp:
    row = await fetch_version(db, actor, FollowUp, follow_up_id, version)
    if row.status not in LIVE:
        raise NotLive
    if row.assignee_id not in (None, actor.account_id) and actor.role is Role.VILLAGE_WORKER:
        raise AlreadyAssigned
    return row


async def renew(db: AsyncSession, actor: Actor, *, people: Collection[uuid.UUID] | None = None) -> int:
    """What is still to be done and whose worker no longer sees it, or is gone, or that never had one, goes to the one
    village worker of where it is now, else to nobody. All of these people's, or one batch of everybody's."""
    only = _only_worker(FollowUp.region_code).correlate(FollowUp).scalar_subquery()
    sees = select(StaffAccount.id).where(
        StaffAccount.id == FollowUp.assignee_id, StaffAccount.disabled_at.is_(None),
        StaffAccount.region_code.in_(_around(FollowUp.region_code)),
    )  # fmt: skip
    nobodys = FollowUp.assignee_id.is_(None)
    stale = or_(and_(nobodys, only.is_not(None)), and_(~nobodys, ~sees.exists()))
    some = select(FollowUp.id).where(live(), stale).with_for_update(skip_locked=people is None)
    if people is None:
        some = some.order_by(FollowUp.due_on, FollowUp.id).limit(BATCH)
    else:
        some = some.where(FollowUp.person_id.in_(people)).order_by(FollowUp.kind, FollowUp.id)
    # The version stays: it is no change of what a worker has in hand.
    statement = update(FollowUp).where(FollowUp.id.in_(some)).values(assignee_id=only)
    changed = statement.returning(FollowUp.id, FollowUp.person_id, FollowUp.status, FollowUp.assignee_id)
    rows = (await db.execute(changed.execution_options(synchronize_session=False))).all()
    if rows:
        common = {
            "at": clock.now(), "action": FollowUpAction.ASSIGNED, "actor_role": actor.role, "actor_id": actor.id,
        }  # fmt: skip
        events = [
            {**common, "follow_up_id": row.id, "status": row.status, "assignee_id": row.assignee_id}
            for row in rows
        ]
        await db.execute(insert(FollowUpEvent), events)
        await audit.record(db, actor, "assign", "follow_up", people=[row.person_id for row in rows])
    return len(rows)


async def renew_all() -> int:
    """Every hour: accounts are opened and closed, villages are merged, people are moved in many ways."""
    return await in_batches(lambda db: renew(db, Actor.system("assignment")), BATCH)


async def workers(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Colleagues of one's region and above it, each with how much is still to be done that the actor sees."""
    near = or_(
        within(StaffAccount.region_code, actor.region_code),
        StaffAccount.region_code.in_(_around(actor.region_code)),
    )
    query = (
        select(
            StaffAccount.id, StaffAccount.name, StaffAccount.role, StaffAccount.region_code,
            Region.name.label("region_name"),
        )
        .join(Region, Region.code == StaffAccount.region_code)
        .where(near, StaffAccount.role.in_(WORKERS), StaffAccount.disabled_at.is_(None))
    )  # fmt: skip
    if after is not None:
        query = query.where(StaffAccount.id > after)
    page = (await db.execute(query.order_by(StaffAccount.id).limit(limit))).mappings().all()
    counts = {row["id"]: row for row in await _counts(db, actor, [one["id"] for one in page])}
    return [NOTHING | dict(one) | dict(counts.get(one["id"], {})) for one in page]


async def _counts(db: AsyncSession, actor: Actor, ids: Collection[uuid.UUID]) -> Sequence[RowMapping]:
    overdue, escalated = FollowUp.due_on < clock.today(), FollowUp.escalated_for == FollowUp.due_on
    query = select(
        FollowUp.assignee_id.label("id"), func.count().label("live"),
        func.count().filter(overdue).label("overdue"), func.count().filter(escalated).label("escalated"),
    ).where(FollowUp.assignee_id.in_(ids), live(), visible(actor, FollowUp))  # fmt: skip
    return (await db.execute(query.group_by(FollowUp.assignee_id))).mappings().all()
