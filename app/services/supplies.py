"""Supplies (folic acid): a plan for a person, what was handed out, who is due, and a reminder to come for it."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, own_person, visible
from app.crypto import mask_name
from app.db import in_batches
from app.errors import Conflict, Invalid, WrongState
from app.models.households import Person
from app.models.messages import NoticeKind
from app.models.supplies import SupplyEnd, SupplyHandOut, SupplyItem, SupplyPlan, SupplyStatus
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.messages import Notice, tell_many
from app.services.pages import newest_first
from app.services.plain import Body, Day

REMIND_BEFORE = timedelta(days=7)
BATCH = 500
DAYS_OF_MONTH = 30
ACTIVE = text("supply_plan.status = 'active'")  # written out, so that the index of these serves
Months = Annotated[int, Field(ge=1, le=24)]
Batch = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z./-]{1,40}$")]


class AlreadyPlanned(Conflict):
    zh, en = "已有进行中的发放计划", "There is a plan under way already"
    do_zh, do_en = "请在原计划上登记发放，或先结束原计划", "Hand out under that plan, or end it first"


class PlanOver(WrongState):
    zh, en = "发放计划已结束", "This plan has ended"


class NewPlan(Body):
    """Folic acid is taken from three months before to three months after conception
    (《增补叶酸预防神经管缺陷项目管理方案》): six months unless told otherwise."""

    person_id: uuid.UUID
    item: SupplyItem = SupplyItem.FOLIC_ACID
    months: Months = 6
    starts_on: Day


class HandOut(Body):
    """`quantity` in boxes or bottles, as labelled with `batch`; it lasts `months`."""

    given_on: Day
    months: Annotated[int, Field(ge=1, le=6)]
    quantity: Annotated[int, Field(ge=1, le=100)]
    batch: Batch


async def plan(db: AsyncSession, actor: Actor, *, key: Key, new: NewPlan) -> SupplyPlan:
    """One at a time for a person and item."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, SupplyPlan, key.id)
    person = await fetch(db, actor, Person, new.person_id, lock=True)
    if not abs(new.starts_on - clock.today()) <= timedelta(days=366):
        raise Invalid.at("/starts_on", "应在一年之内", "within a year of today")
    under_way = select(SupplyPlan.id).where(
        SupplyPlan.person_id == person.id,
        SupplyPlan.item == new.item,
        SupplyPlan.status == SupplyStatus.ACTIVE,
    )
    if await db.scalar(under_way.limit(1)):
        raise AlreadyPlanned
    row = SupplyPlan(
        id=key.id, next_due_on=new.starts_on, status=SupplyStatus.ACTIVE, created_by=actor.account_id,
        created_at=clock.now(), months_given=0, **new.model_dump(),
    )  # fmt: skip
    db.add(row)
    await db.flush()  # the answer shows its version
    await audit.record(db, actor, "plan", "supply_plan", row.id, people=[row.person_id])
    return row


