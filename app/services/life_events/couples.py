"""Marriage and divorce, and whether a couple plans a pregnancy."""

import uuid
from datetime import date

from sqlalchemy import func, or_, select
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

AGE_OF_MARRIAGE = 18


class NotACouple(Conflict):
    zh, en = "没有登记在册的配偶", "No marriage is registered"
    do_zh, do_en = "请核对登记的婚姻状况", "Check what is registered"


async def marry(
    db: AsyncSession, actor: Actor, row: Household, event: Marriage, person: Person, steps: Steps
) -> None:
    """A new couple of two who live and are not married. The spouse moves in if so recorded."""
    spouse = await _spouse(db, actor, event)
    for one in (person, spouse):
        await _require_free(db, one, event.happened_on)
    wife, husband = (person, spouse) if person.sex is Sex.FEMALE else (spouse, person)
    if (wife.sex, husband.sex) != (Sex.FEMALE, Sex.MALE):
        raise Invalid.at("/event/spouse", "妻子与丈夫的性别不符", "the sexes of wife and husband do not fit")
    couple = Couple(
        id=new_id(), wife_id=wife.id, husband_id=husband.id, plans_pregnancy=event.plans_pregnancy,
        valid_from=event.happened_on,
    )  # fmt: skip
    db.add(couple)
    belonging.begun(steps, couple, event.happened_on)
    home_id = await belonging.home_of(db, spouse.id)
    there = await db.get_one(Household, home_id) if home_id is not None and home_id != row.id else None
    # From a household that has moved out nobody can hand the spouse over.
    if home_id is None or (event.moves_in and (there is None or there.status is HouseholdStatus.ACTIVE)):
        headed = await _heads(db, row, person.id)
        relation = Relation.SPOUSE if headed else Relation.OTHER
        # A marriage that never was leaves them where they live.
        await joining.come_in(
            db, actor, row, spouse, [], relation=relation, on=event.happened_on, head_id=event.head_id
        )  # fmt: skip
    await relate(db, couple)
    await eligibility.lapse(db, [wife.id, husband.id])
    if there is not None:
        await note(db, actor, there, "marriage", person_id=spouse.id, happened_on=event.happened_on)


async def _require_free(db: AsyncSession, one: Person, day: date) -> None:
    """Alive, of age and married to nobody, on that day as now. Of age is 18: the 22 and 20 years of Civil Code art.
    1047 do not hold for what was celebrated before them, and what the registry office entered a village enters too."""
    if one.died_on is not None:
        raise belonging.Deceased
    if await belonging.couple_of(db, one.id):
        raise MarriedElsewhere
    born = one.birth_date
    if day.year - born.year - ((day.month, day.day) < (born.month, born.day)) < AGE_OF_MARRIAGE:
        raise Invalid.at("/event/happened_on", "结婚时未满 18 周岁", "younger than 18 on that day")
    theirs = or_(Couple.wife_id == one.id, Couple.husband_id == one.id)
    # One that was annulled has lasted no day.
    ended = select(func.max(Couple.valid_to)).where(theirs, Couple.valid_to > Couple.valid_from)
    last = await db.scalar(ended)
    if last is not None and day < last:
        raise Invalid.at("/event/happened_on", "早于前一段婚姻结束的日期", "before the former marriage ended")


async def _spouse(db: AsyncSession, actor: Actor, event: Marriage) -> Person:
    if event.spouse is not None:
        return await joining.meet(db, actor, event, event.spouse)
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
    if event.leaves is not None and await _heads(db, row, event.leaves.person_id):
        # While they are married: the children of the one are the other's too. Who heads it stays so if annulled.
        await belonging.settle_head(db, row, event.head_id, None, [])
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
    row = next(iter((await belonging.lock_homes(db, [own_id])).values()), None)
    couple = await belonging.couple_of(db, own_id)
    if couple is None or row is None or row.status is not HouseholdStatus.ACTIVE:
        raise NotACouple
    if couple.plans_pregnancy != plans:
        detail = {"old": couple.plans_pregnancy, "new": plans}
        couple.plans_pregnancy = plans
        await eligibility.lapse(db, [couple.wife_id, couple.husband_id])
        await note(db, actor, row, "plans_changed", person_id=own_id, detail=detail)
    return couple
