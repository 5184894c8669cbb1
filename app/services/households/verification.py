"""Verification: the form becomes people, memberships, a couple and categories, in one transaction."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid
from app.models.households import Category, Couple, Household, HouseholdStatus, Membership, Person
from app.models.identity import ResidentAccount
from app.services import identity
from app.services.duplicates import finding, offices
from app.services.households import family_types
from app.services.households.forms import Form, Member, check
from app.services.households.handbook import note
from app.services.households.registration import already_in_household, locked


async def verify(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Household:
    """The worker has seen the documents: the household is active and its form is emptied. What the papers say wins
    over what an account claimed. A document that was verified under another name, or belongs to another
    household, is refused at its place in the form."""
    row = await locked(db, actor, id, version, HouseholdStatus.SUBMITTED)
    form = Form.model_validate_json(row.form or "")
    people = await _people(db, actor, row, form)
    await _require_free(db, people)
    today = clock.today()
    for member, person in zip(form.members, people, strict=True):
        person.hukou_region_code, person.hukou_type = member.hukou_region_code, member.hukou_type
        person.resident_since, person.region_code = member.resident_since, row.region_code
        db.add(
            Membership(
                id=new_id(),
                household_id=row.id,
                person_id=person.id,
                relation=member.relation,
                valid_from=today,
            )
        )
    _marry(db, form, people)
    _categorise(db, actor, row, form, people)
    row.status, row.verified_at, row.verified_by = HouseholdStatus.ACTIVE, clock.now(), actor.id
    row.address, row.form = form.address, None
    await db.flush()  # the event names the members
    await note(db, actor, row, "verified")
    await finding.compare(db, [person.id for person in people])
    await family_types.settle(db, [row.id])
    return row


async def _people(db: AsyncSession, actor: Actor, row: Household, form: Form) -> list[Person]:
    """The person of each document, made if unknown. In one order, so that two verifications cannot deadlock."""
    members = list(zip(form.members, await check(db, form), strict=True))
    await identity.hold(db, [document for _, document in members])
    registrant = await _registrant(db, row)
    people: dict[bytes, Person] = {}
    wrong: dict[uuid.UUID, Member] = {}
    for member, document in sorted(members, key=lambda pair: pair[1].index):
        born, sex = document.birth_date or member.birth_date, document.sex or member.sex
        assert born is not None
        assert sex is not None
        person, new = await identity.register_person(
            db, name=member.name, document=document, birth_date=born, sex=sex
        )
        if new:
            identity.set_phone(person, member.phone)
        elif not await identity.was_member(db, person):
            # The registrant stands before the worker, with a phone that WeChat vouches for.
            await identity.take_over(
                db, actor, person, name=member.name, birth_date=born, sex=sex, phone=member.phone,
                vouched=person.id == registrant,
            )  # fmt: skip
        elif person.name != member.name:
            wrong[person.id] = member
        people[document.index] = person
    if wrong:
        why = "该证件已用其他姓名登记", "this document is registered under another name"
        at = {id: f"/members/{form.members.index(member)}/name" for id, member in wrong.items()}
        raise Invalid(errors=await offices.whom_to_ask(db, at, *why))
    return [people[document.index] for _, document in members]


async def _registrant(db: AsyncSession, row: Household) -> uuid.UUID | None:
    query = select(ResidentAccount.person_id).where(ResidentAccount.id == row.account_id)
    found: uuid.UUID | None = await db.scalar(query)
    return found


async def _require_free(db: AsyncSession, people: list[Person]) -> None:
    ids = [person.id for person in people]
    query = select(Membership.person_id).where(Membership.person_id.in_(ids), Membership.valid_to.is_(None))
    taken = set(await db.scalars(query))
    if taken:
        at = {id: f"/members/{number}" for number, id in enumerate(ids) if id in taken}
        raise await already_in_household(db, at)


def _marry(db: AsyncSession, form: Form, people: list[Person]) -> None:
    if form.marriage is None:
        return
    db.add(
        Couple(
            id=new_id(),
            wife_id=people[form.marriage.wife].id,
            husband_id=people[form.marriage.husband].id,
            plans_pregnancy=form.marriage.plans_pregnancy,
            valid_from=form.marriage.since,
        )
    )


def _categorise(db: AsyncSession, actor: Actor, row: Household, form: Form, people: list[Person]) -> None:
    for claimed in form.categories:
        db.add(
            Category(
                id=new_id(),
                code=claimed.code,
                household_id=row.id if claimed.member is None else None,
                person_id=None if claimed.member is None else people[claimed.member].id,
                evidence=claimed.evidence,
                grade=claimed.grade,
                valid_from=claimed.since,
                verified_by=actor.account_id,
            )
        )
