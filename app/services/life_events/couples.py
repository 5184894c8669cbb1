"""Marriage and divorce, and whether a couple plans a pregnancy."""

import uuid
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch
from app.db import new_id
from app.errors import Conflict, Invalid
from app.models.households import Couple, Household, HouseholdStatus, Person, Relation, Sex
from app.models.moves import MoveSide
from app.services import eligibility, identity, moves
from app.services.appointments import families as appointments
from app.services.households import belonging
from app.services.households.belonging import Steps, change
from app.services.households.handbook import note
from app.services.households.registration import MarriedElsewhere
from app.services.life_events import joining
from app.services.life_events.events import Divorce, Leaving, Marriage, require_not_before
from app.services.moves.proposing import begin


class NotACouple(Conflict):
    zh, en = "没有登记在册的配偶", "No marriage is registered"
    do_zh, do_en = "请核对登记的婚姻状况", "Check what is registered"


async def marry(
    db: AsyncSession, actor: Actor, row: Household, event: Marriage, person: Person, steps: Steps
) -> None:
    """A new couple of two who live and are not married. The spouse moves in if so recorded."""
    spouse = await _spouse(db, actor, event)
    for one in (person, spouse):
        require_not_before("/event/happened_on", event.happened_on, one.birth_date)
        if one.died_on is not None:
            raise belonging.Deceased
        if await belonging.couple_of(db, one.id):
            raise MarriedElsewhere
    wife, husband = (person, spouse) if person.sex is Sex.FEMALE else (spouse, person)
    if (wife.sex, husband.sex) != (Sex.FEMALE, Sex.MALE):
        raise Invalid.at("/event/spouse", "妻子与丈夫的性别不符", "the sexes of wife and husband do not fit")
    couple = Couple(
        id=new_id(), wife_id=wife.id, husband_id=husband.id, plans_pregnancy=event.plans_pregnancy,
        valid_from=event.happened_on,
    )  # fmt: skip
    db.add(couple)
    # Undone, it has lasted no day.
    begun = {"table": "couple", "id": str(couple.id), "column": "valid_to"}
    steps.append(begun | {"old": event.happened_on.isoformat(), "new": None})
    home_id = await belonging.home_of(db, spouse.id)
    if event.moves_in or home_id is None:
        headed = await _heads(db, row, person.id)
        relation = Relation.SPOUSE if headed else Relation.OTHER
        await joining.come_in(
            db, actor, row, spouse, relation=relation, on=event.happened_on, head_id=event.head_id
        )  # fmt: skip
    await relate(db, couple)
    await eligibility.lapse(db, [wife.id, husband.id])
    if home_id is not None and home_id != row.id:
        there = await db.get_one(Household, home_id)
        await note(db, actor, there, "marriage", person_id=spouse.id, happened_on=event.happened_on)


async def _spouse(db: AsyncSession, actor: Actor, event: Marriage) -> Person:
    if event.spouse is not None:
        return await joining.meet(db, event, event.spouse)
    assert event.spouse_id is not None
    return await fetch(db, actor, Person, event.spouse_id, lock=True)


async def _heads(db: AsyncSession, row: Household, person_id: uuid.UUID) -> bool:
    known = (await belonging.members(db, row)).get(person_id)
    return known is not None and known[1].relation is Relation.HEAD


async def relate(db: AsyncSession, couple: Couple) -> None:
    """Of two in one household of whom one heads it, the other is the spouse exactly while they are married."""
    await db.flush()  # who joined is found
    home_id = await belonging.home_of(db, couple.wife_id)
    if home_id is None or home_id != await belonging.home_of(db, couple.husband_id):
        return
    people = await belonging.members(db, await db.get_one(Household, home_id))
    wife, husband = people[couple.wife_id][1], people[couple.husband_id][1]
    for head, other in ((wife, husband), (husband, wife)):
        if head.relation is Relation.HEAD:
            if couple.valid_to is None:
                other.relation = Relation.SPOUSE
            elif other.relation is Relation.SPOUSE:
                other.relation = Relation.OTHER


async def end(db: AsyncSession, actor: Actor, couple: Couple, on: date, steps: Steps, *, reason: str) -> None:
    """The marriage is over, and what two could book as a couple with it."""
    change(steps, couple, "valid_to", on)
    await eligibility.lapse(db, [couple.wife_id, couple.husband_id])
    await appointments.call_off_of_couple(db, actor, couple.id, reason=reason)


async def divorce(
    db: AsyncSession, actor: Actor, row: Household, event: Divorce, person: Person, steps: Steps
) -> None:
    """The marriage ends; one of the two may leave to a household of the own, in another village by a hand-over."""
    couple = await belonging.couple_of(db, person.id)
    if couple is None:
        raise NotACouple
    require_not_before("/event/happened_on", event.happened_on, couple.valid_from)
    await end(db, actor, couple, event.happened_on, steps, reason="divorce")
    await relate(db, couple)
    other_id = couple.husband_id if couple.wife_id == person.id else couple.wife_id
    home_id = await belonging.home_of(db, other_id)
    if home_id is not None and home_id != row.id:
        there = await db.get_one(Household, home_id)
        await note(db, actor, there, "divorce", person_id=other_id, happened_on=event.happened_on)
    if event.leaves is not None:
        await _leave(db, actor, row, event, event.leaves, {couple.wife_id, couple.husband_id})


async def _leave(
    db: AsyncSession, actor: Actor, row: Household, event: Divorce, leaves: Leaving, spouses: set[uuid.UUID]
) -> None:
    if leaves.person_id not in spouses:
        raise Invalid.at("/event/leaves/person_id", "不是离婚的一方", "neither of the two")
    plan = moves.Plan(
        to_region_code=leaves.to_region_code, address=leaves.address, moved_on=event.happened_on
    )  # fmt: skip
    movers = [moves.Mover(person_id=leaves.person_id, relation=Relation.HEAD)]
    movers += [moves.Mover(person_id=child, relation=Relation.CHILD) for child in leaves.children]
    await begin(
        db, actor, row, plan, movers, id=new_id(), head_id=event.head_id, side=MoveSide.RELEASING
    )  # fmt: skip


async def plan_pregnancy(db: AsyncSession, actor: Actor, *, plans: bool) -> Couple:
    """The couple's own word, of either spouse: it decides about services, and nobody else may say it."""
    own_id = await identity.own_id(db, actor)
    home_id = await belonging.home_of(db, own_id)
    row = (await belonging.lock(db, [home_id])).get(home_id) if home_id else None
    couple = await belonging.couple_of(db, own_id)
    if couple is None or row is None or row.status is not HouseholdStatus.ACTIVE:
        raise NotACouple
    if couple.plans_pregnancy != plans:
        detail = {"old": couple.plans_pregnancy, "new": plans}
        couple.plans_pregnancy = plans
        await eligibility.lapse(db, [couple.wife_id, couple.husband_id])
        await note(db, actor, row, "plans_changed", person_id=own_id, detail=detail)
    return couple
