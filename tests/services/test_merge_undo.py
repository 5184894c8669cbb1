"""When a merge is not undone, and what an undone one leaves as it is."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.db import new_id
from app.models.appointments import AppointmentStatus
from app.models.consents import Consent, ConsentNotice
from app.models.duplicates import Merge
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation, Sex
from app.models.identity import Role
from app.models.life_events import LifeEvent, LifeEventKind
from app.models.results import DiagnosticReport
from app.services.duplicates import merging, undoing
from app.services.duplicates.deciding import DecidedElsewhere
from app.services.duplicates.undoing import MergeBuiltUpon
from app.services.households import family_types
from app.services.idempotency import Key
from app.services.rights import anonymising
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value
from tests.factories.twins import TOWN, home
from tests.services.test_merges import an_appointment, unite

NEXT_TOWN = "640104002000"


async def merge(session: AsyncSession, actor: Actor, kept: Person, lost: Person) -> Merge:
    return await merging.people(
        session, actor, key=Key(new_id(), b"m"), kept_id=kept.id, lost_id=lost.id, reason="同一人"
    )


async def built_upon(session: AsyncSession, actor: Actor, row: Merge) -> list[dict[str, Any]]:
    with pytest.raises(MergeBuiltUpon) as refused:
        await undoing.undo(session, actor, id=row.id, reason="弄错了")
    changed: list[dict[str, Any]] = refused.value.extensions["changed"]
    return changed


async def twins(session: AsyncSession) -> tuple[Person, Person]:
    kept, lost = (given.person("李秀英", Sex.FEMALE) for _ in range(2))
    for one in (kept, lost):
        await home(session, given.person("马建国", Sex.MALE), one)
    return kept, lost


@pytest.mark.parametrize("before", [False, True])
async def test_a_report_or_version_since_stays_with_the_appointment(
    session: AsyncSession, before: bool
) -> None:
    attended = await given.attended(session)
    posted = body(attended, wife=with_value(NORMAL_WIFE, "hbsag", "positive"))
    if before:
        await post(session, attended, posted)
        posted |= {"version": 2, "status": "amended"}
    kept = given.person("李秀英", Sex.FEMALE)
    session.add(kept)
    await session.flush()
    county = await given.worker(session)
    row = await merge(session, county, kept, attended.spouses.wife)
    await session.refresh(attended.appointment)
    await post(session, attended, posted)
    changed = await built_upon(session, county, row)
    column = "current_version" if before else "person_id"
    id = await session.scalar(select(DiagnosticReport.id))
    assert {"table": "diagnostic_report", "id": str(id), "column": column} in changed


async def test_nobody_undoes_what_comes_back_beyond_the_own_region(session: AsyncSession) -> None:
    kept, lost = (given.person("李秀英", Sex.FEMALE) for _ in range(2))
    await home(session, given.person("马建国", Sex.MALE), kept)
    await home(session, lost, region_code=NEXT_TOWN)
    county = await given.worker(session, role=Role.COUNTY_ADMINISTRATOR)
    row = await merge(session, county, kept, lost)
    town = await given.worker(session, region_code=TOWN)
    with pytest.raises(DecidedElsewhere) as refused:
        await undoing.undo(session, town, id=row.id, reason="弄错了")
    assert refused.value.extensions["office"] == "兴庆区"
    await undoing.undo(session, county, id=row.id, reason="弄错了")


async def test_households_that_have_moved_since_are_not_parted(session: AsyncSession) -> None:
    kept, lost = [await home(session, given.person(name, Sex.MALE)) for name in ("王建军", "赵大山")]
    county = await given.worker(session)
    row = await unite(session, county, kept, lost)
    await session.refresh(kept)
    kept.region_code = NEXT_TOWN
    await session.execute(update(Person).where(Person.region_code == TOWN).values(region_code=NEXT_TOWN))
    assert await built_upon(session, county, row) == [
        {"table": "household", "id": str(kept.id), "column": "region_code"}
    ]


async def test_the_newest_merge_into_one_is_undone_first(session: AsyncSession) -> None:
    first, kept, second = (given.person("李秀英", Sex.FEMALE) for _ in range(3))
    session.add(kept)
    await session.flush()
    for one in (first, second):
        await home(session, given.person("马建国", Sex.MALE), one)
    county = await given.worker(session)
    rows = [await merge(session, county, kept, one) for one in (first, second)]
    assert {"table": "merge", "id": str(rows[1].id), "column": "undone_at"} in await built_upon(
        session, county, rows[0]
    )
    for row in reversed(rows):
        await undoing.undo(session, county, id=row.id, reason="弄错了")
    for one in (first, second):
        await session.refresh(one)
        assert one.region_code == TOWN


async def test_a_merge_is_seen_though_the_one_who_is_kept_is_counted_nowhere_since(
    session: AsyncSession,
) -> None:
    kept, lost = await twins(session)
    county = await given.worker(session)
    row = await merge(session, county, kept, lost)
    await session.execute(update(Person).where(Person.id == kept.id).values(region_code=None))
    seen = select(Merge.id).where(visible(county, Merge))
    assert list(await session.scalars(seen)) == [row.id]
    elsewhere = await given.worker(session, region_code="640105000000")
    assert list(await session.scalars(select(Merge.id).where(visible(elsewhere, Merge)))) == []


async def test_a_consent_withdrawn_since_does_not_come_back(session: AsyncSession) -> None:
    kept, lost = await twins(session)
    notices = list(await session.scalars(select(ConsentNotice.id).where(ConsentNotice.retired_at.is_(None))))
    given_at = clock.now() - timedelta(days=3)
    consents = [
        Consent(id=new_id(), person_id=one.id, notice_id=notice, given_at=given_at + timedelta(days=day))
        for notice in notices[:2]
        for day, one in enumerate((lost, kept))
    ]
    session.add_all(consents)
    await session.flush()
    county = await given.worker(session)
    row = await merge(session, county, kept, lost)
    consents[1].withdrawn_at = clock.now()  # from the first notice
    await session.flush()
    await undoing.undo(session, county, id=row.id, reason="弄错了")
    for one in consents:
        await session.refresh(one)
    assert [one.withdrawn_at is None for one in consents] == [False, False, True, True]
    assert [one.person_id for one in consents] == [lost.id, kept.id] * 2


async def test_family_types_follow_the_merge_and_its_undoing(session: AsyncSession) -> None:
    old = given.person("王老", Sex.MALE, birth_date=date(1940, 1, 1))
    young = given.person("王小", Sex.MALE, birth_date=date(2020, 1, 1))
    kept = await home(session, old)
    lost = await home(session, given.person("李秀英", Sex.FEMALE), young)
    await family_types.settle(session, [kept.id, lost.id])
    county = await given.worker(session)
    row = await unite(session, county, kept, lost)
    assert kept.family_type == "developing"
    await undoing.undo(session, county, id=row.id, reason="弄错了")
    assert [kept.family_type, lost.family_type] == ["elderly", "developing"]


async def test_the_family_type_of_the_household_that_the_other_left_is_settled(session: AsyncSession) -> None:
    kept, lost = (given.person("王小", Sex.MALE, birth_date=date(2020, 1, 1)) for _ in range(2))
    await home(session, given.person("李秀英", Sex.FEMALE), kept)
    left = await home(session, given.person("王老", Sex.MALE, birth_date=date(1940, 1, 1)), lost)
    await family_types.settle(session, [left.id])
    county = await given.worker(session)
    row = await merge(session, county, kept, lost)
    assert left.family_type == "elderly"
    await undoing.undo(session, county, id=row.id, reason="弄错了")
    assert left.family_type == "developing"


async def test_nobody_becomes_the_spouse_or_child_of_another_head(session: AsyncSession) -> None:
    """A guardian is whoever is spouse or head beside a child."""
    people = [
        [given.person(name, Sex.FEMALE) for name in names] for names in (("甲甲", "乙乙"), ("丙丙", "丁丁"))
    ]
    kept, lost = [await home(session, *pair) for pair in people]
    second = [pair[1].id for pair in people]
    await session.execute(
        update(Membership).where(Membership.person_id.in_(second)).values(relation=Relation.SPOUSE)
    )
    county = await given.worker(session)
    await unite(session, county, kept, lost)
    relations = select(Membership.relation).filter_by(household_id=kept.id, valid_to=None)
    assert sorted(await session.scalars(relations)) == [
        Relation.HEAD, Relation.OTHER, Relation.OTHER, Relation.SPOUSE,
    ]  # fmt: skip


async def test_what_comes_late_is_booked_for_the_one_who_is_kept_where_that_one_lives(
    session: AsyncSession,
) -> None:
    kept, lost = given.person("李秀英", Sex.FEMALE), given.person("李秀英", Sex.FEMALE)
    await home(session, given.person("马建国", Sex.MALE), kept, region_code=NEXT_TOWN)
    await home(session, given.person("马建国", Sex.MALE), lost)
    county = await given.worker(session)
    await merge(session, county, kept, lost)
    late = await an_appointment(session, lost, AppointmentStatus.BOOKED)
    await session.commit()
    assert await undoing.sweep() > 0
    await session.refresh(late)
    assert (late.person_id, late.subject_id, late.region_code) == (kept.id, kept.id, NEXT_TOWN)


async def test_a_joint_report_stays_where_the_other_of_the_two_is_counted(session: AsyncSession) -> None:
    attended = await given.attended(session)
    await post(session, attended, body(attended))
    kept = given.person("李秀英", Sex.FEMALE)
    await home(session, given.person("马建国", Sex.MALE), kept, region_code=NEXT_TOWN)
    county = await given.worker(session)
    await merge(session, county, kept, attended.spouses.wife)
    assert await session.scalar(select(DiagnosticReport.region_code)) == TOWN


async def test_the_address_of_a_household_that_was_merged_goes_with_the_last_member(
    session: AsyncSession,
) -> None:
    people = [given.person(name, Sex.MALE) for name in ("王建军", "赵大山")]
    kept, lost = [await home(session, one) for one in people]
    kept.address, lost.address = "凤凰北街1号", "凤凰北街2号"
    county = await given.worker(session)
    await unite(session, county, kept, lost)
    await session.execute(
        update(Membership).where(Membership.household_id == kept.id).values(valid_to=clock.today())
    )
    await session.execute(
        update(Household).where(Household.id == kept.id).values(status=HouseholdStatus.CLOSED)
    )
    for one, left in zip(people, ("凤凰北街2号", None), strict=True):
        await session.refresh(one)
        await anonymising.anonymise(session, county, one)
        await session.flush()
        await session.refresh(lost)
        assert lost.address == left


async def test_what_happened_in_a_household_is_read_where_it_has_gone(session: AsyncSession) -> None:
    kept, lost = [await home(session, given.person(name, Sex.MALE)) for name in ("王建军", "赵大山")]
    event = LifeEvent(
        id=new_id(), kind=LifeEventKind.BIRTH, household_id=lost.id, happened_on=date(2020, 1, 1), changes=[],
        recorded_at=clock.now(),
    )  # fmt: skip
    session.add(event)
    county = await given.worker(session)
    await unite(session, county, kept, lost)
    await session.execute(update(Household).where(Household.id == kept.id).values(region_code=NEXT_TOWN))
    for region, sees in ((TOWN, []), (NEXT_TOWN, [event.id])):
        town = await given.worker(session, region_code=region)
        assert list(await session.scalars(select(LifeEvent.id).where(visible(town, LifeEvent)))) == sees
