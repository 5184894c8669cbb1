"""Turns as workers and residents meet them: the list of a village, who was invited how, what was answered."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Self

from pydantic import model_validator
from sqlalchemy import ColumnElement, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible, within
from app.crypto import mask_name
from app.errors import Invalid, Unfit, WrongState
from app.models.catalogue import HealthcareService
from app.models.households import Person
from app.models.rotations import (
    InvitedHow,
    Rotation,
    RotationStatus,
    RotationStep,
    RotationTurn,
    TurnReason,
    TurnStatus,
)
from app.services import audit, regions
from app.services.plain import Body, Day
from app.services.rotations.group import comes_by_another

T, R = TurnStatus, TurnReason
#: Reasons of one's own; the others are found by the planning.
REASONS = (R.NO_TIME, R.NOT_WISHED, R.HEALTH, R.AWAY, R.OTHER)
OPEN = (T.PLANNED, T.INVITED, T.NOT_REACHED)


class Answer(StrEnum):
    INVITED = "invited"
    DECLINED = "declined"
    NOT_REACHED = "not_reached"
    CHECKED_ELSEWHERE = "checked_elsewhere"


FROM: dict[Answer, tuple[TurnStatus, ...]] = {
    Answer.INVITED: (T.PLANNED, T.NOT_REACHED, T.DECLINED),
    Answer.DECLINED: OPEN,
    Answer.NOT_REACHED: (T.PLANNED, T.INVITED),
    Answer.CHECKED_ELSEWHERE: (*OPEN, T.DECLINED),
}
TO = {
    Answer.INVITED: T.INVITED, Answer.DECLINED: T.DECLINED, Answer.NOT_REACHED: T.NOT_REACHED,
    Answer.CHECKED_ELSEWHERE: T.ATTENDED,
}  # fmt: skip


class Answered(Body):
    """`on`: the day of the contact, or of the check elsewhere. `how` somebody was invited by hand; `reason` of who
    declines."""

    answer: Answer
    on: Day
    how: InvitedHow | None = None
    reason: TurnReason | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.how is not None) != (self.answer is Answer.INVITED) or self.how is InvitedHow.INBOX:
            raise Unfit(
                "邀请须说明方式（电话、上门或书面）", "an invitation says how: phone, visit or letter"
            )
        if (self.reason is not None) != (self.answer is Answer.DECLINED) or self.reason not in (
            None,
            *REASONS,
        ):
            raise Unfit("谢绝须选择原因", "who declines says why, from the list")
        return self


@dataclass(frozen=True, slots=True)
class Listed:
    """A turn with the masked name."""

    id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str
    month: date | None
    clinic_id: uuid.UUID | None
    status: TurnStatus
    reason: TurnReason | None
    checked_year: int | None
    invited_at: datetime | None
    reminders: int
    version: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which turns. `by_hand`: the village invites them, who have no account."""

    region_code: str | None = None
    status: TurnStatus | None = None
    month: date | None = None
    by_hand: bool = False


async def listing(
    db: AsyncSession, actor: Actor, *, rotation_id: uuid.UUID, wanted: Wanted, after: tuple[str, uuid.UUID] | None,
    limit: int,
) -> list[Listed]:  # fmt: skip
    """By village, with masked names."""
    rotation = await fetch(db, actor, Rotation, rotation_id)
    if wanted.region_code is not None:
        await regions.require_own_region(db, actor, wanted.region_code)
    query = (
        select(RotationTurn, Person.name)
        .join(Person, Person.id == RotationTurn.person_id)
        .where(*found(rotation, wanted), visible(actor, RotationTurn))
    )
    if after is not None:
        query = query.where(func.row(RotationTurn.region_code, RotationTurn.id) > func.row(*after))
    rows = await db.execute(query.order_by(RotationTurn.region_code, RotationTurn.id).limit(limit))
    return [
        Listed(
            turn.id, turn.person_id, mask_name(name), turn.region_code, turn.month, turn.clinic_id, turn.status,
            turn.reason, turn.checked_year, turn.invited_at, turn.reminders, turn.version,
        )
        for turn, name in rows
    ]  # fmt: skip


