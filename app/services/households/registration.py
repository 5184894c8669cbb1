"""From draft to submitted, and back with the wrong fields marked. The form is one sealed document."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, own_household
from app.errors import Conflict, Invalid, WrongState
from app.models.households import Household, HouseholdStatus, Person
from app.services import idempotency, identity
from app.services.duplicates import offices
from app.services.households.conflicts import stale
from app.services.households.forms import Form, Mark, check, require_places
from app.services.households.handbook import note
from app.services.idempotency import Key


class HouseholdPending(Conflict, constraint="uq_household_account_id_pending"):
    zh, en = "您已有一份正在办理的家庭登记", "A registration of yours is already under way"
    do_zh, do_en = "请继续填写或等待审核结果", "Continue with it, or wait for its verification"


class AlreadyInHousehold(Conflict, constraint="uq_membership_person_id_active"):
    zh, en = "该人员已登记在家庭中", "This person already belongs to a household"
    do_zh = "请核对成员名单；确属本户的，请联系 errors 中所示的乡镇（街道）办理迁出，或核实是否重复登记"
    do_en = "Check the members; the office that errors names can hand somebody over, or may have them registered twice"


class MarriedElsewhere(Conflict, constraint=("uq_couple_wife_id_active", "uq_couple_husband_id_active")):
    zh, en = "该人员已登记其他配偶", "This person is registered with another spouse"
    do_zh = "请核对结婚证；填写有误的请退回修改，原婚姻已结束的请先登记离婚或配偶死亡"
    do_en = (
        "Check the marriage certificate and return a wrong form; record first that the former marriage ended"
    )


async def register(db: AsyncSession, actor: Actor, *, key: Key, form: Form) -> Household:
    """A draft of one's own household. The registrant is one of its members."""
    own = await identity.own(db, actor)
    if await idempotency.claim(db, actor, key):
        await _check(db, own, form)
        if await db.scalar(select(own_household(actor))):
            raise await already_in_household(db, {own.id: "/members"})
        row = Household(id=key.id, account_id=actor.id, status=HouseholdStatus.DRAFT, created_at=clock.now())
        _fill(row, form)
        db.add(row)
        await db.flush()  # the event refers to it
        await note(db, actor, row, "drafted")
    return await fetch(db, actor, Household, key.id)


async def _check(db: AsyncSession, own: Person, form: Form) -> None:
    if own.document_index not in {document.index for document in await check(db, form)}:
        raise Invalid.at("/members", "成员中须包含您本人", "you must be one of the members")


async def already_in_household(db: AsyncSession, at: dict[uuid.UUID, str]) -> AlreadyInHousehold:
    """These people, each at its place in the form, with the office that can hand them over."""
    kind = AlreadyInHousehold
    return kind(errors=await offices.whom_to_ask(db, at, kind.zh, kind.en))


def _fill(row: Household, form: Form) -> None:
    row.region_code = form.region_code
    row.form = form.model_dump_json()
    row.marks = []


async def locked(
    db: AsyncSession,
    actor: Actor,
    id: uuid.UUID,
    version: int,
    *states: HouseholdStatus,
    yours: dict[str, Any] | None = None,
) -> Household:
    """The household to change, held. `yours` is what it is to become: shown beside what it is now to whoever
    has not seen the latest version."""
    row = await fetch(db, actor, Household, id, lock=True)
    if row.version != version:
        raise await stale(db, row, yours or {})
    if row.status not in states:
        raise WrongState(status_now=row.status)
    return row


async def revise(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, form: Form) -> Household:
    """Replace the form while it is a draft or was returned."""
    yours = {"form": form.model_dump(mode="json")}
    row = await locked(db, actor, id, version, HouseholdStatus.DRAFT, HouseholdStatus.RETURNED, yours=yours)
    await _check(db, await identity.own(db, actor), form)
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


async def withdraw(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Household:
    """Back to the family, who noticed something before the worker did."""
    row = await locked(db, actor, id, version, HouseholdStatus.SUBMITTED)
    row.status, row.submitted_at = HouseholdStatus.DRAFT, None
    await note(db, actor, row, "withdrawn")
    return row


async def return_for_correction(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, marks: list[Mark]
) -> Household:
    """Back to the family, with the wrong fields marked."""
    row = await locked(db, actor, id, version, HouseholdStatus.SUBMITTED)
    require_places(Form.model_validate_json(row.form or ""), marks)
    row.status = HouseholdStatus.RETURNED
    row.marks = [mark.model_dump() for mark in marks]
    await note(db, actor, row, "returned", " ".join(mark.pointer for mark in marks))
    return row
