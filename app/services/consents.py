"""Consent to versioned notices: separate for health data and for sharing with a hospital (PIPL arts. 23, 28–31)."""

import uuid
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Uuid, cast, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import AGE_OF_OWN_CONSENT, Actor, fetch, under_guardian, visible
from app.errors import Conflict, Forbidden, NotFound
from app.models.consents import Consent, ConsentNotice, Purpose
from app.models.households import Membership, Person, Relation
from app.services import audit, idempotency, identity
from app.services.idempotency import Key


class NoticeRetired(Conflict):
    zh, en = "告知书已更新", "The notice has a newer version"
    do_zh, do_en = "请阅读最新版本后重新确认", "Read the current version and agree to that"


class ConsentRequired(Conflict):
    """Names the notices to show and whose consent is missing."""

    zh, en = "需要先签署知情同意", "Consent is needed first"
    do_zh, do_en = "请相关人员阅读并同意列出的告知书", "Those named need to read and agree to the notices"


class GuardianNeeded(Forbidden):
    zh, en = "未满 14 周岁须由监护人同意", "A guardian consents for a child under 14"
    do_zh, do_en = "请由登记在同一家庭的父母操作", "A parent registered in the same household may do so"


async def notices(db: AsyncSession) -> list[ConsentNotice]:
    """The notices in force."""
    query = select(ConsentNotice).where(ConsentNotice.retired_at.is_(None)).order_by(ConsentNotice.purpose)
    return list(await db.scalars(query))


async def give(
    db: AsyncSession, actor: Actor, *, key: Key, notice_id: uuid.UUID, person_id: uuid.UUID | None
) -> Consent:
    """Agree for oneself, or as a parent for a child under 14 of the own household. Agreeing again changes nothing."""
    own = await identity.own_id(db, actor)
    subject = person_id or own
    notice = await db.get(ConsentNotice, notice_id)
    if notice is None:
        raise NotFound
    if await idempotency.claim(db, actor, key):
        if notice.retired_at is not None:
            raise NoticeRetired
        if subject != own:
            await require_guardian(db, actor, own, subject)
        else:
            await _end_guardians(db, own, notice_id)
        values = {
            "id": key.id, "person_id": subject, "notice_id": notice_id, "given_at": clock.now(),
            "guardian_id": own if subject != own else None,
        }  # fmt: skip
        await db.execute(insert(Consent).values(values).on_conflict_do_nothing())
        await audit.record(db, actor, "give", "consent", key.id, people=[subject])
    live = select(Consent).where(Consent.person_id == subject, Consent.notice_id == notice_id)
    return (await db.scalars(live.order_by(Consent.withdrawn_at.is_(None).desc(), Consent.id).limit(1))).one()


async def _end_guardians(db: AsyncSession, own: uuid.UUID, notice_id: uuid.UUID) -> None:
    """Who agrees in person needs no guardian's consent beside."""
    guardians = (Consent.person_id == own, Consent.notice_id == notice_id, Consent.guardian_id.is_not(None))
    ended = update(Consent).where(*guardians, Consent.withdrawn_at.is_(None))
    await db.execute(ended.values(withdrawn_at=clock.now()))


async def require_guardian(db: AsyncSession, actor: Actor, own: uuid.UUID, child_id: uuid.UUID) -> None:
    """A parent of the own household decides for a child under 14 (PIPL art. 31)."""
    child = await fetch(db, actor, Person, child_id)
    roles = dict(
        (
            await db.execute(
                select(Membership.person_id, Membership.relation).where(
                    Membership.person_id.in_([own, child_id]), Membership.valid_to.is_(None)
                )
            )
        ).all()
    )
    parent = roles.get(own) in {Relation.HEAD, Relation.SPOUSE} and roles.get(child_id) is Relation.CHILD
    if not parent or child.birth_date <= clock.years_ago(AGE_OF_OWN_CONSENT):
        raise GuardianNeeded


