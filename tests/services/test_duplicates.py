"""Who may be registered twice: what is found, what is not, and what becomes of it."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import NotFound, WrongState
from app.models.audit import AuditEvent
from app.models.duplicates import ComparedThrough, Merge, Suspicion, SuspicionStatus
from app.models.households import Person, Sex
from app.models.identity import Role
from app.services.duplicates import deciding, finding, offices
from app.services.idempotency import Key
from tests.factories import appointments as given
from tests.factories.twins import BORN, TOWN, home, somebody

NEXT_TOWN, NEXT_COUNTY = "640104002000", "640105001000"


async def found(session: AsyncSession, *people: Person) -> list[Suspicion]:
    await finding.compare(session, [one.id for one in people])
    pairs = select(Suspicion).where(
        Suspicion.person_a.in_([one.id for one in people])
        | Suspicion.person_b.in_([one.id for one in people])
    )
    return list(await session.scalars(pairs.execution_options(populate_existing=True)))


async def test_doubles_are_looked_up_and_not_sought_among_all(session: AsyncSession) -> None:
    """A chunk of two thousand read all three million people, and took five seconds instead of a tenth of one."""
    await session.execute(text("SET LOCAL enable_nestloop = off"))  # the planner takes a join if it can
    given = {"people": [new_id()], "now": clock.now(), "days": 3, "holders": 20, "scores": "{}"}
    plan = list(await session.scalars(text(f"EXPLAIN {finding.FIND.text}"), given))
    joined = [line for line in plan if ("Hash Cond" in line or "Merge Cond" in line) and "q.id" in line]
    assert not joined, plan


@pytest.mark.parametrize(
    ("other", "born", "reasons"),
    [
        ("张小芳", BORN, {"same_name", "same_birth_date"}),
        ("章晓芳", BORN, {"same_sound", "same_birth_date"}),
        ("張小芳", BORN, {"same_sound", "same_birth_date"}),  # a traditional character
        ("张小芳", date(1987, 9, 3), {"same_name", "birth_day_month_swapped"}),
        ("张小芳", date(1987, 3, 12), {"same_name", "birth_days_near"}),
        ("张小芳", date(1987, 3, 6), {"same_name", "birth_days_near"}),
        ("张小芳", date(1981, 3, 9), {"same_name", "birth_year_digit"}),
        ("张小芳", date(1997, 3, 9), {"same_name", "birth_year_digit"}),
    ],
)
async def test_the_same_sound_and_a_birth_date_that_is_a_slip_apart_are_suspected(
    session: AsyncSession, other: str, born: date, reasons: set[str]
) -> None:
    first, second = await somebody(session), await somebody(session, other, born=born)
    for one in (first, second):  # whoever of the two is looked at
        [row] = await found(session, one)
        everywhere = {"same_sex", "same_county", "same_hukou_county"}
        assert set(row.reasons) == reasons | everywhere
        assert row.score == sum(finding.SCORES[reason] for reason in row.reasons)
        assert (row.person_a, row.person_b) == tuple(sorted((first.id, second.id)))


@pytest.mark.parametrize(
    ("other", "born"),
    [
        ("张小红", BORN),  # another name
        ("张小芳", date(1987, 3, 13)),  # four days
        ("张小芳", date(1998, 3, 9)),  # two digits of the year
        ("张小芳", date(1987, 9, 4)),
    ],
)
async def test_another_name_or_another_birth_date_is_not(
    session: AsyncSession, other: str, born: date
) -> None:
    first, second = await somebody(session), await somebody(session, other, born=born)
    assert await found(session, first, second) == []


async def test_a_leap_day_is_no_end_of_february_of_other_years(session: AsyncSession) -> None:
    first = await somebody(session, born=date(1988, 2, 29))
    await somebody(session, born=date(1985, 2, 28))
    leap = await somebody(session, born=date(1984, 2, 29))
    [row] = await found(session, first)
    assert {row.person_a, row.person_b} == {first.id, leap.id}


async def test_the_same_phone_stands_for_the_birth_date_but_not_within_a_household(
    session: AsyncSession,
) -> None:
    first = await somebody(session, phone="13900000001")
    second = await somebody(session, "章小芳", born=date(1960, 5, 5), phone="13900000001")
    [row] = await found(session, first, second)
    assert "same_phone" in row.reasons
    mother = await somebody(session, "李梅", born=date(1960, 1, 1), phone="13900000002", alone=False)
    daughter = await somebody(session, "李梅", born=date(1990, 7, 7), phone="13900000002", alone=False)
    await home(session, mother, daughter)
    assert await found(session, mother, daughter) == []


async def test_a_slip_counts_among_people_of_one_sex_only(session: AsyncSession) -> None:
    her = await somebody(session, "王萍")
    await somebody(session, "王平", sex=Sex.MALE, born=BORN + timedelta(days=1))
    assert await found(session, her) == []
    him = await somebody(session, "王平", sex=Sex.MALE)
    [row] = await found(session, her)
    assert {row.person_a, row.person_b} == {her.id, him.id}


async def test_nearby_is_the_county_of_residence_or_of_the_hukou(session: AsyncSession) -> None:
    first = await somebody(session)
    await somebody(session, region_code=NEXT_COUNTY, hukou=NEXT_COUNTY)
    assert await found(session, first) == []
    migrant = await somebody(session, region_code=NEXT_COUNTY, hukou=NEXT_TOWN)
    rows = await found(session, first)
    assert {(row.person_a, row.person_b) for row in rows} == {tuple(sorted((first.id, migrant.id)))}


@pytest.mark.parametrize("gone", ["region_code", "erased_at", "restricted_at"])
async def test_who_is_counted_nowhere_or_is_to_be_erased_is_no_suspect(
    session: AsyncSession, gone: str
) -> None:
    first, second = await somebody(session), await somebody(session)
    setattr(second, gone, None if gone == "region_code" else clock.now())
    await session.flush()
    assert await found(session, first, second) == []


async def test_a_pair_is_found_once_and_a_dismissed_one_never_again(session: AsyncSession) -> None:
    first, second = await somebody(session), await somebody(session)
    [row] = await found(session, first)
    worker = await given.worker(session)
    await deciding.dismiss(session, worker, id=row.id, reason="两个人，身份证不同")
    for one in (first, second):
        [again] = await found(session, one)
        assert (again.id, again.status) == (row.id, SuspicionStatus.DISMISSED)
    assert again.reason == "两个人，身份证不同"
    with pytest.raises(WrongState):
        await deciding.dismiss(session, worker, id=row.id, reason="再来一次")


async def test_what_was_dismissed_of_somebody_stays_dismissed_after_a_merge(session: AsyncSession) -> None:
    other, kept, lost = [await somebody(session) for _ in range(3)]
    worker = await given.worker(session)
    rows = await found(session, lost)
    [pair] = [row for row in rows if other.id in {row.person_a, row.person_b}]
    await deciding.dismiss(session, worker, id=pair.id, reason="不是同一人")
    [same] = [row for row in rows if kept.id in {row.person_a, row.person_b}]
    await deciding.confirm(
        session, worker, key=Key(new_id(), b"x"), id=same.id, keep=kept.id, reason="同一人"
    )
    assert {row.id for row in await found(session, kept, other)} == {row.id for row in rows} | {pair.id}


async def test_both_in_the_region_decide_and_others_hear_which_office_does(session: AsyncSession) -> None:
    first, second = await somebody(session), await somebody(session, region_code=NEXT_TOWN)
    [row] = await found(session, first)
    town = await given.worker(session, TOWN)
    [listed] = await deciding.listing(session, town, after=None, limit=10)
    assert not listed["decidable"]
    with pytest.raises(deciding.DecidedElsewhere) as refused:
        await deciding.dismiss(session, town, id=row.id, reason="不知道")
    assert refused.value.extensions == {"office": "兴庆区"}
    with pytest.raises(deciding.DecidedElsewhere):
        await deciding.confirm(
            session, town, key=Key(new_id(), b"x"), id=row.id, keep=first.id, reason="同一人"
        )
    for stranger in (await given.worker(session, NEXT_COUNTY), await given.worker(session, "640104003000")):
        assert await deciding.listing(session, stranger, after=None, limit=10) == []
        with pytest.raises(NotFound):
            await deciding.dismiss(session, stranger, id=row.id, reason="不知道")
    county = await given.worker(session)
    await deciding.dismiss(session, county, id=row.id, reason="不是同一人")
    assert second.region_code == NEXT_TOWN


async def test_the_list_shows_both_masked_with_what_agrees_and_what_differs(session: AsyncSession) -> None:
    first = await somebody(session, phone="13912345678")
    await somebody(session, "章晓芳", born=date(1987, 9, 3), region_code=NEXT_TOWN)
    await found(session, first)
    county = await given.worker(session)
    [row] = await deciding.listing(session, county, after=None, limit=10)
    assert row["decidable"]
    assert set(row["differs"]) == {"name", "birth_date", "phone", "region_code"}
    told = {one["name"]: one for one in row["people"]}
    assert set(told) == {"张*芳", "章*芳"}
    assert told["张*芳"]["phone"] == "139****5678"
    assert told["张*芳"]["region_name"] == "兴庆区凤凰北街街道"
    assert told["张*芳"]["household_number"] is not None
    shown = str(row)
    for secret in ("张小芳", "章晓芳", first.document_number, "1987-03-09", "13912345678"):
        assert secret not in shown


async def test_the_most_certain_come_first_page_by_page(session: AsyncSession) -> None:
    for number, name in enumerate(("赵一一", "钱二二", "孙三三", "李四四", "周五五")):
        first = await somebody(session, name)
        await somebody(session, name, born=BORN + timedelta(days=number % 2))
        await found(session, first)
    county = await given.worker(session)
    whole = await deciding.listing(session, county, after=None, limit=10)
    assert [row["score"] for row in whole] == sorted((row["score"] for row in whole), reverse=True)
    assert len({row["score"] for row in whole}) == 2
    pages, after = [], None
    for _ in range(3):
        page = await deciding.listing(session, county, after=after, limit=2)
        pages += page
        after = (page[-1]["score"], page[-1]["id"])
    assert pages == whole


async def test_a_pair_of_which_one_died_is_listed_no_more(session: AsyncSession) -> None:
    first, second = await somebody(session), await somebody(session)
    [row] = await found(session, first)
    second.region_code, second.died_on = None, clock.today()
    await session.flush()
    county = await given.worker(session)
    assert await deciding.listing(session, county, after=None, limit=10) == []
    with pytest.raises(WrongState):
        await deciding.dismiss(session, county, id=row.id, reason="已去世")


async def test_confirming_merges_and_the_same_request_again_does_nothing_more(session: AsyncSession) -> None:
    first, second = await somebody(session), await somebody(session)
    [row] = await found(session, first)
    county = await given.worker(session)
    key = Key(new_id(), b"confirm")
    for _ in range(2):
        merge = await deciding.confirm(session, county, key=key, id=row.id, keep=second.id, reason="同一人")
        assert (merge.id, merge.kept_person_id, merge.lost_person_id) == (key.id, second.id, first.id)
    assert len(list(await session.scalars(select(Merge)))) == 1
    await session.refresh(row)
    assert (row.status, row.decided_by) == (SuspicionStatus.CONFIRMED, county.id)
    traced = await session.scalars(select(AuditEvent.person_id).where(AuditEvent.entity_id == key.id))
    assert {first.id, second.id} <= set(traced)


# The searches by themselves


async def test_the_search_of_a_region_finds_its_own_by_chunks(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "CHUNK", 2)
    for name in ("赵一一", "钱二二", "孙三三"):
        for _ in range(2):
            await somebody(session, name)
    for _ in range(2):
        await somebody(session, "李四四", region_code=NEXT_COUNTY, hukou=NEXT_COUNTY)
    await session.commit()
    assert await finding.compare_region("640104000000") == 3
    assert await finding.compare_region("640104000000") == 0
    assert await finding.compare_region("640100000000") == 1


async def test_who_is_new_is_compared_once_with_everybody(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "CHUNK", 2)
    old = [await somebody(session, name) for name in ("赵一一", "钱二二", "孙三三")]
    await session.execute(update(Person).values(created_at=datetime(2026, 1, 1, tzinfo=UTC)))
    await session.commit()
    assert await finding.compare_new() == 0
    new = await somebody(session, "赵壹壹")
    await session.commit()
    assert await finding.compare_new() == 1
    through = await session.get(ComparedThrough, finding.JOB, populate_existing=True)
    assert through is not None
    assert through.created_at > new.created_at  # nobody is looked at again each time from now on
    assert await finding.compare_new() == 0
    assert len(old) == 3


async def test_only_the_own_region_is_searched(session: AsyncSession) -> None:
    officer = await given.worker(session, TOWN)
    await finding.search(session, officer, region_code=TOWN)
    with pytest.raises(finding.regions.RegionOutsideOwn):
        await finding.search(session, officer, region_code="640104000000")


async def test_a_phone_that_a_whole_village_has_on_file_is_nobody_s(session: AsyncSession) -> None:
    for number in range(finding.HOLDERS):
        await somebody(session, f"王{chr(0x4E00 + number)}", phone="13900000000")
    first = await somebody(session, phone="13900000000")
    await session.flush()
    twin = await somebody(session, born=date(1960, 5, 5), phone="13900000000")
    assert await found(session, first, twin) == []
    near = await somebody(session, phone="13900000000")
    [row] = await found(session, near)
    assert "same_phone" not in row.reasons


async def test_who_was_merged_or_died_is_suspected_no_more(session: AsyncSession) -> None:
    people = [await somebody(session) for _ in range(4)]
    await found(session, *people)
    county = await given.worker(session)
    rows = await deciding.listing(session, county, after=None, limit=10)
    await deciding.dismiss(session, county, id=rows[0]["id"], reason="两个人")
    [dismissed] = [rows[0]["id"]]
    people[0].died_on, people[1].merged_into = clock.today(), people[2].id
    people[0].region_code = people[1].region_code = None
    await session.commit()
    await finding.compare_new()
    left = select(Suspicion).where(Suspicion.id != dismissed)
    for row in await session.scalars(left):
        assert {row.person_a, row.person_b} == {people[2].id, people[3].id}
    assert await session.get(Suspicion, dismissed) is not None


# Whom to ask


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (TOWN, TOWN, TOWN),
        (TOWN, NEXT_TOWN, "640104000000"),
        (TOWN, "640104001001", TOWN),
        (TOWN, NEXT_COUNTY, "640100000000"),
        (TOWN, "640200000000", "640000000000"),
        (TOWN, "110101001000", "000000000000"),
    ],
)
def test_two_regions_lie_in_a_smallest_common_one(one: str, other: str, both: str) -> None:
    assert offices.common(one, other) == offices.common(other, one) == both


async def test_an_office_is_the_town_with_its_county(session: AsyncSession) -> None:
    codes = {
        TOWN: "兴庆区凤凰北街街道",
        "640104000000": "兴庆区",
        "640100000000": "银川市",
        "441900003000": "东莞市东城街道",
    }
    assert await offices.names(session, codes) == codes


def test_a_resident_decides_nothing() -> None:
    for permission in ("duplicate_decide", "person_merge"):
        assert not Actor(Role.RESIDENT, id=new_id()).may(permission)
    assert not Actor(Role.VILLAGE_WORKER, id=new_id()).may("person_merge")
