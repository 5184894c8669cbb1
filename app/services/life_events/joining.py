"""How somebody comes into a household: born, adopted or married into it."""

import uuid
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.errors import Invalid
from app.models.households import Household, Person, Relation
from app.models.moves import MoveSide
from app.services import documents, identity, moves, regions
from app.services.households import belonging
from app.services.life_events.events import Adoption, Birth, Happened, Marriage, Newcomer
from app.services.moves.proposing import begin

POINTERS = {Birth: "/event/child", Adoption: "/event/child", Marriage: "/event/spouse"}


def newcomer_of(event: Happened) -> Newcomer | None:
    if isinstance(event, Birth | Adoption):
        return event.child
    return event.spouse if isinstance(event, Marriage) else None


async def home_of_newcomer(db: AsyncSession, event: Happened) -> uuid.UUID | None:
    """The household that whoever is to come belongs to, so that it can be locked beforehand."""
    known = event.spouse_id if isinstance(event, Marriage) else None
    if newcomer := newcomer_of(event):
        document = read(newcomer, POINTERS[type(event)])
        who = func.coalesce(Person.merged_into, Person.id)
        known = await db.scalar(select(who).where(Person.document_index == document.index))
    return await belonging.home_of(db, known) if known else None


def read(newcomer: Newcomer, pointer: str) -> documents.Document:
    return documents.read(
        newcomer.document_kind, newcomer.document_number, pointer=f"{pointer}/document_number"
    )


async def meet(db: AsyncSession, event: Happened, newcomer: Newcomer) -> Person:
    """The person of this document, made if unknown. One who is known must bear that name."""
    pointer = POINTERS[type(event)]
    document = read(newcomer, pointer)
    born, sex = documents.person_facts(
        document, birth_date=newcomer.birth_date, sex=newcomer.sex, pointer=pointer
    )
    await regions.require(db, {f"{pointer}/hukou_region_code": newcomer.hukou_region_code})
    person, new = await identity.register_person(
        db, name=newcomer.name, document=document, birth_date=born, sex=sex
    )
    if person.name != newcomer.name:
        why = "该证件已用其他姓名登记", "this document is registered under another name"
        raise Invalid.at(f"{pointer}/name", *why)
    if new:
        identity.set_phone(person, newcomer.phone)
    if await belonging.home_of(db, person.id) is None:
        person.hukou_region_code, person.hukou_type = newcomer.hukou_region_code, newcomer.hukou_type
        person.resident_since = newcomer.resident_since or person.resident_since
    return person


async def come_in(
    db: AsyncSession, actor: Actor, row: Household, person: Person, *, relation: Relation, on: date,
    head_id: uuid.UUID | None,
) -> None:  # fmt: skip
    """Somebody without a household joins this one; who has another leaves it by a move, which that village may
    still have to accept."""
    home_id = await belonging.home_of(db, person.id)
    if home_id is None:
        belonging.join(db, row, person, relation, on)
    elif home_id != row.id:
        home = (await belonging.lock(db, [home_id]))[home_id]
        plan = moves.Plan(to_region_code=row.region_code, to_household_id=row.id, moved_on=on)
        mover = moves.Mover(person_id=person.id, relation=relation)
        await begin(
            db, actor, home, plan, [mover], id=new_id(), head_id=head_id, side=MoveSide.RECEIVING
        )  # fmt: skip