async def withdraw(db: AsyncSession, actor: Actor, *, consent_id: uuid.UUID) -> Consent:
    """From now on; what was lawfully done before stays (art. 15). Withdrawing twice changes nothing."""
    consent = await fetch(db, actor, Consent, consent_id, lock=True)
    if consent.withdrawn_at is None:
        consent.withdrawn_at = clock.now()
        await audit.record(db, actor, "withdraw", "consent", consent.id, people=[consent.person_id])
    return consent


async def history(db: AsyncSession, actor: Actor) -> list[Consent]:
    """Everything given and withdrawn by or for the resident, newest first."""
    query = select(Consent).where(visible(actor, Consent)).order_by(Consent.given_at.desc(), Consent.id)
    return list(await db.scalars(query.limit(200)))


async def history_with_notices(db: AsyncSession, actor: Actor) -> list[dict[str, Any]]:
    """The same with the notice of each, in the version that was shown: what exactly was agreed to."""
    given = await history(db, actor)
    ids = {consent.notice_id for consent in given}
    shown = {row.id: row for row in await db.scalars(select(ConsentNotice).where(ConsentNotice.id.in_(ids)))}
    return [
        {
            "id": row.id, "person_id": row.person_id, "notice_id": row.notice_id, "guardian_id": row.guardian_id,
            "given_at": row.given_at, "withdrawn_at": row.withdrawn_at, "purpose": notice.purpose,
            "notice_version": notice.version, "title_zh": notice.title_zh, "title_en": notice.title_en,
            "published_at": notice.published_at, "retired_at": notice.retired_at,
        }
        for row in given
        for notice in [shown[row.notice_id]]
    ]  # fmt: skip


def _live() -> ColumnElement[bool]:
    """Not withdrawn; and a guardian's only until the child is old enough to be asked."""
    return Consent.withdrawn_at.is_(None) & or_(Consent.guardian_id.is_(None), under_guardian())


async def missing(db: AsyncSession, people: list[uuid.UUID]) -> list[tuple[uuid.UUID, ConsentNotice]]:
    """Who of these has not agreed to which notice in force."""
    person = func.unnest(cast(people, ARRAY(Uuid))).table_valued("id").render_derived(name="asked")
    live = select(Consent.id).where(
        Consent.person_id == person.c.id,
        Consent.notice_id == ConsentNotice.id,
        _live(),
    )
    query = (
        select(person.c.id, ConsentNotice)
        .join(ConsentNotice, ConsentNotice.retired_at.is_(None))
        .where(~live.exists())
    )
    return [(row[0], row[1]) for row in await db.execute(query)]


def agreed(person_id: Any, purpose: Purpose) -> ColumnElement[bool]:
    """Whether this person agrees to the notice in force, as a condition."""
    return exists().where(
        Consent.person_id == person_id,
        _live(),
        Consent.notice_id == ConsentNotice.id,
        ConsentNotice.purpose == purpose,
        ConsentNotice.retired_at.is_(None),
    )


def agreed_to_all(person_id: Any) -> ColumnElement[bool]:
    """Whether this person agrees to every notice in force, as a condition."""
    given = select(Consent.id).where(
        Consent.person_id == person_id, Consent.notice_id == ConsentNotice.id, _live()
    )
    in_force = select(ConsentNotice.id).where(ConsentNotice.retired_at.is_(None))
    return ~in_force.where(~given.correlate_except(Consent).exists()).correlate_except(ConsentNotice).exists()


async def require(db: AsyncSession, people: list[uuid.UUID], *, own: uuid.UUID | None = None) -> None:
    """ConsentRequired unless each of these has agreed to every notice in force. Whose is missing is told to
    `own`, one of them, and to nobody else."""
    if gaps := await missing(db, people):
        raise ConsentRequired(
            notices=[
                {
                    "notice_id": str(notice.id),
                    "purpose": notice.purpose,
                    "title": f"{notice.title_zh} / {notice.title_en}",
                }
                | ({"whose": "own" if person == own else "spouse"} if own else {})
                for person, notice in gaps
            ]
        )
