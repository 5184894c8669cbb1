"""How somebody comes into a household: born, adopted or married into it."""

import uuid
from datetime import date

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.errors import Invalid
from app.models.households import Couple, Household, HouseholdStatus, Person, Relation
from app.models.moves import MoveSide
from app.services import documents, identity, moves, regions
from app.services.duplicates import offices
from app.services.households import belonging
from app.services.households.belonging import Steps, change
from app.services.households.registration import already_in_household
from app.services.life_events.events import (
    Adoption,
    Birth,
    Death,
    Divorce,
    Happened,
    Joined,
    Marriage,
    Newcomer,
    require_not_before,
)
from app.services.moves.proposing import begin

POINTERS = {
    Birth: "/event/child",
    Adoption: "/event/child",
    Joined: "/event/person",
    Marriage: "/event/spouse",
}


def newcomer_of(event: Happened) -> Newcomer | None:
    if isinstance(event, Birth | Adoption):
        return event.child
    if isinstance(event, Joined):
        return event.person
    return event.spouse if isinstance(event, Marriage) else None


async def concerned(db: AsyncSession, event: Happened) -> set[uuid.UUID]:
    """Whose households have to do with it: of who is to come, and of who was married to whom it happens."""
    if isinstance(event, Divorce | Death):
        lives = or_(Couple.wife_id == event.person_id, Couple.husband_id == event.person_id)
        married = select(Couple.wife_id, Couple.husband_id).where(lives, Couple.valid_to.is_(None))
        return {id for row in await db.execute(married) for id in row}
    known = event.spouse_id if isinstance(event, Marriage) else None
    if newcomer := newcomer_of(event):
        document = read(newcomer, POINTERS[type(event)])
        who = func.coalesce(Person.merged_into, Person.id)
        known = await db.scalar(select(who).where(Person.document_index == document.index))
    return {known} if known else set()


def read(newcomer: Newcomer, pointer: str) -> documents.Document:
    return documents.read(
        newcomer.document_kind, newcomer.document_number, pointer=f"{pointer}/document_number"
    )


async def meet(db: AsyncSession, actor: Actor, event: Happened, newcomer: Newcomer) -> Person:
    """The person of this document, made if unknown. One who was a member anywhere must bear that name; of who is
    known only from an account the papers say it."""
    pointer = POINTERS[type(event)]
    document = read(newcomer, pointer)
    born, sex = documents.person_facts(
        document, birth_date=newcomer.birth_date, sex=newcomer.sex, pointer=pointer
    )
    await regions.require(db, {f"{pointer}/hukou_region_code": newcomer.hukou_region_code})
    person, new = await identity.register_person(
        db, name=newcomer.name, document=document, birth_date=born, sex=sex
    )
    if new:
        identity.set_phone(person, newcomer.phone)
    elif not await identity.was_member(db, person):
        await identity.take_over(
            db, actor, person, name=newcomer.name, birth_date=born, sex=sex, phone=newcomer.phone
        )
    elif person.name != newcomer.name:
        why = "该证件已用其他姓名登记", "this document is registered under another name"
        raise Invalid(errors=await offices.whom_to_ask(db, {person.id: f"{pointer}/name"}, *why))
    if await belonging.home_of(db, person.id) is None:
        person.hukou_region_code, person.hukou_type = newcomer.hukou_region_code, newcomer.hukou_type
        person.resident_since = newcomer.resident_since or person.resident_since
    return person


async def arrive(
    db: AsyncSession, actor: Actor, row: Household, event: Birth | Adoption | Joined, steps: Steps
) -> uuid.UUID:
    """Born, adopted or come otherwise. A member who is adopted is the child of the head from then on."""
    person = await meet(db, actor, event, event.person if isinstance(event, Joined) else event.child)
    home_id = await belonging.home_of(db, person.id)
    if isinstance(event, Birth) and person.birth_date != event.happened_on:
        raise Invalid.at("/event/happened_on", "与孩子的出生日期不符", "not the child's date of birth")
    require_not_before("/event/happened_on", event.happened_on, person.birth_date)
    if home_id is not None and (
        isinstance(event, Birth) or (home_id == row.id and isinstance(event, Joined))
    ):
        raise await already_in_household(db, {person.id: POINTERS[type(event)]})
    if home_id == row.id:
        _, membership = (await belonging.members(db, row))[person.id]
        if membership.relation is Relation.HEAD:
            raise Invalid.at("/event/child", "是本户户主", "heads this household")
        change(steps, membership, "relation", event.relation)
        return person.id
    head_id = None if isinstance(event, Birth) else event.head_id
    relation, day = event.relation, event.happened_on
    await come_in(db, actor, row, person, steps, relation=relation, on=day, head_id=head_id)
    return person.id


async def come_in(
    db: AsyncSession, actor: Actor, row: Household, person: Person, steps: Steps, *, relation: Relation,
    on: date, head_id: uuid.UUID | None,
) -> None:  # fmt: skip
    """Somebody without a household joins this one; who has another leaves it by a move, which that village may
    still have to accept."""
    home_id = await belonging.home_of(db, person.id)
    if home_id is None:
        made = belonging.join(db, row, person, relation, on)
        belonging.begun(steps, made, on)
    elif home_id != row.id:
        home = (await belonging.lock(db, [home_id]))[home_id]
        if home.status is not HouseholdStatus.ACTIVE:  # moved out: no village can hand anybody over
            raise await already_in_household(db, {person.id: "/event"})
        plan = moves.Plan(to_region_code=row.region_code, to_household_id=row.id, moved_on=on)
        mover = moves.Mover(person_id=person.id, relation=relation)
        await begin(
            db, actor, home, plan, [mover], id=new_id(), head_id=head_id, side=MoveSide.RECEIVING
        )  # fmt: skip
