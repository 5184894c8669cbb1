"""A rotation: stated, planned by a job, looked at, published, and planned again as people come and go."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, lies_in, visible
from app.db import new_id
from app.errors import Conflict, Invalid, WrongState, place
from app.models.appointments import Clinic
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.regions import COUNTY
from app.models.rotations import Rotation, RotationCapacity, RotationStatus, RotationWork
from app.services import audit, eligibility, idempotency, queue, regions
from app.services.appointments import catalogue
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Line, RegionCode
from app.services.rotations.group import years_of
from app.services.rotations.rooms import capacities

JOB = "plan_rotation"
LIVE = (RotationStatus.DRAFT, RotationStatus.PUBLISHED)
UNDER_WAY = (RotationWork.QUEUED, RotationWork.RUNNING)
Monthly = Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(min_length=12, max_length=12)]


class NotInRotation(Invalid):
    zh, en = "该服务不能安排轮查", "This service does not come round"
    do_zh, do_en = (
        "轮查适用于按年度计次的个人服务",
        "Rotations are of services for one person, once in some years",
    )


class AlreadyInRotation(Conflict):
    zh, en = (
        "该地区这些年度已有此服务的轮查计划",
        "There is a rotation of this service in this region and these years already",
    )
    do_zh, do_en = (
        "请调整或结束原计划，或从其期满后的年度开始",
        "Change or end that one, or begin with the year after its last",
    )


class StillPlanning(WrongState):
    zh, en = "计划仍在编排或编排失败", "It is still being planned, or that failed"
    do_zh, do_en = "请稍后再试；若已失败，请重新编排", "Try again later; if it failed, plan again"


class RotationEnded(WrongState):
    zh, en = "轮查计划已结束", "This rotation has ended"


class Capacity(Body):
    """Of January to December, in each year; absent: as published in slots. For the villages below
    `serves_region_code`, else for all of the rotation."""

    clinic_id: uuid.UUID
    serves_region_code: RegionCode | None = None
    monthly: Monthly | None = None


Capacities = Annotated[list[Capacity], Field(min_length=1, max_length=50)]


class NewRotation(Body):
    service_code: Line
    region_code: RegionCode
    first_year: Annotated[int, Field(ge=2000, le=2200)]
    years: Annotated[int, Field(ge=1, le=5)]
    remind_days: Annotated[int, Field(ge=7, le=180)] = 21
    remind_rounds: Annotated[int, Field(ge=0, le=5)] = 2
    capacities: Capacities


@dataclass(frozen=True, slots=True)
class Stated:
    """A rotation with its clinics."""

    rotation: Rotation
    capacities: list[RotationCapacity]


async def create(db: AsyncSession, actor: Actor, *, key: Key, new: NewRotation) -> Stated:
    """For one person at a time, of a service counted by years; once for each within as many years as the service has in
    a cycle, or fewer. Planning begins at once."""
    if await idempotency.claim(db, actor, key):
        await regions.require_own_region(db, actor, new.region_code)
        await _require_small(db, new.region_code)
        service = await _service(db, new)
        await _require_only(db, service, new)
        rotation = Rotation(
            id=key.id, service_id=service.id, status=RotationStatus.DRAFT, work=RotationWork.QUEUED,
            created_by=actor.account_id, created_at=clock.now(), people=0, placed=0,
            **new.model_dump(exclude={"service_code", "capacities"}),
        )  # fmt: skip
        db.add(rotation)
        await db.flush()  # the capacities refer to it
        await _state(db, actor, rotation, new.capacities)
        await _enqueue(db, rotation.id)
        await audit.record(db, actor, "create", "rotation", rotation.id)
    return await read(db, actor, id=key.id)


async def _require_small(db: AsyncSession, region_code: str) -> None:
    """A county at most: so many are planned and counted at once."""
    if (await regions.get(db, region_code)).level < COUNTY:
        raise Invalid.at("/region_code", "请按县（市、区）制定计划", "one county at most")


async def _service(db: AsyncSession, new: NewRotation) -> HealthcareService:
    service = await catalogue.service(db, new.service_code)
    if service.subject is not Subject.PERSON or service.cycle is not Cycle.YEAR:
        raise NotInRotation
    if new.years < service.cycle_years:
        why = (
            f"该服务每 {service.cycle_years} 年一次",
            f"the service is had once in {service.cycle_years} years",
        )
        raise Invalid.at("/years", *why)
    if not clock.today().year <= new.first_year <= clock.today().year + 1:
        raise Invalid.at("/first_year", "应为今年或明年", "this year or the next")
    await eligibility.rule_in_force(db, service)
    return service


async def _require_only(db: AsyncSession, service: HealthcareService, new: NewRotation) -> None:
    """Nobody has a turn in two at once; the next one is planned while the last year of this one goes on. Those who
    state one at the same time wait for each other."""
    held = select(HealthcareService.id).where(HealthcareService.id == service.id)
    await db.execute(held.with_for_update(key_share=True))
    live = select(Rotation.region_code).where(
        Rotation.service_id == service.id, Rotation.status.in_(LIVE),
        Rotation.first_year < new.first_year + new.years, Rotation.first_year + Rotation.years > new.first_year,
    )  # fmt: skip
    for other in await db.scalars(live):
        if lies_in(other, new.region_code) or lies_in(new.region_code, other):
            raise AlreadyInRotation


async def _state(db: AsyncSession, actor: Actor, rotation: Rotation, stated: Sequence[Capacity]) -> None:
    """One line for each clinic that the actor may know of, serving a part of the region."""
    wrong = []
    for number, line in enumerate(stated):
        await fetch(db, actor, Clinic, line.clinic_id)
        serves = line.serves_region_code or rotation.region_code
        if not lies_in(serves, rotation.region_code):
            wrong.append(
                place(f"/capacities/{number}/serves_region_code", "不在本计划地区内", "outside the region")
            )
        if line.clinic_id in {other.clinic_id for other in stated[:number]}:
            wrong.append(place(f"/capacities/{number}/clinic_id", "服务点重复", "stated twice"))
    if wrong:
        raise Invalid(errors=wrong[:20])
    codes = {
        f"/capacities/{number}/serves_region_code": line.serves_region_code
        for number, line in enumerate(stated) if line.serves_region_code
    }  # fmt: skip
    await regions.require(db, codes)
    for line in stated:
        serves = line.serves_region_code or rotation.region_code
        db.add(
            RotationCapacity(
                id=new_id(), rotation_id=rotation.id, clinic_id=line.clinic_id, serves_region_code=serves,
                monthly=line.monthly,
            )
        )  # fmt: skip
    await db.flush()  # the answer shows them


async def _enqueue(db: AsyncSession, id: uuid.UUID) -> None:
    await queue.enqueue(db, JOB, {"rotation_id": str(id)}, once=f"{JOB}:{id}")


async def managed(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Rotation:
    """Held for a change, by those whose region it is, not by a village in it."""
    rotation = await fetch_version(db, actor, Rotation, id, version)
    await regions.require_own_region(db, actor, rotation.region_code)
    if rotation.status is RotationStatus.ENDED:
        raise RotationEnded
    return rotation


async def restate(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, stated: Sequence[Capacity]
) -> Stated:
    """Other clinics or other numbers: who is beyond them, and was not invited yet, is planned anew."""
    rotation = await managed(db, actor, id, version)
    for line in await capacities(db, id):
        await db.delete(line)
    await db.flush()  # a clinic has one line
    await _state(db, actor, rotation, stated)
    return await _plan(db, actor, rotation, "restate")


async def plan(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Stated:
    """Again, as people and clinics are now."""
    return await _plan(db, actor, await managed(db, actor, id, version), "plan")


async def _plan(db: AsyncSession, actor: Actor, rotation: Rotation, action: str) -> Stated:
    rotation.work = RotationWork.QUEUED
    await db.flush()  # the answer shows the new version
    await _enqueue(db, rotation.id)
    await audit.record(db, actor, action, "rotation", rotation.id)
    return await read(db, actor, id=rotation.id)


async def publish(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Stated:
    """From here on people are invited, and nobody who was is moved."""
    rotation = await managed(db, actor, id, version)
    if rotation.work is not RotationWork.DONE:
        raise StillPlanning
    if rotation.status is not RotationStatus.DRAFT:
        raise WrongState(status_now=rotation.status)
    return await _set(db, actor, rotation, RotationStatus.PUBLISHED, "publish")


async def end(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Stated:
    """Nobody is invited any more; what was attended stays counted."""
    return await _set(db, actor, await managed(db, actor, id, version), RotationStatus.ENDED, "end")


async def _set(
    db: AsyncSession, actor: Actor, rotation: Rotation, status: RotationStatus, action: str
) -> Stated:
    rotation.status = status
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, action, "rotation", rotation.id)
    return await read(db, actor, id=rotation.id)


async def read(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Stated:
    rotation = await fetch(db, actor, Rotation, id)
    return Stated(rotation, await capacities(db, id))


async def listing(db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int) -> list[Rotation]:
    """Newest first."""
    query = select(Rotation).where(visible(actor, Rotation))
    return list(await db.scalars(newest_first(query, Rotation.created_at, Rotation.id, before, limit)))


async def resume(db: AsyncSession) -> None:
    """A job that was lost with its worker or its database begins again; one that waits or runs is left alone."""
    for id in await db.scalars(select(Rotation.id).where(Rotation.work.in_(UNDER_WAY))):
        await _enqueue(db, id)


async def renew(db: AsyncSession) -> None:
    """Every night: newcomers are taken up, who left drops out, who was missed has another month. A rotation whose years
    are over ends."""
    live = select(Rotation).where(Rotation.status == RotationStatus.PUBLISHED).order_by(Rotation.id)
    for rotation in await db.scalars(live.with_for_update()):
        if years_of(rotation):
            await _enqueue(db, rotation.id)
        else:
            rotation.status = RotationStatus.ENDED
            await audit.record(db, Actor.system("rotations"), "end", "rotation", rotation.id)
