"""Deciding on a correction. Approval applies it in the same transaction, after everything is checked again."""

import uuid
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch
from app.errors import Conflict, Forbidden, Invalid
from app.models.corrections import Correction, CorrectionField, CorrectionStatus
from app.models.households import Household, Person
from app.models.identity import ResidentAccount, Role
from app.services import audit, documents, identity
from app.services.corrections import changes
from app.services.corrections.changes import CHANGE, Change, DocumentRegistered, NewDocument, NewPhone
from app.services.corrections.requests import Asked, held, household_of, read, subject_of
from app.services.duplicates import offices
from app.services.households import family_types
from app.services.households.handbook import note

#: What the type of the family depends on.
DECIDES_TYPE = (
    CorrectionField.BIRTH_DATE, CorrectionField.SEX, CorrectionField.DOCUMENT, CorrectionField.HUKOU_REGION_CODE,
)  # fmt: skip


class OwnRequest(Forbidden):
    zh, en = "不能审批自己的申请", "Nobody decides on the own request"
    do_zh, do_en = "请由其他工作人员审批", "Another worker decides"


class DecidedByOffice(Forbidden):
    zh, en = "由乡镇（街道）以上工作人员审批", "Decided by a town or above"
    do_zh, do_en = "村（居）工作人员只能审批手机号的更正", "A village worker decides about a phone only"


class FieldChanged(Conflict):
    """Since it was asked for, the field became something else: `value_now`, masked."""

    zh, en = "该项登记已有变动", "This has changed since the correction was asked for"
    do_zh, do_en = (
        "请核对现在的登记内容，驳回后重新申请",
        "Compare with what is on file now; reject, and ask again",
    )


class CannotApply(Conflict):
    zh, en = "该更正已不能生效", "This correction can no longer be true"
    do_zh, do_en = (
        "请按 errors 核对，驳回后重新申请",
        "See errors, reject this request and ask again",
    )


@dataclass(frozen=True, slots=True)
class Unmasked:
    """What is decided about: to compare with the papers."""

    id: uuid.UUID
    name: str | None
    field: CorrectionField
    old: changes.Value
    new: changes.Value
    evidence: str | None
    reason: str | None


async def unmask(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> Unmasked:
    """Recorded in the person's file, with its purpose."""
    row = await fetch(db, actor, Correction, id)
    name = (await fetch(db, actor, Person, row.person_id)).name if row.person_id else None
    await audit.record(
        db, actor, "read_unmasked", "correction", row.id, people=[row.person_id], purpose=purpose
    )
    old, new = changes.opened(row.old), changes.opened(row.new)
    return Unmasked(row.id, name, row.field, old, new, row.evidence, row.reason)


async def approve(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Asked:
    """A second pair of eyes has compared the evidence: the field changes. Refused when it is no longer what it was
    when the request was made, or when the change can no longer be true."""
    row = await _to_decide(db, actor, id, version)
    change = CHANGE.validate_python({"field": row.field, "value": changes.opened(row.new)})
    subject_id = row.person_id or row.household_id
    assert subject_id is not None
    subject = await subject_of(db, actor, subject_id, change, lock=True)
    if (value := changes.now(subject, row.field)) != changes.opened(row.old):
        raise FieldChanged(value_now=changes.masked(row.field, value))
    before = _facts(subject, row.field)
    await _apply(db, actor, row, subject, change)
    row.status, row.decided_by, row.decided_at = CorrectionStatus.APPROVED, actor.account_id, clock.now()
    await db.flush()  # raises the version that the answer shows; the document's index has the last word
    home = await household_of(db, subject)
    await note(
        db, actor, home, "correction_approved", row.field, person_id=row.person_id,
        detail={"old": before, "new": _facts(subject, row.field), "evidence": row.evidence},
    )  # fmt: skip
    if row.field in DECIDES_TYPE:
        await family_types.settle(db, [home.id])
    return await read(db, actor, row)


async def reject(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str) -> Asked:
    """With the reason for who asked (PIPL art. 50). The field stays what it is."""
    row = await _to_decide(db, actor, id, version)
    row.status, row.reason = CorrectionStatus.REJECTED, reason
    row.decided_by, row.decided_at = actor.account_id, clock.now()
    await db.flush()  # raises the version that the answer shows
    await audit.record(db, actor, "reject", "correction", row.id, people=[row.person_id])
    return await read(db, actor, row)


async def _to_decide(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> Correction:
    row = await held(db, actor, id, version)
    if row.requested_by == actor.id:
        raise OwnRequest
    if row.field is not CorrectionField.PHONE and not actor.may(Permission.CORRECTION_APPROVE):
        raise DecidedByOffice
    return row


def _facts(subject: Person | Household, field: CorrectionField) -> dict[str, changes.Value]:
    """The field, and with a document what follows from its number."""
    follow = (CorrectionField.BIRTH_DATE, CorrectionField.SEX) if field is CorrectionField.DOCUMENT else ()
    return {name: changes.now(subject, name) for name in (field, *follow)}


async def _apply(
    db: AsyncSession, actor: Actor, row: Correction, subject: Person | Household, change: Change
) -> None:
    if isinstance(subject, Household):
        subject.address = str(change.value)
        return
    try:
        await changes.check(db, subject, change)
    except Invalid as problem:
        raise CannotApply(errors=problem.errors) from problem
    match change:
        case NewDocument():
            await _set_document(db, subject, documents.read(change.value.kind, change.value.number))
        case NewPhone():
            await _set_phone(db, actor, row, subject, change.value)
        case _:
            setattr(subject, change.field, change.value)


async def _set_document(db: AsyncSession, person: Person, document: documents.Document) -> None:
    holder = (await identity.holders(db, [document.index])).get(document.index)
    if holder is not None and document.index != person.document_index:
        raise DocumentRegistered(office=(await offices.of(db, [holder.id])).get(holder.id))
    person.document_kind, person.document_number = document.kind, document.number
    person.document_index = document.index
    born: date = document.birth_date or person.birth_date
    person.birth_date, person.sex = born, document.sex or person.sex


async def _set_phone(db: AsyncSession, actor: Actor, row: Correction, person: Person, phone: str) -> None:
    """The phone on file decides who can bind: an account bound to the person is released, as when a worker sets
    the phone at once, unless it is the one that asked."""
    identity.set_phone(person, phone)
    asked = select(ResidentAccount.person_id).where(ResidentAccount.id == row.requested_by)
    if row.requester_role is not Role.RESIDENT or await db.scalar(asked) != person.id:
        await identity.release(db, actor, person)
