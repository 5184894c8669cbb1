"""From draft to submitted, and back with the wrong fields marked. The form is one sealed document."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, own_household
from app.errors import Conflict, Invalid, StaleVersion, WrongState
from app.models.households import Household, HouseholdEvent, HouseholdStatus, Membership
from app.models.identity import ResidentAccount
from app.services import audit, idempotency, identity
from app.services.households.forms import Form, Mark, check
from app.services.idempotency import Key


class HouseholdPending(Conflict, constraint="uq_household_account_id_pending"):
    zh, en = "您已有一份正在办理的家庭登记", "A registration of yours is already under way"
    do_zh, do_en = "请继续填写或等待审核结果", "Continue with it, or wait for its verification"


class AlreadyInHousehold(Conflict, constraint="uq_membership_person_id_active"):
    zh, en = "该人员已登记在其他家庭", "This person already belongs to a household"
    do_zh, do_en = "请联系原登记地的工作人员办理迁移", "Ask the worker of the other household for a transfer"


class MarriedElsewhere(Conflict, constraint="uq_couple_wife_id_active"):
    zh, en = "该人员已登记其他配偶", "This person is registered with another spouse"
    do_zh, do_en = "请先核实婚姻状况", "Verify the marriage first"


class MarriedElsewhereHusband(MarriedElsewhere, constraint="uq_couple_husband_id_active"):
    """The same, met at the other index."""


async def register(db: AsyncSession, actor: Actor, *, key: Key, form: Form) -> Household:
    """A draft of one's own household. The registrant is one of its members."""
    own = await identity.own(db, actor)
    if await idempotency.claim(db, actor, key):
        if own.document_index not in {document.index for document in await check(db, form)}:
            raise Invalid.at("/members", "成员中须包含您本人", "you must be one of the members")
        if await db.scalar(select(own_household(actor))):
            raise AlreadyInHousehold
        row = Household(id=key.id, account_id=actor.id, status=HouseholdStatus.DRAFT, created_at=clock.now())
        _fill(row, form)
        db.add(row)
        await db.flush()  # the event refers to it
        await note(db, actor, row, "drafted")
    return await fetch(db, actor, Household, key.id)


def _fill(row: Household, form: Form) -> None:
    row.region_code, row.family_type = form.region_code, form.family_type
    row.form = form.model_dump_json()
    row.marks = []


async def note(db: AsyncSession, actor: Actor, row: Household, kind: str, text: str | None = None) -> None:
    event = HouseholdEvent(
        household_id=row.id, at=clock.now(), kind=kind, actor_role=actor.role, actor_id=actor.id, note=text
    )
    db.add(event)
    await audit.record(db, actor, kind, "household", row.id, people=await people_of(db, row))


async def people_of(db: AsyncSession, row: Household) -> list[uuid.UUID]:
    """Whose files a household is: its members, or before verification its registrant."""
    members = select(Membership.person_id).where(
        Membership.household_id == row.id, Membership.valid_to.is_(None)
    )
    registrant = select(ResidentAccount.person_id).where(ResidentAccount.id == row.account_id)
    return [person for person in await db.scalars(members.union(registrant)) if person is not None]


async def locked(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, *states: HouseholdStatus
) -> Household:
    row = await fetch(db, actor, Household, id, lock=True)
    if row.version != version:
        raise StaleVersion(current_version=row.version)
    if row.status not in states:
        raise WrongState(status_now=row.status)
    return row


async def revise(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, form: Form) -> Household:
    """Replace the form while it is a draft or was returned."""
    row = await locked(db, actor, id, version, HouseholdStatus.DRAFT, HouseholdStatus.RETURNED)
    own = await identity.own(db, actor)
    if own.document_index not in {document.index for document in await check(db, form)}:
        raise Invalid.at("/members", "成员中须包含您本人", "you must be one of the members")
    _fill(row, form)
    await note(db, actor, row, "revised")
    return row


async def submit(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Household:
    row = await locked(db, actor, id, version, HouseholdStatus.DRAFT, HouseholdStatus.RETURNED)
    if row.marks:
        raise WrongState(marks=row.marks)
    row.status, row.submitted_at = HouseholdStatus.SUBMITTED, clock.now()
    await note(db, actor, row, "submitted")
    return row


async def return_for_correction(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, marks: list[Mark]
) -> Household:
    """Back to the family, with the wrong fields marked."""
    row = await locked(db, actor, id, version, HouseholdStatus.SUBMITTED)
    row.status = HouseholdStatus.RETURNED
    row.marks = [mark.model_dump() for mark in marks]
    await note(db, actor, row, "returned")
    return row
