"""What `nuanxin doctor` finds in the registry."""

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import doctor
from app.db import new_id
from app.models.disbursements import Disbursement
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from app.settings import settings
from tests.factories import appointments as given
from tests.factories import disbursements
from tests.test_crypto import keys, using


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


async def test_a_large_registry_is_given_time(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """What encrypted which version is asked of every row: longer than a request may take."""
    given: list[str | None] = []

    async def versions(session: AsyncSession) -> list[int]:
        given.append(await session.scalar(text("SHOW statement_timeout")))
        return []

    monkeypatch.setattr(doctor, "_versions", versions)
    findings = [finding async for finding in doctor._database(session)]
    assert [what for what, well, _ in findings if well is False] == []
    assert given == ["10min"]


async def test_every_kind_of_secret_opens_or_the_doctor_says_so(session: AsyncSession) -> None:
    """The columns that came with the fund among them: one whose key is gone, and one moved from another row."""
    house = await disbursements.house(session)
    rows = [await disbursements.submitted(session, house) for _ in range(2)]
    what, well, _ = await doctor._stored_data(session)
    assert (what, well) == ("stored data open with these keys (versions in use: 1)", True)
    id, key_gone = rows[0].id, bytes([9]) + rows[0].bank_account_sealed[1:]
    for wrong in (key_gone, rows[1].bank_account_sealed):
        async with session.begin_nested() as attempt:
            moved = update(Disbursement).where(Disbursement.id == id)
            await session.execute(moved.values(bank_account_sealed=wrong))
            session.expire_all()
            what, well, _ = await doctor._stored_data(session)
            assert (what, well) == ("stored data open with these keys", False)
            await attempt.rollback()


async def test_a_key_that_no_longer_encrypts_is_named_while_anything_needs_it(session: AsyncSession) -> None:
    house = await disbursements.house(session)
    known, two = settings().field_keys[1].get_secret_value(), "22" * 16
    old = [await disbursements.submitted(session, house) for _ in range(3)]
    with using(keys({1: known, 2: two})):
        new = await disbursements.submitted(session, house)
        await session.flush()
        what, well, _ = await doctor._stored_data(session)
        assert (what, well) == ("stored data open with these keys (versions in use: 1, 2)", True)
        assert (new.payee, old[1].payee) == ("王小芳", "王小芳")
    with using(keys({2: two})):
        assert (await doctor._stored_data(session))[1] is False