async def hand_out(
    db: AsyncSession, actor: Actor, *, key: Key, plan_id: uuid.UUID, version: int, given: HandOut
) -> SupplyPlan:
    """The next is due when this will have been used up; the last one ends the plan."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, SupplyPlan, plan_id)
    row = await _hold(db, actor, plan_id, version)
    if not date(2000, 1, 1) <= given.given_on <= clock.today():
        raise Invalid.at("/given/given_on", "日期应在 2000 年之后且不晚于今天", "between 2000 and today")
    if row.months_given + given.months > row.months:
        left = row.months - row.months_given
        raise Invalid.at("/given/months", f"本计划只剩 {left} 个月", f"{left} months of this plan are left")
    db.add(
        SupplyHandOut(
            id=key.id,
            plan_id=row.id,
            given_by=actor.account_id,
            recorded_at=clock.now(),
            **given.model_dump(),
        )
    )
    row.months_given += given.months
    row.next_due_on = max(row.next_due_on, given.given_on) + timedelta(days=DAYS_OF_MONTH * given.months)
    if row.months_given == row.months:
        row.status = SupplyStatus.DONE
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "hand_out", "supply_plan", row.id, people=[row.person_id])
    return row


async def end(
    db: AsyncSession, actor: Actor, *, plan_id: uuid.UUID, version: int, reason: SupplyEnd
) -> SupplyPlan:
    """Before all was handed out. What was handed out stays on record."""
    row = await _hold(db, actor, plan_id, version)
    row.status, row.end_reason = SupplyStatus.ENDED, reason
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "end", "supply_plan", row.id, people=[row.person_id])
    return row


async def _hold(db: AsyncSession, actor: Actor, plan_id: uuid.UUID, version: int) -> SupplyPlan:
    row = await fetch_version(db, actor, SupplyPlan, plan_id, version)
    if row.status is not SupplyStatus.ACTIVE:
        raise PlanOver
    return row


@dataclass(frozen=True, slots=True)
class DueSupply:
    """An active plan with the masked name."""

    id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str | None
    item: SupplyItem
    months: int
    months_given: int
    next_due_on: date
    version: int


async def list_due(
    db: AsyncSession, actor: Actor, *, within_days: int, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[DueSupply]:
    """Who is to have something by then, the longest waiting first."""
    query = (
        select(SupplyPlan, Person.name, Person.region_code)
        .join(Person, Person.id == SupplyPlan.person_id)
        .where(visible(actor, SupplyPlan), ACTIVE)
        .where(SupplyPlan.next_due_on <= clock.today() + timedelta(days=within_days))
    )
    if after is not None:
        query = query.where(func.row(SupplyPlan.next_due_on, SupplyPlan.id) > func.row(*after))
    rows = await db.execute(query.order_by(SupplyPlan.next_due_on, SupplyPlan.id).limit(limit))
    return [
        DueSupply(
            row.id, row.person_id, mask_name(name), region, row.item, row.months, row.months_given,
            row.next_due_on, row.version,
        )
        for row, name, region in rows
    ]  # fmt: skip


async def read(
    db: AsyncSession, actor: Actor, *, plan_id: uuid.UUID, purpose: str
) -> tuple[SupplyPlan, list[SupplyHandOut]]:
    """A plan with what was handed out; the read goes into the person's file."""
    row = await fetch(db, actor, SupplyPlan, plan_id)
    await audit.record(db, actor, "read", "supply_plan", row.id, people=[row.person_id], purpose=purpose)
    query = select(SupplyHandOut).where(SupplyHandOut.plan_id == row.id).order_by(SupplyHandOut.id)
    return row, list(await db.scalars(query))


async def list_own(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[SupplyPlan]:
    """The resident's own plans, newest first."""
    query = select(SupplyPlan).where(visible(actor, SupplyPlan), SupplyPlan.person_id == own_person(actor))
    return list(await db.scalars(newest_first(query, SupplyPlan.created_at, SupplyPlan.id, after, limit)))


async def remind(db: AsyncSession) -> int:
    """One batch of those whose next supply is near: told once for each due day."""
    near, again = (
        clock.today() + REMIND_BEFORE,
        SupplyPlan.reminded_for.is_distinct_from(SupplyPlan.next_due_on),
    )
    some = (
        select(SupplyPlan.id)
        .join(Person, Person.id == SupplyPlan.person_id)
        .where(ACTIVE, SupplyPlan.next_due_on <= near, again)
        .where(Person.region_code.is_not(None), Person.restricted_at.is_(None))
        .order_by(SupplyPlan.next_due_on, SupplyPlan.id)
        .limit(BATCH)
        .with_for_update(of=SupplyPlan, skip_locked=True)
    )
    # The version stays: it is no change of what a worker has in hand.
    marked = update(SupplyPlan).where(SupplyPlan.id.in_(some)).values(reminded_for=SupplyPlan.next_due_on)
    marked = marked.returning(SupplyPlan.id, SupplyPlan.person_id, SupplyPlan.next_due_on)
    rows = (await db.execute(marked.execution_options(synchronize_session=False))).all()
    if rows:
        notices = [Notice([row.person_id], row.id, {}, once=row.next_due_on.isoformat()) for row in rows]
        await tell_many(db, NoticeKind.SUPPLY_READY, notices, entity="supply_plan")
        people = [row.person_id for row in rows]
        await audit.record(db, Actor.system("supplies"), "remind", "supply_plan", people=people)
    return len(rows)


async def remind_all() -> int:
    """Every morning."""
    return await in_batches(remind, BATCH)
