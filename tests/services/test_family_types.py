"""The four family types: by rule from who lives in a household, unless a worker decided otherwise."""

from datetime import date, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import StaleVersion, WrongState
from app.models.audit import AuditEvent
from app.models.handbook import HouseholdEvent
from app.models.households import (
    Couple,
    FamilyType,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.services import households
from app.services.households import family_types, type_overrides
from tests.factories import appointments as given

HERE, NEXT_TOWN, ELSEWHERE = "640104001000", "640104002000", "640105001000"
F, M = Sex.FEMALE, Sex.MALE


def born(years: int, days: int = 0) -> date:
    """Who is so many years old, and so many days."""
    return clock.years_ago(years) - timedelta(days=days)


async def household(
    session: AsyncSession, *members: tuple[Relation, Sex, date], hukou: str = HERE, married: bool = False
) -> Household:
    row = Household(id=new_id(), region_code=HERE, status=HouseholdStatus.ACTIVE, created_at=clock.now())
    people: list[Person] = []
    for number, (_, sex, birth_date) in enumerate(members):
        person = given.person(f"王{'一二三四五'[number]}", sex, birth_date=birth_date)
        person.hukou_region_code = hukou
        people.append(person)
    session.add_all([row, *people])
    await session.flush()
    for person, (relation, _, _) in zip(people, members, strict=True):
        session.add(
            Membership(
                id=new_id(), household_id=row.id, person_id=person.id, relation=relation,
                valid_from=date(2020, 1, 1),
            )
        )  # fmt: skip
    if married:
        wife = next(one for one in people if one.sex is F)
        husband = next(one for one in people if one.sex is M)
        session.add(
            Couple(
                id=new_id(), wife_id=wife.id, husband_id=husband.id, plans_pregnancy=False,
                valid_from=date(2020, 1, 1),
            )
        )  # fmt: skip
    await session.commit()
    return row


async def settled(session: AsyncSession, row: Household) -> FamilyType | None:
    await family_types.settle(session, [row.id])
    return row.family_type


HEAD, SPOUSE, CHILD, PARENT, OTHER = Relation
DEVELOPING, STABLE, ELDERLY, NEW = FamilyType


@pytest.mark.parametrize(
    ("members", "hukou", "married", "expected"),
    [
        ([(HEAD, M, born(40)), (CHILD, F, born(18, -1))], HERE, False, DEVELOPING),
        ([(HEAD, M, born(40)), (CHILD, F, born(18))], HERE, False, STABLE),
        ([(HEAD, M, born(60)), (SPOUSE, F, born(60))], HERE, True, ELDERLY),
        ([(HEAD, M, born(60)), (SPOUSE, F, born(60, -1))], HERE, True, STABLE),
        ([(HEAD, M, born(70)), (OTHER, F, born(10))], HERE, False, DEVELOPING),
        ([(HEAD, M, born(55)), (SPOUSE, F, born(50, -1))], HERE, True, DEVELOPING),
        ([(HEAD, M, born(55)), (SPOUSE, F, born(50))], HERE, True, STABLE),
        ([(HEAD, F, born(30))], HERE, False, STABLE),
        ([(HEAD, M, born(70))], ELSEWHERE, False, NEW),
        ([(HEAD, M, born(40)), (CHILD, F, born(5))], ELSEWHERE, False, NEW),
        ([(HEAD, M, born(40)), (CHILD, F, born(5))], NEXT_TOWN, False, DEVELOPING),
    ],
    ids=[
        "a child on the eve of majority",
        "grown up today",
        "both sixty today",
        "one sixty tomorrow",
        "a grandchild with a grandfather",
        "a wife of 49",
        "a wife of 50",
        "alone at thirty",
        "old, from elsewhere",
        "with a child, from elsewhere",
        "from the next town of the county",
    ],
)
async def test_the_first_type_that_fits_is_the_household_s(
    session: AsyncSession, members, hukou: str, married: bool, expected: FamilyType
) -> None:
    row = await household(session, *members, hukou=hukou, married=married)
    assert await settled(session, row) is expected
    assert await session.scalar(select(Household.family_type).where(Household.id == row.id)) == expected


async def test_only_current_members_and_marriages_count(session: AsyncSession) -> None:
    row = await household(
        session, (HEAD, M, born(55)), (SPOUSE, F, born(45)), (CHILD, F, born(9)), married=True
    )
    ended = update(Membership).where(Membership.household_id == row.id, Membership.relation == CHILD)
    await session.execute(ended.values(valid_to=clock.today()))
    assert await settled(session, row) is DEVELOPING
    await session.execute(update(Couple).values(valid_to=clock.today()))
    assert await settled(session, row) is STABLE


async def steps(session: AsyncSession, row: Household) -> list[tuple[str, str | None]]:
    events = select(HouseholdEvent.kind, HouseholdEvent.note).where(HouseholdEvent.household_id == row.id)
    return [(kind, text) for kind, text in await session.execute(events.order_by(HouseholdEvent.id))]


async def test_a_change_of_type_is_a_step_of_the_handbook_and_makes_no_edit_stale(
    session: AsyncSession,
) -> None:
    row = await household(session, (HEAD, M, born(40)), (CHILD, F, born(9)))
    version = row.version
    assert await family_types.settle(session, [row.id]) == 1
    assert await steps(session, row) == []  # the first type is part of what made the household active
    assert await family_types.settle(session, [row.id]) == 0

    child = await session.scalar(
        select(Person).join(Membership, Membership.person_id == Person.id).where(Membership.relation == CHILD)
    )
    child.birth_date = born(18)
    assert await family_types.settle(session, [row.id]) == 1
    assert await steps(session, row) == [("family_type_settled", "stable")]
    assert row.version == version
    assert await session.scalar(select(Household.version).where(Household.id == row.id)) == version
    seen = select(func.count()).where(AuditEvent.action == "settle", AuditEvent.entity == "family_type")
    assert await session.scalar(seen) == 2


async def test_only_active_households_are_settled(session: AsyncSession) -> None:
    row = await household(session, (HEAD, M, born(70)))
    row.status = HouseholdStatus.CLOSED
    assert await settled(session, row) is None


async def test_a_worker_decides_otherwise_with_a_reason_and_takes_it_back(session: AsyncSession) -> None:
    row = await household(session, (HEAD, M, born(70)), (OTHER, F, born(10)))
    worker = await given.worker(session)
    await family_types.settle(session, [row.id])
    reason = "孙女只在寒暑假来住"

    changed = await type_overrides.override(
        session, worker, id=row.id, version=row.version, family_type=ELDERLY, reason=reason
    )
    assert (changed.family_type, changed.by_rule) == (ELDERLY, False)
    assert reason.encode() not in changed.family_type_reason_sealed

    # The rule leaves it alone,
    assert await family_types.settle(session, [row.id]) == 0
    assert row.family_type is ELDERLY
    # and everybody who may know sees both.
    seen = await households.detail(session, worker, id=row.id, purpose="registry_upkeep")
    assert seen["family_type"] is ELDERLY
    assert seen["family_type_basis"]["verdict"] is DEVELOPING
    assert seen["family_type_basis"]["reason"] == reason

    back = await type_overrides.clear(session, worker, id=row.id, version=row.version)
    assert (back.family_type, back.by_rule, back.family_type_reason) == (DEVELOPING, True, None)
    assert await steps(session, row) == [
        ("family_type_overridden", "elderly"), ("family_type_by_rule", None), ("family_type_settled", "developing"),
    ]  # fmt: skip
    with pytest.raises(WrongState):
        await type_overrides.clear(session, worker, id=row.id, version=row.version)


async def test_a_stale_version_decides_nothing(session: AsyncSession) -> None:
    row = await household(session, (HEAD, M, born(70)))
    worker = await given.worker(session)
    with pytest.raises(StaleVersion):
        await type_overrides.override(
            session, worker, id=row.id, version=row.version + 1, family_type=STABLE, reason="x"
        )
    assert row.family_type is None


async def test_the_reason_is_for_those_who_verify(session: AsyncSession) -> None:
    row = await household(session, (HEAD, M, born(70)))
    worker = await given.worker(session)
    await type_overrides.override(
        session, worker, id=row.id, version=row.version, family_type=STABLE, reason="与儿子同住"
    )
    supervisor = await given.worker(session, role=given.Role.SUPERVISOR)
    seen = await households.detail(session, supervisor, id=row.id, purpose="audit")
    assert seen["family_type_basis"]["reason"] is None
    assert seen["family_type_basis"]["facts"] == {
        "members": 1, "minors": 0, "elders": 1, "wives_of_childbearing_age": 0, "heads_from_elsewhere": 0,
    }  # fmt: skip


async def test_every_night_birthdays_are_seen_in_all_households(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family_types, "CHUNK", 2)
    rows = [await household(session, (HEAD, M, born(60))) for _ in range(5)]
    draft = await household(session, (HEAD, M, born(60)))
    draft.status = HouseholdStatus.MOVED_OUT
    await session.commit()
    assert await family_types.settle_all() == 5
    assert await family_types.settle_all() == 0
    for row in (*rows, draft):
        await session.refresh(row)
    assert {row.family_type for row in rows} == {ELDERLY}
    assert draft.family_type is None


def test_the_rule_has_a_clause_for_each_type() -> None:
    assert set(family_types.rule().clauses) == set(FamilyType)
    assert Actor.system("x").role == family_types.BY_RULE.role