def found(rotation: Rotation, wanted: Wanted) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [RotationTurn.rotation_id == rotation.id]
    if wanted.region_code is not None:
        where.append(within(RotationTurn.region_code, wanted.region_code))
    if wanted.by_hand:
        called = rotation.invited_through
        where += [
            RotationTurn.status == T.PLANNED,
            false() if called is None else RotationTurn.month <= called,
            ~comes_by_another(rotation),
        ]
    if wanted.status is not None:
        where.append(RotationTurn.status == wanted.status)
    if wanted.month is not None:
        where.append(RotationTurn.month == wanted.month)
    return where


async def answer(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, answered: Answered
) -> RotationTurn:
    """Who invited by hand, whom one could not reach, who declined and why, who had the check elsewhere."""
    turn = await fetch_version(db, actor, RotationTurn, id, version)
    rotation = await db.get_one(Rotation, turn.rotation_id)
    if rotation.status is not RotationStatus.PUBLISHED or turn.status not in FROM[answered.answer]:
        raise WrongState(status_now=turn.status)
    elsewhere = answered.answer is Answer.CHECKED_ELSEWHERE
    earliest = date(rotation.first_year, 1, 1) if elsewhere else clock.years_ago(1)
    if not earliest <= answered.on <= clock.today():
        raise Invalid.at("/answered/on", "日期不在可登记的范围内", "not a day that can be recorded")
    turn.status, turn.reason, turn.changed_at = TO[answered.answer], answered.reason, clock.now()
    if answered.answer is Answer.INVITED:
        turn.invited_at = clock.now()
    if elsewhere:
        turn.checked_on = answered.on
    return await _stepped(
        db, actor, turn, RotationStep(how=answered.how, reason=answered.reason, happened_on=answered.on)
    )


async def decline(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: TurnReason
) -> RotationTurn:
    """By the resident. Who declined may book all the same."""
    turn = await fetch_version(db, actor, RotationTurn, id, version)
    if turn.status not in OPEN:
        raise WrongState(status_now=turn.status)
    if reason not in REASONS:
        raise Invalid.at("/reason", "请选择列出的原因", "one of the reasons listed")
    turn.status, turn.reason, turn.changed_at = T.DECLINED, reason, clock.now()
    return await _stepped(db, actor, turn, RotationStep(reason=reason))


async def _stepped(db: AsyncSession, actor: Actor, turn: RotationTurn, step: RotationStep) -> RotationTurn:
    step.turn_id, step.at, step.status = turn.id, clock.now(), turn.status
    step.actor_role, step.actor_id = actor.role, actor.id
    db.add(step)
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, turn.status, "rotation_turn", turn.id, people=[turn.person_id])
    return turn


async def read(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str
) -> tuple[RotationTurn, list[RotationStep]]:
    """A turn and its steps; the read goes into the person's file."""
    turn = await fetch(db, actor, RotationTurn, id)
    await audit.record(db, actor, "read", "rotation_turn", id, people=[turn.person_id], purpose=purpose)
    steps = select(RotationStep).where(RotationStep.turn_id == id).order_by(RotationStep.id)
    return turn, list(await db.scalars(steps))


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a resident sees of the own turn."""

    id: uuid.UUID
    service_code: str
    service_zh: str
    service_en: str
    clinic_id: uuid.UUID | None
    month: date | None
    status: TurnStatus
    reason: TurnReason | None
    appointment_id: uuid.UUID | None
    version: int


async def own(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Invitation]:
    """One's own invitations, in the order of their ids."""
    query = (
        select(RotationTurn, HealthcareService)
        .join(Rotation, Rotation.id == RotationTurn.rotation_id)
        .join(HealthcareService, HealthcareService.id == Rotation.service_id)
        .where(visible(actor, RotationTurn))
    )
    if before is not None:
        query = query.where(RotationTurn.id < before)
    return [
        Invitation(
            turn.id, service.code, service.zh, service.en, turn.clinic_id, turn.month, turn.status, turn.reason,
            turn.appointment_id, turn.version,
        )
        for turn, service in await db.execute(query.order_by(RotationTurn.id.desc()).limit(limit))
    ]  # fmt: skip
