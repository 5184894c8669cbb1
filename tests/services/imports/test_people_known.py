"""Who is known already: whom a list may not touch, and what it may not change."""

from datetime import date

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.households import Couple, Household, HukouType, Membership, Person
from app.models.identity import ResidentAccount
from app.models.imports import ImportRow, ImportStatus
from app.services import identity
from app.services.imports import reading
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.factories.imports import family, known_person, line, number_of, verdicts

NUMBER = lists.number(date(1980, 1, 1), female=True)
PHONE = "13900000001"


@pytest.fixture
async def officer(session: AsyncSession) -> Actor:
    actor = await made.worker(session, made.REGION)
    await session.commit()
    return actor


async def left(session: AsyncSession, officer: Actor, **changed: object) -> None:
    """Somebody whose papers were seen has left the household."""
    lines = [line("1", "户主", "张三", 证件号码=NUMBER, 手机号=PHONE)]
    await lists.committed(session, officer, lines)
    await session.execute(update(Membership).values(valid_to=clock.today()))
    gone = update(Person).values(region_code=None, version=Person.version + 1, **changed)
    await session.execute(gone)
    await session.commit()


@pytest.mark.parametrize("on_file", [True, False])
async def test_a_list_does_not_take_over_the_phone_of_somebody_known(
    session: AsyncSession, officer: Actor, on_file: bool
) -> None:
    """Who has the phone on file opens the file."""
    await left(session, officer, **({} if on_file else {"phone_sealed": None, "phone_index": None}))
    other = "13899999999"
    id = await lists.committed(
        session, officer, [line("9", "户主", "张三", 证件号码=NUMBER, 手机号=other), *family("2")]
    )
    assert (await verdicts(session, id))[0] == ("refused", ["phone_differs"])
    person = (await session.scalars(select(Person).where(Person.name == "张三"))).one()
    await session.refresh(person)
    assert person.phone == (PHONE if on_file else None)
    assert not await identity._may_bind(session, person, "张三", other)


@pytest.mark.parametrize("phone", [PHONE, ""])
async def test_somebody_known_keeps_what_is_on_file(
    session: AsyncSession, officer: Actor, phone: str
) -> None:
    await left(session, officer, hukou_type=HukouType.RURAL)
    id = await lists.committed(session, officer, [line("9", "户主", "张三", 证件号码=NUMBER, 手机号=phone)])
    verdict, codes = (await verdicts(session, id))[0]
    assert (verdict, codes[-1]) == ("warning", "linked")
    person = (await session.scalars(select(Person))).one()
    await session.refresh(person)
    assert (person.phone, person.hukou_type, person.region_code) == (
        PHONE, HukouType.RURAL, lists.TOWN,
    )  # fmt: skip


async def test_who_is_only_stored_is_not_linked(session: AsyncSession, officer: Actor) -> None:
    await left(session, officer, restricted_at=clock.now())
    again = [line("9", "户主", "张三", 证件号码=NUMBER, 手机号=PHONE)]
    id = await lists.checked(officer, again)
    assert await verdicts(session, id) == [("refused", ["registered_elsewhere"])]


@pytest.mark.parametrize("chunk", [1, 5000])
async def test_two_documents_of_one_person(
    session: AsyncSession, officer: Actor, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK", chunk)
    numbers = [lists.number(date(1980, 1, 1), female=False) for _ in range(2)]
    lost, kept = [await known_person(session, number, "张三") for number in numbers]
    await session.execute(update(ResidentAccount).values(person_id=None))
    await session.execute(update(Person).where(Person.id == lost.id).values(merged_into=kept.id))
    await session.commit()
    lines = [line(str(place), "户主", "张三", 证件号码=number) for place, number in enumerate(numbers)]
    id = await lists.checked(officer, [*lines, *family("3")])
    assert (await verdicts(session, id))[:2] == [("warning", ["linked"]), ("refused", ["document_twice"])]
    shown = await lists.commit(session, officer, id)
    assert shown["status"] is ImportStatus.COMMITTED
    assert await number_of(session, Household) == 2


async def test_two_lines_that_became_one_person_do_not_stop_the_rest(
    session: AsyncSession, officer: Actor
) -> None:
    """What the check cannot have missed, the commit refuses all the same."""
    lines = family("1")
    numbers = [cells["证件号码"] for cells in lines[:2]]
    people = [
        await known_person(session, number, cells["姓名"], cells["手机号"])
        for number, cells in zip(numbers, lines[:2], strict=True)
    ]
    id = await lists.checked(officer, [*lines, *family("3")])
    same = update(ImportRow).where(ImportRow.batch_id == id, ImportRow.line == 3)
    await session.execute(same.values(person_id=people[0].id))
    await session.commit()
    shown = await lists.commit(session, officer, id)
    assert shown["status"] is ImportStatus.COMMITTED
    assert (await verdicts(session, id))[1][0] == "refused"


async def test_a_spouse_is_judged_by_the_registered_sex_of_the_head(
    session: AsyncSession, officer: Actor
) -> None:
    """Not by what the list says of somebody who is in already."""
    head = line("1", "户主", "王建军") | {"手机号": ""}
    await lists.committed(session, officer, [head])
    await session.execute(update(Person).values(sex="female"))
    await session.commit()
    husband = line("1", "配偶", "李强", 结婚日期="2012-03-04")
    id = await lists.checked(officer, [head, husband])
    assert [verdict for verdict, _ in await verdicts(session, id)] == ["known", "ready"]


async def test_two_heads_for_a_household_that_two_of_the_list_turn_out_to_be(
    session: AsyncSession, officer: Actor
) -> None:
    children = [line("5", "子女", "王小明"), line("5", "子女", "王小红", female=True)]
    await lists.committed(session, officer, children)
    lines = [
        line("", "户主", "王建军"), children[0] | {"户编号": ""},
        line("", "户主", "李秀英", female=True), children[1] | {"户编号": ""},
    ]  # fmt: skip
    id = await lists.checked(officer, lines)
    assert [verdict for verdict, _ in await verdicts(session, id)] == ["ready", "known", "refused", "known"]
    assert (await verdicts(session, id))[2] == ("refused", ["two_heads"])


async def test_a_marriage_that_no_longer_fits_is_told(session: AsyncSession, officer: Actor) -> None:
    lines = family("1")[:2]
    id = await lists.checked(officer, lines)
    # Somebody registers the head meanwhile, elsewhere.
    await lists.committed(session, officer, [line("7", "户主", "王建军", 证件号码=lines[0]["证件号码"])])
    shown = await lists.commit(session, officer, id)
    assert (await verdicts(session, id))[1] == ("warning", ["marriage_not_registered"])
    assert shown["counts"]["warning"] == 1
    assert await number_of(session, Couple) == 0
    assert await session.scalar(select(ImportRow.partner_id).where(ImportRow.line == 3)) is None


async def test_a_category_that_is_there_by_now_is_told(session: AsyncSession, officer: Actor) -> None:
    told = {"类别": "低保:2020-01-01", "证明材料": "低保证"}
    await lists.committed(session, officer, [line("1", "户主", "王建军", **told)])
    id = await lists.committed(session, officer, [line("1", "子女", "王小明", **told)])
    assert await verdicts(session, id) == [("warning", ["category_there"])]
    rows = await lists.rows_of(session, id)
    assert rows[0].categories == []
