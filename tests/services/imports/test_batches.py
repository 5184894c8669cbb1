"""From a list to the registry and back."""

import uuid
from datetime import date

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import StaleVersion, WrongState
from app.models.audit import AuditEvent
from app.models.handbook import HouseholdEvent
from app.models.households import (
    Category,
    Couple,
    DocumentKind,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.imports import ImportBatch, ImportRow, ImportStatus
from app.models.regions import Region
from app.services import identity, imports
from app.services.documents import read as read_document
from app.services.idempotency import IdempotencyKeyReused
from app.services.imports import batches, undo
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.factories.imports import family, known_person, line, number_of, verdicts


@pytest.fixture
async def officer(session: AsyncSession) -> Actor:
    actor = await made.worker(session, made.REGION)
    await session.commit()
    return actor


async def test_a_family_is_taken_in(session: AsyncSession, officer: Actor) -> None:
    id = await lists.checked(officer, family("12"))
    assert await verdicts(session, id) == [("ready", [])] * 3
    assert await number_of(session, Person) == 0, "the dry run writes nothing"
    shown = await lists.commit(session, officer, id)
    assert (shown["status"], shown["rows_done"], shown["counts"]["ready"]) == (ImportStatus.COMMITTED, 3, 3)
    household = (await session.scalars(select(Household))).one()
    assert (household.local_number, household.region_code) == ("12", lists.TOWN)
    assert (household.address, household.status) == ("凤凰北街 8 号", HouseholdStatus.ACTIVE)
    assert household.verified_by == officer.id
    people = {person.name: person for person in await session.scalars(select(Person))}
    wife, husband = people["李秀英"], people["王建军"]
    assert (wife.pinyin, wife.initials, wife.sex, wife.birth_date) == (
        "li xiu ying", "lxy", Sex.FEMALE, date(1985, 5, 6),
    )  # fmt: skip
    found = read_document(DocumentKind.RESIDENT_ID, wife.document_number)
    assert found.index == wife.document_index
    assert wife.phone is not None
    assert wife.phone_index == identity.phone_index(wife.phone)
    assert {person.region_code for person in people.values()} == {lists.TOWN}
    couple = (await session.scalars(select(Couple))).one()
    assert (couple.wife_id, couple.husband_id) == (wife.id, husband.id)
    assert couple.valid_from == date(2012, 3, 4)
    relations = {row.person_id: row.relation for row in await session.scalars(select(Membership))}
    assert relations[husband.id] is Relation.HEAD
    assert len(relations) == 3
    traced = select(AuditEvent.person_id).where(AuditEvent.action == "import")
    assert set(await session.scalars(traced)) == set(relations)


async def test_categories_of_people_and_of_the_household(session: AsyncSession, officer: Actor) -> None:
    told = {"类别": "低保:2020-01-01", "证明材料": "低保证"}
    lines = family("7", **told)
    lines[2]["类别"] = "低保:2020-01-01; 留守儿童:2019-07-01"
    id = await lists.committed(session, officer, lines)
    held = list(await session.scalars(select(Category).order_by(Category.valid_from)))
    assert [(row.household_id is None, row.valid_from) for row in held] == [
        (True, date(2019, 7, 1)), (False, date(2020, 1, 1)),
    ], "the household has it once, though on three lines"  # fmt: skip
    assert {row.evidence for row in held} == {"低保证"}
    assert {row.verified_by for row in held} == {officer.id}
    await lists.undo(session, officer, id)
    assert await number_of(session, Category) == 0


async def test_a_bad_row_spoils_no_other(session: AsyncSession, officer: Actor) -> None:
    lines = family("1") + family("2")
    lines[4]["证件号码"] = "11010519491231002"
    id = await lists.checked(officer, lines)
    given = [verdict for verdict, _ in await verdicts(session, id)]
    assert given == ["ready", "ready", "ready", "ready", "refused", "ready"]
    await lists.commit(session, officer, id)
    assert await number_of(session, Person) == 5
    # The corrected line, uploaded later, joins the household and its head.
    corrected = line("2", "配偶", "赵秀兰", female=True, 结婚日期="2012-03-04")
    second = await lists.checked(officer, [corrected])
    assert await verdicts(session, second) == [("ready", [])]
    await lists.commit(session, officer, second)
    assert await number_of(session, Household) == 2
    couples = list(await session.scalars(select(Couple)))
    assert len(couples) == 2


async def test_without_a_number_members_wait_for_their_head(session: AsyncSession, officer: Actor) -> None:
    lines = family("") + family("")
    lines[0]["证件号码"] = "bad"
    id = await lists.checked(officer, lines)
    refused = [row.line for row in await lists.rows_of(session, id) if row.verdict == "refused"]
    assert refused == [2, 3, 4]
    await lists.commit(session, officer, id)
    assert await number_of(session, Household) == 1


async def test_the_same_document_twice_in_a_file(session: AsyncSession, officer: Actor) -> None:
    lines = [*family("1"), *family("2")]
    lines[5]["证件号码"] = lines[2]["证件号码"]
    id = await lists.checked(officer, lines)
    rows = await lists.rows_of(session, id)
    assert [row.verdict.value for row in rows] == ["ready"] * 5 + ["refused"]
    assert rows[5].wrong[0]["zh"] == "证件号码与第 4 行相同"


async def test_what_is_registered_already_is_skipped(session: AsyncSession, officer: Actor) -> None:
    lines = family("1")
    await lists.committed(session, officer, lines)
    number = await session.scalar(select(Household.number))
    again = await lists.checked(officer, [*lines, line("1", "子女", "王小丽", female=True)])
    rows = await lists.rows_of(session, again)
    assert [row.verdict.value for row in rows] == ["known", "known", "known", "ready"]
    assert str(number) in rows[0].wrong[0]["zh"]
    await lists.commit(session, officer, again)
    assert await number_of(session, Household) == 1
    assert await number_of(session, Membership) == 4


async def test_a_member_of_somebody_known_joins_that_household(session: AsyncSession, officer: Actor) -> None:
    """Also without the village's number."""
    lines = family("")
    await lists.committed(session, officer, lines)
    child = line("", "子女", "王小丽", female=True)
    id = await lists.checked(officer, [*lines, child])
    assert [verdict for verdict, _ in await verdicts(session, id)] == ["known", "known", "known", "ready"]
    await lists.commit(session, officer, id)
    assert await number_of(session, Household) == 1
    assert await number_of(session, Membership) == 4


async def test_who_is_registered_elsewhere_is_refused_with_the_office_to_ask(
    session: AsyncSession, officer: Actor
) -> None:
    elsewhere = await made.worker(session, "640105001000")
    await session.commit()
    lines = family("1", **{"村（社区）": "640105001000"})
    await lists.committed(session, elsewhere, lines)
    name = await session.scalar(select(Region.name).where(Region.code == "640105001000"))
    here = [cells | {"村（社区）": lists.TOWN} for cells in lines]
    here[1]["姓名"] = "李秀兰"
    id = await lists.checked(officer, here)
    rows = await lists.rows_of(session, id)
    assert [row.verdict.value for row in rows] == ["refused"] * 3
    told = rows[0].wrong[0]["zh"] + rows[1].wrong[0]["zh"]
    assert name is not None
    assert told.count(name) == 2
    numbers = await session.scalars(select(Household.number))
    assert not any(str(number) in told for number in numbers), "the household itself is not theirs to know"


async def test_a_person_without_household_is_linked_and_undone(session: AsyncSession, officer: Actor) -> None:
    lines = family("1")
    phone = lines[0]["手机号"]
    person = await known_person(session, lines[0]["证件号码"], "王建军", phone)
    before = dict((await session.execute(select(*Person.__table__.c))).mappings().one())
    id = await lists.checked(officer, lines)
    assert await verdicts(session, id) == [("warning", ["linked"]), ("ready", []), ("ready", [])]
    await lists.commit(session, officer, id)
    await session.refresh(person)
    assert (person.region_code, person.phone, person.version) == (lists.TOWN, phone, before["version"] + 1)
    couple = (await session.scalars(select(Couple))).one()
    assert couple.husband_id == person.id
    await lists.undo(session, officer, id)
    assert dict((await session.execute(select(*Person.__table__.c))).mappings().one()) == before


@pytest.mark.parametrize("phone", ["13700000000", None])
async def test_a_binding_with_another_phone_is_not_linked(
    session: AsyncSession, officer: Actor, phone: str | None
) -> None:
    """Whoever bound it would see the family."""
    lines = family("1")
    await known_person(session, lines[0]["证件号码"], "王建军", phone)
    id = await lists.checked(officer, lines)
    assert (await verdicts(session, id))[0] == ("refused", ["phone_differs"])


async def test_a_second_head_and_his_family_join_nobody_else(session: AsyncSession, officer: Actor) -> None:
    """Villages that number each group from 1 have two households under one number."""
    first = [line("1", "户主", "王建军"), line("1", "子女", "王小明")]
    second = [
        line("1", "户主", "李伟"),
        line("1", "配偶", "孙红", female=True, 结婚日期="2020-01-01"),
        line("1", "子女", "李小红", female=True),
    ]
    id = await lists.checked(officer, [*first, *second])
    given = await verdicts(session, id)
    assert [verdict for verdict, _ in given[:2]] == ["ready"] * 2
    assert given[2] == ("refused", ["two_heads"])
    assert given[3:] == [("refused", ["head_refused"])] * 2
    await lists.commit(session, officer, id)
    assert await number_of(session, Couple) == 0


async def test_two_spouses(session: AsyncSession, officer: Actor) -> None:
    lines = [*family("1"), line("1", "配偶", "赵敏", female=True, 结婚日期="2020-01-01")]
    given = await verdicts(session, await lists.checked(officer, lines))
    assert given[3][0] == "refused"
    assert "two_spouses" in given[3][1]
    assert [verdict for verdict, _ in given[:3]] == ["ready"] * 3


async def test_a_couple_must_be_possible(session: AsyncSession, officer: Actor) -> None:
    lines = [
        line("1", "户主", "王建军"), line("1", "配偶", "李强", 结婚日期="2012-03-04"),
        line("2", "户主", "马强"), line("2", "配偶", "马兰", female=True),
        line("3", "子女", "杨光"),
    ]  # fmt: skip
    id = await lists.checked(officer, lines)
    given = await verdicts(session, id)
    assert given[1] == ("refused", ["sexes_do_not_fit"])
    assert given[3] == ("warning", ["marriage_unknown"])
    assert given[4] == ("warning", ["head_missing"])
    await lists.commit(session, officer, id)
    assert await number_of(session, Couple) == 0


async def test_a_second_head_is_refused_by_the_household_that_exists(
    session: AsyncSession, officer: Actor
) -> None:
    await lists.committed(session, officer, family("1"))
    id = await lists.checked(officer, [line("1", "户主", "王老五")])
    assert await verdicts(session, id) == [("refused", ["head_there"])]


async def test_somebody_who_sounds_alike_is_pointed_out(session: AsyncSession, officer: Actor) -> None:
    await lists.committed(session, officer, family("1"))
    id = await lists.checked(officer, [line("2", "户主", "汪健军")])
    assert await verdicts(session, id) == [("warning", ["sounds_alike"])]


async def test_what_was_registered_after_the_check_is_refused_then(
    session: AsyncSession, officer: Actor
) -> None:
    lines = [*family(""), *family("9")]
    first, second = await lists.checked(officer, lines), await lists.checked(officer, [lines[0], lines[3]])
    await lists.commit(session, officer, second)
    shown = await lists.commit(session, officer, first)
    assert shown["status"] is ImportStatus.COMMITTED
    given = await verdicts(session, first)
    # Without a number the family waits for its head; with one its members join what exists by now.
    assert [codes for _, codes in given[:3]] == [["registered_since"], ["head_refused"], ["head_refused"]]
    assert [codes for _, codes in given[3:]] == [["registered_since"], ["marriage_not_registered"], []]
    assert await number_of(session, Household) == 2
    assert await number_of(session, Person) == 4
    assert [shown["counts"][verdict] for verdict in ("refused", "warning", "ready")] == [4, 1, 1]


async def test_a_household_that_was_closed_after_the_check_is_not_joined(
    session: AsyncSession, officer: Actor
) -> None:
    await lists.committed(session, officer, family("1"))
    id = await lists.checked(officer, [line("1", "子女", "王小丽", female=True)])
    await session.execute(update(Household).values(status=HouseholdStatus.CLOSED))
    await session.commit()
    await lists.commit(session, officer, id)
    assert await verdicts(session, id) == [("refused", ["household_changed"])]


async def test_a_list_that_cannot_be_read_says_why(session: AsyncSession, officer: Actor) -> None:
    id = await lists.upload(officer, "姓名,电话\n张三,1\n".encode())
    await imports.work(id)
    shown = await imports.detail(session, officer, id=id)
    assert shown["status"] is ImportStatus.FAILED
    assert "表头" in shown["problem"][0]["zh"]
    assert await lists.rows_of(session, id) == []


async def test_lists_of_another_region_stay_out(session: AsyncSession, officer: Actor) -> None:
    id = await lists.checked(officer, family("1", **{"村（社区）": "640105001000"}))
    assert {verdict for verdict, _ in await verdicts(session, id)} == {"refused"}


async def test_the_states_of_a_batch(session: AsyncSession, officer: Actor) -> None:
    id = await lists.checked(officer, family("1"))
    version = (await lists.batch_of(session, id)).version
    with pytest.raises(StaleVersion):
        await imports.commit(session, officer, id=id, version=version + 1)
    with pytest.raises(WrongState):
        await imports.undo_all(session, officer, id=id, version=version)
    shown = await imports.discard(session, officer, id=id, version=version)
    assert shown["status"] is ImportStatus.DISCARDED
    with pytest.raises(WrongState):
        await imports.commit(session, officer, id=id, version=shown["version"])
    await batches.purge(session)
    assert await lists.rows_of(session, id) == []


async def test_the_same_key_with_another_file_is_refused(session: AsyncSession, officer: Actor) -> None:
    async def body(content: bytes):  # type: ignore[no-untyped-def]
        yield content

    key = uuid.uuid4()
    first = await imports.upload(officer, body(b"a"), id=key, seen=b"x", name="a.csv")
    again = await imports.upload(officer, body(b"a"), id=key, seen=b"x", name="a.csv")
    assert first == again
    with pytest.raises(IdempotencyKeyReused):
        await imports.upload(officer, body(b"b"), id=key, seen=b"x", name="a.csv")
    assert await number_of(session, ImportBatch) == 1


async def test_a_batch_that_fails_again_and_again_is_given_up(session: AsyncSession, officer: Actor) -> None:
    id = await lists.upload(officer, lists.csv(family("1")))
    await session.execute(update(ImportBatch).values(attempts=batches.ATTEMPTS))
    await session.commit()
    await imports.work(id)
    shown = await imports.detail(session, officer, id=id)
    assert (shown["status"], len(shown["problem"])) == (ImportStatus.FAILED, 1)


async def depends(session: AsyncSession, officer: Actor, id: uuid.UUID) -> dict[str, int]:
    with pytest.raises(imports.ImportInUse) as refused:
        await lists.undo(session, officer, id)
    await session.rollback()
    return {entry["kind"]: entry["count"] for entry in refused.value.extensions["depends"]}


async def test_an_import_in_use_is_not_undone_and_says_what_depends(
    session: AsyncSession, officer: Actor
) -> None:
    first = await lists.committed(session, officer, family("1"))
    number = await session.scalar(select(Household.number))
    second = await lists.committed(session, officer, [line("1", "子女", "王小丽", female=True)])
    assert await depends(session, officer, first) == {"membership": 1}
    with pytest.raises(imports.ImportInUse) as refused:
        await lists.undo(session, officer, first)
    assert refused.value.extensions["depends"][0]["households"] == [number]
    await session.rollback()
    # The later one first, then the earlier.
    await lists.undo(session, officer, second)
    await lists.undo(session, officer, first)
    assert await number_of(session, Household) == await number_of(session, Person) == 0
    assert await number_of(session, ImportRow) == 0


async def test_an_edit_stands_in_the_way_of_undoing(session: AsyncSession, officer: Actor) -> None:
    id = await lists.committed(session, officer, family("1"))
    person = (await session.scalars(select(Person).where(Person.name == "王小明"))).one()
    identity.set_phone(person, "13700000000")
    household = (await session.scalars(select(Household))).one()
    event = HouseholdEvent(
        household_id=household.id, at=clock.now(), kind="note", actor_role=officer.role, actor_id=officer.id
    )
    session.add(event)
    await session.execute(
        update(Membership).where(Membership.person_id == person.id).values(valid_to=clock.today())
    )
    await session.commit()
    assert await depends(session, officer, id) == {"person": 1, "membership": 1, "household_event": 1}


async def test_what_comes_to_depend_before_the_job_runs_stops_it(
    session: AsyncSession, officer: Actor
) -> None:
    id = await lists.committed(session, officer, family("1"))
    batch = await lists.batch_of(session, id)
    await imports.undo_all(session, officer, id=id, version=batch.version)
    await session.execute(update(Person).values(version=2))
    await session.commit()
    await imports.work(id)
    shown = await imports.detail(session, officer, id=id)
    assert shown["status"] is ImportStatus.COMMITTED
    assert shown["problem"][0]["kind"] == "person"
    assert await number_of(session, Person) == 3


def test_every_reference_to_the_registry_is_looked_at() -> None:
    """A new table that names a person or a household stands in the way of undoing, or is known as derived."""
    found = {(table.name, column.name) for table, column, _ in undo.referring()}
    assert {
        ("appointment", "person_id"), ("consent", "guardian_id"), ("household_event", "household_id"),
        ("household_event", "person_id"), ("observation", "person_id"), ("resident_account", "person_id"),
    } <= found  # fmt: skip
