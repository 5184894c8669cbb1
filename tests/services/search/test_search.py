"""Whoever is in the region is found by what is known of them; nobody else is."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid
from app.models.audit import AuditEvent
from app.models.households import DocumentKind, FamilyType, HouseholdStatus, Sex
from app.models.identity import Role
from app.models.regions import Region
from app.services.regions import RegionOutsideOwn
from app.services.search import HouseholdCriteria, PeopleCriteria, households, matching, people, spelling
from tests.explain import Explain
from tests.factories import registry as made
from tests.factories.appointments import worker
from tests.factories.registry import COUNTY, NEXT_COUNTY, NEXT_VILLAGE, TOWN, VILLAGE, person


@pytest.fixture
async def actor(session: AsyncSession) -> Actor:
    await made.villages(session)
    return await worker(session, COUNTY)


async def found(session: AsyncSession, actor: Actor, **criteria: Any) -> list[str]:
    """The birth years, by which the tests tell them apart: names are masked."""
    rows = await people.search(session, actor, PeopleCriteria(**criteria), after=None, limit=50)
    if not {"document_number", "phone"} & set(criteria):
        counted = await people.count(session, actor, PeopleCriteria(**criteria))
        assert counted == {"count": len(rows), "more": False}
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    "typed", ["张小", "张小乐", "zhang", "zhangx", "Zhang".lower(), "zhang xiao", "ZXL", "zx", "ｚｘｌ"]
)
async def test_a_name_is_found_by_its_beginning_its_sound_and_its_initials(
    session: AsyncSession, actor: Actor, typed: str
) -> None:
    await made.household(session, person("张小乐"), person("李四"), person("小张"))
    assert await found(session, actor, name=typed) == ["张*乐"]


@pytest.mark.parametrize("name", ["Mary Ann", "MARY ANN"])
@pytest.mark.parametrize("typed", ["Mary", "Mary A", "MARY ANN", "mary", "maryann", "MARY"])
async def test_a_latin_name_is_found_in_whatever_case(
    session: AsyncSession, actor: Actor, name: str, typed: str
) -> None:
    await made.household(session, person(name), person("马兰"))
    assert await found(session, actor, name=typed) == ["M*******"]


@pytest.mark.parametrize("typed", ["JOHN SMITH", "John S", "john smith", "johns", "John"])
async def test_a_latin_name_is_not_taken_for_initials(
    session: AsyncSession, actor: Actor, typed: str
) -> None:
    await made.household(session, person("JOHN SMITH"), person("Anne-Marie O'Brien"))
    assert await found(session, actor, name=typed) == ["J*********"]


@pytest.mark.parametrize("typed", ["wxa", "al"])
async def test_initials_with_a_vowel_are_initials_still(
    session: AsyncSession, actor: Actor, typed: str
) -> None:
    await made.household(session, person("王小安"), person("艾力"), person("安丽"))
    assert len(await found(session, actor, name=typed)) == {"wxa": 1, "al": 2}[typed]


@pytest.mark.parametrize("typed", ["张%", "张_", "%", "'", "\\", "张小乐乐"])
async def test_no_character_of_a_name_is_a_pattern(session: AsyncSession, actor: Actor, typed: str) -> None:
    await made.household(session, person("张小乐"))
    assert await found(session, actor, name=typed) == []


@pytest.mark.parametrize(
    ("letters", "syllables"),
    [("zhang", True), ("zhangx", True), ("ma", True), ("xian", True), ("tiane", True), ("lv", True), ("ale", True),
     ("zxl", False), ("zh", False), ("w", False), ("al", False), ("", False), ("xian" * 20 + "qi!", False)],
)  # fmt: skip
def test_syllables_are_told_from_initials(letters: str, syllables: bool) -> None:
    assert spelling.is_pinyin(letters) is syllables


async def test_a_document_or_a_phone_finds_one_and_the_look_is_in_the_file(
    session: AsyncSession, actor: Actor
) -> None:
    sought = person("王芳", phone="13900000001")
    passport = person("李强", Sex.MALE, kind=DocumentKind.PASSPORT, document="E12345678")
    home = await made.household(session, sought, passport)
    for criteria in (
        {"document_number": sought.document_number},
        {"document_number": sought.document_number.replace("6", "６")},
        {"phone": "13900000001"},
    ):
        rows = await people.search(session, actor, PeopleCriteria(**criteria), after=None, limit=5)
        assert [row["id"] for row in rows] == [sought.id]
        assert rows[0]["household_number"] == home.number
        assert rows[0]["region_name"] == "新渠梢村"
        assert sought.document_number not in str(rows)
        assert "13900000001" not in str(rows)
        assert rows[0]["name"] == "王*"
    looks = await session.scalars(select(AuditEvent.person_id).where(AuditEvent.action == "search"))
    assert list(looks) == [sought.id] * 3
    assert await found(session, actor, document_kind="passport", document_number="e12345678") == ["李*"]
    assert await found(session, actor, phone="13900000002") == []
    with pytest.raises(Invalid):
        await found(session, actor, document_number="64010419600517123")


async def test_a_look_that_finds_nobody_is_in_the_file_too(session: AsyncSession, actor: Actor) -> None:
    """That somebody has no such category is known from it."""
    sought, other = person("王芳", phone="13900000001"), person("李强", Sex.MALE, phone="13900000002")
    await made.household(session, sought, other)
    hidden = person("赵远")
    await made.household(session, hidden, region_code=NEXT_COUNTY)
    document = {"document_number": sought.document_number}
    assert await found(session, actor, category="minimum_income", **document) == []
    assert await found(session, actor, phone="13900000002", **document) == []
    assert await found(session, actor, document_number=hidden.document_number) == []
    looks = select(AuditEvent.person_id).where(AuditEvent.action == "search").order_by(AuditEvent.id)
    recorded = list(await session.scalars(looks))
    assert recorded[0] == sought.id
    assert {*recorded[1:3]} == {sought.id, other.id}
    assert recorded[3:] == [None]


@pytest.mark.parametrize("criteria", [{"document_number": "E12345678"}, {"phone": "13900000001"}])
async def test_nobody_is_looked_for_by_counting(
    session: AsyncSession, actor: Actor, criteria: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as refused:
        await people.count(session, actor, PeopleCriteria(document_kind=DocumentKind.PASSPORT, **criteria))
    assert [place["pointer"] for place in refused.value.errors or []] == [f"/{one}" for one in criteria]


async def test_who_is_restricted_shows_in_no_household(session: AsyncSession, actor: Actor) -> None:
    village = await worker(session, VILLAGE, Role.VILLAGE_WORKER)
    hidden = person("王小芳", restricted_at=clock.now())
    await made.household(session, hidden)
    await made.category(session, actor, "surgery_complication", hidden)
    held = HouseholdCriteria(kind="households", category="surgery_complication")
    assert await households.search(session, village, held, after=None, limit=5) == []
    every = await households.search(
        session, village, HouseholdCriteria(kind="households"), after=None, limit=5
    )
    assert [row["head"] for row in every] == [None]
    decides = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    seen = await households.search(session, decides, held, after=None, limit=5)
    assert [row["head"] for row in seen] == ["王*芳"]


async def test_a_search_by_name_is_in_nobody_s_file(session: AsyncSession, actor: Actor) -> None:
    await made.household(session, person("王芳"))
    await found(session, actor, name="王")
    events = (await session.execute(select(AuditEvent.action, AuditEvent.person_id))).all()
    assert events == [("search", None), ("count", None)]


async def test_people_are_found_by_what_they_are(session: AsyncSession, actor: Actor) -> None:
    years = clock.years_ago
    old = person("老人", born=years(60))
    young = person("小伙", Sex.MALE, born=years(60) + timedelta(days=1), hukou_region_code=NEXT_COUNTY)
    home = await made.household(session, old, young, family_type=FamilyType.ELDERLY, local_number="0012")
    child = person("孩子", born=years(7), hukou_region_code=TOWN)
    other = await made.household(session, child, region_code=NEXT_VILLAGE, family_type=FamilyType.STABLE)
    await made.category(session, actor, "minimum_income", home)
    await made.category(session, actor, "surgery_complication", child)
    await made.category(session, actor, "surgery_complication", young, valid_to=date(2025, 1, 1))
    every = {"老*", "小*", "孩*"}
    for criteria, expected in (
        ({}, every), ({"age_from": 60}, {"老*"}), ({"age_to": 59}, {"小*", "孩*"}),
        ({"age_from": 7, "age_to": 7}, {"孩*"}),
        ({"sex": "male"}, {"小*"}), ({"migrant": True}, {"小*"}), ({"migrant": False}, {"老*", "孩*"}),
        ({"family_type": "elderly"}, {"老*", "小*"}), ({"household_number": other.number}, {"孩*"}),
        ({"local_number": "0012"}, {"老*", "小*"}), ({"category": "minimum_income"}, {"老*", "小*"}),
        ({"category": "surgery_complication"}, {"孩*"}), ({"region_code": VILLAGE}, {"老*", "小*"}),
        ({"region_code": TOWN, "sex": "female", "age_from": 1, "category": "minimum_income"}, {"老*"}),
    ):  # fmt: skip
        assert set(await found(session, actor, **criteria)) == expected, criteria


async def test_nobody_outside_the_region_is_found_and_none_of_the_dead(
    session: AsyncSession, actor: Actor
) -> None:
    elsewhere = person("王芳", phone="13900000001")
    home = await made.household(session, elsewhere, region_code=NEXT_COUNTY)
    dead = person("王老", died_on=date(2026, 1, 1))
    await made.household(session, dead)
    for criteria in (
        {}, {"name": "王"}, {"phone": "13900000001"}, {"document_number": elsewhere.document_number},
        {"household_number": home.number},
    ):  # fmt: skip
        assert await found(session, actor, **criteria) == []
    with pytest.raises(RegionOutsideOwn):
        await found(session, actor, region_code=NEXT_COUNTY)
    village = await worker(session, VILLAGE)
    await made.household(session, person("王五"), region_code=NEXT_VILLAGE)
    assert await found(session, actor, name="王") == ["王*"]
    assert await found(session, village, name="王") == []


@pytest.mark.parametrize(
    "criteria", [{"name": "王"}, {"name": "w"}, {"name": "wang"}, {}, {"local_number": "1"}]
)
async def test_pages_follow_each_other_without_gap_or_repetition(
    session: AsyncSession, actor: Actor, criteria: dict[str, str]
) -> None:
    everybody = [person(f"王{'一二三'[i % 3]}") for i in range(7)]
    await more_villages(session, 7)
    for i, one in enumerate(everybody):
        await made.household(session, one, region_code=f"6401040012{i + 1:02}", local_number="1")
    seen: list[Any] = []
    while page := await people.search(
        session, actor, PeopleCriteria(**criteria), after=seen[-1] if seen else None, limit=3
    ):
        seen += [row["id"] for row in page]
    assert len(seen) == 7
    assert set(seen) == {one.id for one in everybody}


async def test_a_cursor_of_somebody_out_of_sight_says_nothing(session: AsyncSession, actor: Actor) -> None:
    hidden = person("王芳")
    await made.household(session, hidden, region_code=NEXT_COUNTY)
    for after in (hidden.id, new_id()):
        with pytest.raises(Invalid):
            await people.search(session, actor, PeopleCriteria(name="王"), after=after, limit=3)


async def more_villages(session: AsyncSession, number: int) -> None:
    rows = [
        {"code": f"6401040012{i + 1:02}", "level": 5, "parent_code": TOWN, "name": "村", "valid_to": None,
         "valid_from": date(2026, 1, 1), "source": "test"}
        for i in range(2, number)
    ]  # fmt: skip
    await session.execute(insert(Region), rows)


async def test_the_households_of_a_number_are_found_before_their_people(
    session: AsyncSession, actor: Actor
) -> None:
    """A number that nobody has must not be looked for in everybody."""
    for criteria in (
        {"local_number": "none"},
        {"local_number": "none", "name": "王"},
        {"household_number": 1},
    ):
        query = await people.matches(session, actor, PeopleCriteria(**criteria))
        page = query.order_by(*query.selected_columns).limit(21)
        plan = "\n".join(await session.scalars(Explain(page)))
        assert "CTE homes" in plan, plan
        assert [column.name for column in query.selected_columns] == ["region_code", "household_id", "id"]


async def test_a_page_of_a_number_ends_the_search_for_its_households(
    session: AsyncSession, actor: Actor
) -> None:
    """Each village has such a household: they are taken as their index has them, and only as many as fill the page."""
    for setting in ("enable_seqscan", "enable_bitmapscan"):
        await session.execute(text(f"SET LOCAL {setting} = off"))
    await session.execute(text("DROP INDEX ix_household_region_code_status"))
    query = await people.matches(session, actor, PeopleCriteria(local_number="1"))
    plan = "\n".join(await session.scalars(Explain(query.order_by(*query.selected_columns).limit(21))))
    homes = plan[plan.index("CTE homes") :]
    assert "Presorted Key: household.region_code" in homes, plan
    assert "Index Only Scan using uq_household_region_code_local_number_active" in homes, plan


async def test_people_of_a_number_are_paged_by_village(session: AsyncSession, actor: Actor) -> None:
    """Village by village, household by household, whichever was registered first."""
    homes = [
        await made.household(session, person("王一"), person("王二"), region_code=code, local_number="7")
        for code in (NEXT_VILLAGE, VILLAGE)
    ]
    sought, after, pages = PeopleCriteria(local_number="7"), None, []
    while page := await people.search(session, actor, sought, after=after, limit=3):
        pages.append([row["household_id"] for row in page])
        after = page[-1]["id"]
    next_village, village = (home.id for home in homes)
    assert pages == [[village, village, next_village], [next_village]]


@pytest.mark.parametrize(
    "criteria", [{"name": "王"}, {"age_from": 30, "age_to": 39}, {"age_from": 60, "sex": "female"}, {}]
)
@pytest.mark.parametrize("role", [Role.COUNTY_ADMINISTRATOR, Role.VILLAGE_WORKER])
async def test_a_count_reads_no_person(
    session: AsyncSession, actor: Actor, criteria: dict[str, Any], role: Role
) -> None:
    """An index has all that is asked of each: a thousand look-ups in a large table cost what the table is large."""
    for setting in ("enable_seqscan", "enable_bitmapscan"):
        await session.execute(text(f"SET LOCAL {setting} = off"))
    found = await people.matches(session, replace(actor, role=role), PeopleCriteria(**criteria))
    plan = "\n".join(await session.scalars(Explain(found.limit(1001))))
    assert "Index Only Scan using ix_person_" in plan, plan


async def test_the_settings_of_a_search_end_with_it(session: AsyncSession, actor: Actor) -> None:
    """An export reads on in the same transaction, and needs every plan."""
    await people.matches(session, actor, PeopleCriteria())
    for name in ("enable_bitmapscan", "enable_seqscan"):
        assert await session.scalar(text(f"SHOW {name}")) == "on"


async def test_counts_beyond_the_limit_say_more(
    session: AsyncSession, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "COUNTED_EXACTLY", 2)
    await made.household(session, person("王一"), person("王二"))
    assert await people.count(session, actor, PeopleCriteria()) == {"count": 2, "more": False}
    await made.household(session, person("王三"))
    assert await people.count(session, actor, PeopleCriteria()) == {"count": 2, "more": True}


async def test_households_are_found_by_what_they_are(session: AsyncSession, actor: Actor) -> None:
    sick = person("李强", Sex.MALE)
    first = await made.household(session, sick, local_number="0012", family_type=FamilyType.ELDERLY)
    second = await made.household(session, person("赵敏"), region_code=NEXT_VILLAGE)
    left = await made.household(session, status=HouseholdStatus.MOVED_OUT)
    await made.household(session, status=HouseholdStatus.DRAFT)
    await made.household(session, person("钱七"), region_code=NEXT_COUNTY)
    await made.category(session, actor, "five_guarantees", sick)
    await made.category(session, actor, "minimum_income", second)
    for criteria, expected in (
        ({}, [first, left, second]), ({"number": second.number}, [second]), ({"local_number": "0012"}, [first]),
        ({"status": "moved_out"}, [left]), ({"family_type": "elderly"}, [first]),
        ({"region_code": NEXT_VILLAGE}, [second]),
        ({"category": "five_guarantees"}, [first]), ({"category": "minimum_income"}, [second]),
    ):  # fmt: skip
        sought = HouseholdCriteria(kind="households", **criteria)
        rows = await households.search(session, actor, sought, after=None, limit=9)
        assert [row["id"] for row in rows] == [home.id for home in expected], criteria
        assert (await households.count(session, actor, sought))["count"] == len(expected)
    rows = await households.search(session, actor, HouseholdCriteria(kind="households"), after=None, limit=1)
    assert rows[0]["head"] == "李*"
    after = (rows[0]["region_code"], rows[0]["status"], rows[0]["id"])
    rest = await households.search(session, actor, HouseholdCriteria(kind="households"), after=after, limit=9)
    assert [row["id"] for row in rest] == [left.id, second.id]


async def test_an_unknown_category_is_refused(session: AsyncSession, actor: Actor) -> None:
    with pytest.raises(Invalid):
        await found(session, actor, category="nobility")


@pytest.mark.parametrize(
    ("criteria", "index"),
    [({"name": "张"}, "ix_person_name_prefix"), ({"name": "zxl"}, "ix_person_initials_prefix"),
     ({"name": "zhang"}, "ix_person_sound_prefix"), ({"phone": "13900000001"}, "ix_person_phone_index"),
     ({"age_from": 100}, "ix_person_birth_date"), ({"migrant": True}, "ix_person_migrant")],
)  # fmt: skip
async def test_each_search_has_its_index(
    session: AsyncSession, actor: Actor, criteria: dict[str, Any], index: str
) -> None:
    """The index answers the condition as the query spells it; that it is chosen is the planner's matter."""
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    await session.execute(text(f"DROP INDEX {', '.join(sorted(OTHERS - {index}))}"))
    query = await people.matches(session, actor, PeopleCriteria(**criteria))
    plan = "\n".join(await session.scalars(Explain(query)))
    assert f"using {index}" in plan or f"on {index}" in plan, plan


OTHERS = {
    "ix_person_name_prefix", "ix_person_initials_prefix", "ix_person_sound_prefix", "ix_person_phone_index",
    "ix_person_birth_date", "ix_person_migrant", "ix_person_region_code", "ix_person_pinyin_birth_date",
}  # fmt: skip
