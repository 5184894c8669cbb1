"""Invitations by month: in the inbox to those with an account, by hand to the others; reminders to who did not book."""

import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin
from app.errors import Invalid, WrongState
from app.models.appointments import Clinic
from app.models.catalogue import HealthcareService
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.messages import NoticeKind
from app.models.rotations import InvitedHow, Rotation, RotationStatus, RotationStep, RotationTurn, TurnStatus
from app.services import audit, queue
from app.services.messages import Notice, tell_many
from app.services.rotations import linking, plans
from app.services.rotations.group import comes_by_another
from app.services.rotations.plans import Stated
from app.services.rotations.steps import AT_LONGEST, PLANNER

JOB = "invite_to_rotation"
BATCH = 500
T = TurnStatus


class NotPublished(WrongState):
    zh, en = "轮查计划尚未发布", "This rotation is not published"
    do_zh, do_en = "请先核对并发布计划", "Look at the plan and publish it first"


async def invite(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, month: date) -> Stated:
    """Everybody planned up to this month: by a job, each told once. Who has no account is on the list of those whom the
    village invites. Again for the same month it reaches who has bound an account since."""
    rotation = await plans.managed(db, actor, id, version)
    if rotation.status is not RotationStatus.PUBLISHED:
        raise NotPublished
    if rotation.work in plans.UNDER_WAY:
        raise plans.StillPlanning
    last = rotation.first_year + rotation.years - 1
    if month.day != 1 or not rotation.first_year <= month.year <= last:
        raise Invalid.at(
            "/month", "应为计划年度内某月的第一天", "the first day of a month of the plan's years"
        )
    if month > clock.today() + timedelta(days=92):
        raise Invalid.at("/month", "最多提前三个月邀请", "three months ahead at most")
    rotation.invited_through = max(month, rotation.invited_through or month)
    await db.flush()  # the answer shows the new version
    await queue.enqueue(db, JOB, {"rotation_id": str(id)}, once=f"{JOB}:{id}")
    await audit.record(db, actor, "invite", "rotation", id)
    return await plans.read(db, actor, id=id)


def _reachable() -> ColumnElement[bool]:
    """Somebody who reads the inbox."""
    account = select(ResidentAccount.id).where(ResidentAccount.person_id == RotationTurn.person_id)
    alive = select(Person.id).where(
        Person.id == RotationTurn.person_id, Person.region_code.is_not(None), Person.restricted_at.is_(None)
    )
    return account.exists() & alive.exists()


async def send(rotation_id: uuid.UUID) -> int:
    """The job: batch by batch, each in a transaction of its own. Who booked without being asked is not invited, nor who
    may still come by the rotation before this one: its turns end with its last year."""
    async with begin() as db:
        rotation = await db.get_one(Rotation, rotation_id)
        if rotation.status is not RotationStatus.PUBLISHED or rotation.invited_through is None:
            return 0
        await db.execute(AT_LONGEST)
        await linking.follow(db, rotation)
    due = (
        select(RotationTurn.id)
        .where(RotationTurn.rotation_id == rotation_id, RotationTurn.status == T.PLANNED)
        .where(RotationTurn.month <= rotation.invited_through, _reachable(), ~comes_by_another(rotation))
        .order_by(RotationTurn.id)
    )
    total = 0
    while done := await _batch(
        rotation, due, {"status": T.INVITED, "invited_at": clock.now()}, reminded=False
    ):
        total += done
    return total


async def remind(rotation: Rotation) -> int:
    """Who was invited by the inbox and has not booked, every `remind_days` anew, `remind_rounds` times."""
    long_ago = clock.now() - timedelta(days=rotation.remind_days)
    due = (
        select(RotationTurn.id)
        .where(RotationTurn.status == T.INVITED, RotationTurn.invited_at <= long_ago)
        # Neither soon after the last reminder, nor after a booking that came to nothing.
        .where(RotationTurn.changed_at <= long_ago, RotationTurn.reminders < rotation.remind_rounds)
        .where(RotationTurn.rotation_id == rotation.id, _reachable())
        .order_by(RotationTurn.id)
    )
    total = 0
    while done := await _batch(rotation, due, {"reminders": RotationTurn.reminders + 1}, reminded=True):
        total += done
    return total


async def remind_all() -> None:
    """Every morning. Appointments are looked at first: who has booked is not reminded."""
    await linking.follow_all()
    async with begin() as db:
        live = select(Rotation).where(Rotation.status == RotationStatus.PUBLISHED).order_by(Rotation.id)
        found = list(await db.scalars(live))
    for rotation in found:
        await send(rotation.id)
        await remind(rotation)


async def _batch(rotation: Rotation, due: Select[Any], values: dict[str, Any], *, reminded: bool) -> int:
    async with begin() as db:
        some = due.limit(BATCH).with_for_update(of=RotationTurn, skip_locked=True)
        changed = (
            update(RotationTurn)
            .where(RotationTurn.id.in_(some))
            .values(changed_at=clock.now(), version=RotationTurn.version + 1, **values)
            .returning(
                RotationTurn.id, RotationTurn.person_id, RotationTurn.clinic_id, RotationTurn.reminders
            )
            .execution_options(synchronize_session=False)
        )
        rows = (await db.execute(changed)).all()
        await _told(db, rotation, rows, reminded=reminded)
    return len(rows)


async def _told(db: AsyncSession, rotation: Rotation, rows: Sequence[Any], *, reminded: bool) -> None:
    if not rows:
        return
    service = await db.get_one(HealthcareService, rotation.service_id)
    query = select(Clinic.id, Clinic.name).where(Clinic.id.in_({row.clinic_id for row in rows}))
    places = dict((await db.execute(query)).all())
    notices = [
        Notice(
            [row.person_id], row.id,
            {"service": service.zh, "service_id": str(service.id)}
            | ({"place": places[row.clinic_id]} if row.clinic_id else {}),
            once=f"reminder-{row.reminders}" if reminded else "",
        )
        for row in rows
    ]  # fmt: skip
    await tell_many(db, NoticeKind.INVITATION, notices, entity="rotation_turn")
    db.add_all(
        RotationStep(
            turn_id=row.id, at=clock.now(), status=T.INVITED, how=InvitedHow.INBOX, actor_role=PLANNER.role
        )
        for row in rows
    )
    action = "remind" if reminded else "invite"
    await audit.record_each(db, PLANNER, action, "rotation_turn", [(row.id, [row.person_id]) for row in rows])
