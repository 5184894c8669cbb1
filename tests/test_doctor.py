"""What `nuanxin doctor` finds in the registry."""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app import doctor
from app.db import new_id
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from tests.factories import appointments as given


async def found(session: AsyncSession) -> tuple[doctor.Finding, doctor.Finding]:
    await session.flush()
    return await doctor._counted_places(session), await doctor._heads(session)


async def test_a_registry_in_order_is_well(session: AsyncSession) -> None:
    await given.couple(session)
    alone = given.person("马丽", given.Sex.FEMALE)
    alone.region_code = None
    session.add(alone)
    away = await given.couple(session)
    away.household.status = HouseholdStatus.MOVED_OUT
    away.wife.region_code = away.husband.region_code = None
    places, heads = await found(session)
    assert (places[1], heads[1]) == (True, True)


async def test_who_is_counted_elsewhere_is_a_fault(session: AsyncSession) -> None:
    for wrong in ("640105001000", None):
        spouses = await given.couple(session)
        await session.execute(update(Person).where(Person.id == spouses.wife.id).values(region_code=wrong))
    left = await given.couple(session)
    ended = update(Membership).where(Membership.person_id == left.wife.id)
    await session.execute(ended.values(valid_to=given.clock.today()))
    moved = await given.couple(session)
    moved.household.status = HouseholdStatus.MOVED_OUT
    places, _ = await found(session)
    assert places[:2] == ("people counted elsewhere than where they live: 5", False)


async def test_a_household_without_one_head_is_a_warning(session: AsyncSession) -> None:
    none, two, closed = [await given.couple(session) for _ in range(3)]
    change = update(Membership).values(relation=Relation.OTHER)
    await session.execute(change.where(Membership.household_id == none.household.id))
    await session.execute(
        update(Membership).values(relation=Relation.HEAD).where(Membership.household_id == two.household.id)
    )
    await session.execute(change.where(Membership.household_id == closed.household.id))
    await session.execute(
        update(Household).where(Household.id == closed.household.id).values(status=HouseholdStatus.CLOSED)
    )
    session.add(
        Household(
            id=new_id(), region_code=given.REGION, status=HouseholdStatus.ACTIVE, created_at=given.clock.now()
        )
    )
    _, heads = await found(session)
    assert heads[:2] == ("active households without one head: 3", None)
