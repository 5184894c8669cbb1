"""Training certificates and when they end."""

import uuid
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Invalid, WrongState
from app.models.rosters import RosterMember, TrainingCertificate
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.plain import Body, Day, Line, example, require_past
from app.services.rosters.members import masked, record


class NewCertificate(Body):
    model_config = example(
        title="生殖健康咨询员",
        issuer="中国计划生育协会",
        number="2026-0001",
        issued_on="2026-05-01",
        expires_on="2029-05-01",
    )

    title: Line
    issuer: Line
    number: Line | None = None
    issued_on: Day
    expires_on: Day | None = None


async def certify(
    db: AsyncSession, actor: Actor, *, key: Key, member_id: uuid.UUID, new: NewCertificate
) -> TrainingCertificate:
    """Of somebody on the roster."""
    if await idempotency.claim(db, actor, key):
        row = await fetch(db, actor, RosterMember, member_id, lock=True)
        if row.left_on is not None:
            raise WrongState(status_now="left")
        require_past("/issued_on", new.issued_on)
        if new.expires_on is not None and new.expires_on <= new.issued_on:
            raise Invalid.at("/expires_on", "须晚于发证日期", "must follow the day of issue")
        db.add(
            TrainingCertificate(id=key.id, member_id=member_id, created_at=clock.now(), **new.model_dump())
        )
        await db.flush()  # so that an id already taken is refused here
        await record(db, actor, "certify", row)
    return await fetch(db, actor, TrainingCertificate, key.id)


async def withdraw_certificate(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> TrainingCertificate:
    """Entered by mistake. It stays, and counts no more."""
    row = await fetch(db, actor, TrainingCertificate, id, lock=True)
    if row.withdrawn_at is None:
        row.withdrawn_at = clock.now()
        member = await fetch(db, actor, RosterMember, row.member_id)
        people = [member.person_id]
        await audit.record(db, actor, "withdraw", "training_certificate", id, people=people)
    return row


async def expiring(
    db: AsyncSession, actor: Actor, *, days: int, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[dict[str, Any]]:
    """Certificates of those on the roster that end within so many days, or have ended, and were not renewed; the most
    urgent first."""
    here, newer = TrainingCertificate, aliased(TrainingCertificate)
    renewed = select(newer.id).where(
        newer.member_id == here.member_id,
        newer.title == here.title,
        newer.withdrawn_at.is_(None),
        or_(newer.expires_on.is_(None), newer.expires_on > here.expires_on),
    )
    query = (
        select(here, RosterMember)
        .join(RosterMember, RosterMember.id == here.member_id)
        .where(
            visible(actor, RosterMember),
            RosterMember.left_on.is_(None),
            here.withdrawn_at.is_(None),
            here.expires_on <= clock.today() + timedelta(days=days),
            ~renewed.exists(),
        )
        .order_by(here.expires_on, here.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(here.expires_on, here.id) > func.row(*after))
    return [{"certificate": row, "member": masked(member)} for row, member in await db.execute(query)]
