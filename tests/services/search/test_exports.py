"""A list leaves the registry complete, marked, recorded in each file, and masked unless that is permitted."""

import asyncio
import os
import tempfile
import time
import uuid
import zipfile
from collections.abc import AsyncIterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import crypto, db
from app.access import Actor, region_bounds
from app.db import new_id
from app.errors import Invalid, NotFound
from app.models.audit import AuditEvent
from app.models.files import StoredFile, StoredFileChunk
from app.models.households import CategoryDefinition, Household, HouseholdStatus, HukouType, Person, Sex
from app.models.identity import Role
from app.models.regions import Region
from app.models.search import ExportStatus, RegistryExport
from app.models.staff import StaffAccount
from app.services import files
from app.services.idempotency import Key
from app.services.imports import columns, sheets
from app.services.imports.categories import category_names
from app.services.imports.places import Regions
from app.services.imports.rows import Known, read_rows
from app.services.search import HouseholdCriteria, PeopleCriteria, exports, workbook
from tests.factories import registry as made
from tests.factories.appointments import worker
from tests.factories.registry import COUNTY, NEXT_COUNTY, NEXT_VILLAGE, VILLAGE, person

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
HOMES = HouseholdCriteria(kind="households")


@pytest.fixture
async def session(committed: str) -> AsyncIterator[AsyncSession]:
    """Real commits: the job has transactions of its own."""
    async with db.sessions() as session:
        await made.villages(session)
        await session.commit()
        yield session


async def ask(
    session: AsyncSession, actor: Actor, criteria: Any = HOMES, unmasked: bool = False
) -> uuid.UUID:
    key = Key(new_id(), b"")
    await exports.request(
        session, actor, key=key, criteria=criteria, unmasked=unmasked, purpose="registry_upkeep"
    )
    await session.commit()
    return key.id


async def book(session: AsyncSession, actor: Actor, id: uuid.UUID) -> zipfile.ZipFile:
    with await exports.download(session, actor, id=id) as file:
        return zipfile.ZipFile(BytesIO(file.read()))


def rows(book: zipfile.ZipFile) -> list[dict[str, str]]:
    sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    found = []
    for row in sheet.iter(f"{SHEET}row"):
        cells = {cell.get("r", "").rstrip("0123456789"): "".join(cell.itertext()) for cell in row}
        found.append(cells)
    headings = found[1]
    return [{headings[place]: text for place, text in cells.items()} for cells in found[2:]]


async def family(session: AsyncSession, actor: Actor, name: str = "=cmd()") -> Household:
    wife = person("王芳", phone="13900000001", hukou_region_code=VILLAGE, hukou_type=HukouType.RURAL)
    husband = person(name, Sex.MALE, resident_since=date(2020, 1, 1))
    home = await made.household(
        session, husband, wife, married=date(1990, 5, 1), local_number="0012", address="新渠梢村 3 组 8 号"
    )
    await made.category(session, actor, "minimum_income", home)
    await made.category(session, actor, "surgery_complication", wife, grade=3, evidence="鉴定书 15 号")
    return home


async def test_a_full_list_has_the_columns_of_an_import(session: AsyncSession) -> None:
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    home = await family(session, actor)
    await made.household(session, person("李远"), region_code=NEXT_COUNTY)
    id = await ask(session, actor, unmasked=True)
    await exports.make(id)
    head, spouse = rows(await book(session, actor, id))
    zh = workbook.COLUMNS
    assert head[zh["relation"]] == "户主"
    assert head[zh["name"]] == "=cmd()"
    assert head[zh["address"]] == "新渠梢村 3 组 8 号"
    assert head[zh["categories"]] == "低保:2020-03-01"
    assert head["系统户号"] == str(home.number)
    assert spouse == {
        zh["region"]: VILLAGE, zh["local_number"]: "0012", zh["address"]: "新渠梢村 3 组 8 号", zh["relation"]: "配偶",
        zh["name"]: "王芳", zh["document_kind"]: "居民身份证", zh["document_number"]: spouse[zh["document_number"]],
        zh["sex"]: "女", zh["birth_date"]: "1960-05-17", zh["hukou_region"]: VILLAGE, zh["hukou_type"]: "农业",
        zh["phone"]: "13900000001", zh["married_since"]: "1990-05-01", zh["plans_pregnancy"]: "否",
        zh["categories"]: "计划生育手术并发症3级:2020-03-01", zh["evidence"]: "鉴定书 15 号",
        "系统户号": str(home.number), "所在地名称": "新渠梢村",
    }  # fmt: skip
    assert len(spouse[zh["document_number"]]) == 18


async def test_a_full_list_can_be_taken_in_again(session: AsyncSession) -> None:
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    home = await family(session, actor, "李强")
    people = {one.document_number: one for one in await session.scalars(select(Person))}
    id = await ask(session, actor, unmasked=True)
    await exports.make(id)
    regions = (
        await session.execute(select(Region.code, Region.parent_code, Region.level, Region.name))
    ).all()
    kinds = select(CategoryDefinition.code, CategoryDefinition.zh, CategoryDefinition.holder)
    known = Known(
        Regions(regions),  # type: ignore[arg-type]
        region_bounds(COUNTY),
        category_names((await session.execute(kinds)).all()),  # type: ignore[arg-type]
    )
    with await exports.download(session, actor, id=id) as file:
        lines = sheets.read(file, "list.xlsx")
        found = list(read_rows(lines, columns.find(lines), known))
    assert [row.relation for row in found] == ["head", "spouse"]
    for row in found:
        assert not row.refused
        assert row.document_number is not None
        one = people.pop(row.document_number)
        assert (row.name, row.sex, row.birth_date) == (one.name, one.sex, one.birth_date)
        assert (row.hukou_region_code, row.hukou_type) == (one.hukou_region_code, one.hukou_type)
        assert (row.phone, row.resident_since) == (one.phone, one.resident_since)
        assert (row.region_code, row.local_number, row.address) == (VILLAGE, "0012", home.address)
        assert (row.married_since, row.plans_pregnancy) == (date(1990, 5, 1), False)
    held = [(one.code, one.grade, one.since, one.evidence) for row in found for one in row.categories]
    assert held == [
        ("minimum_income", None, date(2020, 3, 1), "低保证"),
        ("surgery_complication", 3, date(2020, 3, 1), "鉴定书 15 号"),
    ]
    assert not people


async def test_a_masked_list_holds_nothing_that_identifies(session: AsyncSession) -> None:
    actor = await worker(session, VILLAGE, Role.VILLAGE_WORKER)
    await family(session, actor)
    people = list(await session.scalars(select(Person)))
    id = await ask(session, actor, PeopleCriteria())
    await exports.make(id)
    taken = await book(session, actor, id)
    content = "".join(taken.read(name).decode() for name in taken.namelist())
    personal = {
        "王芳",
        "cmd",
        "13900000001",
        "组 8 号",
        "鉴定书",
        "1960-05-17",
        *(one.document_number for one in people),
    }
    assert not {one for one in personal if one in content}
    assert "139****0001" in content


async def test_the_list_says_who_took_it_when_and_why(session: AsyncSession) -> None:
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    await family(session, actor)
    id = await ask(session, actor, unmasked=True)
    await exports.make(id)
    taken = await book(session, actor, id)
    account = await session.get_one(StaffAccount, actor.id)
    sheet, core = taken.read("xl/worksheets/sheet1.xml").decode(), taken.read("docProps/core.xml").decode()
    first = sheet[sheet.index("<row") : sheet.index("</row>")]
    for mark in (account.name, account.username, "档案维护", "未脱敏", "共 2 行", str(id)):
        assert mark in first, mark
        assert mark in core, mark
    assert f"马建国（{account.username}） 20" in sheet[sheet.index("<oddHeader>") :]
    assert str(id) in sheet[sheet.index("<oddFooter>") :]
    assert 'name="马建国 20' in taken.read("xl/workbook.xml").decode()
    assert "<f>" not in sheet


async def test_each_person_in_the_list_has_it_in_the_own_file(session: AsyncSession) -> None:
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    await family(session, actor)
    other = person("李远")
    await made.household(session, other, region_code=NEXT_VILLAGE)
    id = await ask(session, actor, HouseholdCriteria(kind="households", region_code=VILLAGE), unmasked=True)
    await exports.make(id)
    events = select(AuditEvent.person_id).where(
        AuditEvent.action == "export_unmasked",
        AuditEvent.entity_id == id,
        AuditEvent.purpose == "registry_upkeep",
    )
    recorded = set(await session.scalars(events))
    assert recorded == set(await session.scalars(select(Person.id).where(Person.id != other.id)))


async def test_unmasked_is_a_permission_of_its_own_also_later(session: AsyncSession) -> None:
    officer = await worker(session, VILLAGE, Role.TOWNSHIP_OFFICER)
    with pytest.raises(exports.UnmaskingNotAllowed):
        await ask(session, officer, unmasked=True)
    await session.rollback()
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    await family(session, actor)
    id = await ask(session, actor, unmasked=True)
    demoted = update(StaffAccount).where(StaffAccount.id == actor.id).values(role=Role.VILLAGE_WORKER)
    await session.execute(demoted)
    await session.commit()
    await exports.make(id)
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.status, row.problem, row.file_id) == (ExportStatus.FAILED, "unmasking-not-allowed", None)
    with pytest.raises(exports.ExportNotReady):
        await exports.download(session, Actor(Role.COUNTY_ADMINISTRATOR, actor.id, COUNTY), id=id)
    assert not await session.scalar(select(func.count()).where(AuditEvent.action == "export_unmasked"))


async def test_nobody_else_fetches_it_and_it_is_kept_sealed(session: AsyncSession) -> None:
    actor, colleague = await worker(session, COUNTY), await worker(session, COUNTY)
    await family(session, actor)
    id = await ask(session, actor)
    await exports.make(id)
    for look in (exports.download, exports.get):
        with pytest.raises(NotFound):
            await look(session, colleague, id=id)
    assert await exports.listing(session, colleague, before=None, limit=5) == []
    assert [row.id for row in await exports.listing(session, actor, before=None, limit=5)] == [id]
    (piece,) = await session.scalars(select(StoredFileChunk.data_sealed))
    assert b"PK" not in piece[:40]
    with pytest.raises(crypto.Undecryptable):
        crypto.unseal_bytes(piece, place="elsewhere")


async def test_progress_is_seen_and_a_second_run_changes_nothing(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await worker(session, COUNTY)
    for number in range(5):
        await made.household(session, person("王芳"), local_number=str(number))
    monkeypatch.setattr(exports, "CHUNK", 2)
    id = await ask(session, actor)
    seen: list[Any] = []
    record = exports.audit.record

    async def watched(*arguments: Any, **named: Any) -> None:
        async with db.sessions() as other:
            row = await other.get_one(RegistryExport, id)
            seen.append((row.status, row.rows_done, row.rows_total))
        await asyncio.wait_for(exports.make(id), 5)  # another worker at the same
        await record(*arguments, **named)

    monkeypatch.setattr(exports.audit, "record", watched)
    await exports.make(id)
    assert seen == [(ExportStatus.RUNNING, done, 5) for done in (0, 2, 4)]
    await exports.make(id)
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.status, row.rows_done) == (ExportStatus.DONE, 5)
    exported = select(func.count()).where(AuditEvent.action == "export")
    assert await session.scalar(exported) == 5
    monkeypatch.undo()
    assert len(rows(await book(session, actor, id))) == 5


async def test_the_number_and_the_lines_are_of_one_moment(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long list is written people come and go."""
    actor = await worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    leaving = person("王远")
    for number, one in enumerate((person("王芳"), person("王兰"), leaving)):
        await made.household(session, one, local_number=str(number))
    monkeypatch.setattr(exports, "CHUNK", 1)
    id = await ask(session, actor)
    write = exports.lines
    came = iter("赵钱孙")

    async def meanwhile(*arguments: Any) -> Any:
        async with db.begin() as other:
            await made.household(other, person(f"{next(came)}新"), region_code=NEXT_VILLAGE)
            gone = update(Person).where(Person.id == leaving.id)
            await other.execute(gone.values(region_code=NEXT_COUNTY))
        return await write(*arguments)

    monkeypatch.setattr(exports, "lines", meanwhile)
    await exports.make(id)
    taken = await book(session, actor, id)
    assert len(rows(taken)) == 3
    assert "共 3 行" in taken.read("xl/worksheets/sheet1.xml").decode()
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.rows_done, row.rows_total) == (3, 3)


async def test_a_list_that_excel_could_not_hold_is_refused(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await worker(session, COUNTY)
    await family(session, actor)
    monkeypatch.setattr(exports, "MOST_ROWS", 1)
    id = await ask(session, actor)
    await exports.make(id)
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.status, row.problem) == (ExportStatus.FAILED, "too-many-rows")


async def test_what_breaks_ends_as_failed(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = await worker(session, COUNTY)
    await family(session, actor)
    id = await ask(session, actor)
    monkeypatch.setattr(workbook.Workbook, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await exports.make(id)
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.status, row.problem) == (ExportStatus.FAILED, "unexpected")
    assert row.finished_at is not None


async def jobs(session: AsyncSession) -> int:
    query = text("SELECT count(*) FROM pgqueuer WHERE entrypoint = :job")
    return await session.scalar(query, {"job": exports.JOB}) or 0


async def test_what_stands_still_is_taken_up_again_but_not_for_ever(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was lost, so that not even the failure could be written down."""
    actor = await worker(session, COUNTY)
    await family(session, actor)
    id = await ask(session, actor)
    monkeypatch.setattr(exports, "_make", lost)
    monkeypatch.setattr(exports, "_fail", lost)
    for _ in range(exports.ATTEMPTS):
        await session.execute(text("DELETE FROM pgqueuer"))
        await exports.resume(session)
        await exports.resume(session)
        assert await jobs(session) == 1
        await session.commit()
        with pytest.raises(ConnectionError):
            await exports.make(id)
    await exports.make(id)
    row = await session.get_one(RegistryExport, id, populate_existing=True)
    assert (row.status, row.problem) == (ExportStatus.FAILED, "given-up")
    await session.execute(text("DELETE FROM pgqueuer"))
    await exports.resume(session)
    assert await jobs(session) == 0


async def lost(*_: Any) -> None:
    raise ConnectionError


async def test_a_run_that_was_overtaken_keeps_no_second_file(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await worker(session, COUNTY)
    await family(session, actor)
    id = await ask(session, actor)
    close, overtaken = workbook.Workbook.close, asyncio.get_running_loop()

    def slowly(self: workbook.Workbook) -> None:
        monkeypatch.setattr(workbook.Workbook, "close", close)
        asyncio.run_coroutine_threadsafe(exports.make(id), overtaken).result(10)
        close(self)

    monkeypatch.setattr(workbook.Workbook, "close", slowly)
    await exports.make(id)
    assert await session.scalar(select(func.count()).select_from(StoredFile)) == 1
    assert len(rows(await book(session, actor, id))) == 2


@pytest.mark.parametrize("status", [one for one in HouseholdStatus if one is not HouseholdStatus.ACTIVE])
async def test_households_without_people_to_list_are_refused(
    session: AsyncSession, status: HouseholdStatus
) -> None:
    actor = await worker(session, COUNTY)
    with pytest.raises(Invalid):
        await ask(session, actor, HouseholdCriteria(kind="households", status=status))


async def test_who_is_asked_for_by_phone_has_that_in_the_own_file(session: AsyncSession) -> None:
    actor = await worker(session, COUNTY)
    await family(session, actor)
    await ask(session, actor, PeopleCriteria(phone="13900000001", category="five_guarantees"))
    asked = select(AuditEvent.person_id).where(AuditEvent.action == "request")
    wife = select(Person.id).where(Person.name == "王芳")
    assert list(await session.scalars(asked)) == list(await session.scalars(wife))


def test_what_a_killed_process_left_behind_is_deleted() -> None:
    left = [Path(tempfile.mkdtemp(prefix=files.FOLDER)) for _ in range(2)]
    for folder in left:
        (folder / "rows").write_text("王芳", encoding="utf-8")
    yesterday = time.time() - files.ABANDONED.total_seconds() - 1
    os.utime(left[0], (yesterday, yesterday))
    files.purge_folders()
    assert [folder.exists() for folder in left] == [False, True]
    (left[1] / "rows").unlink()
    left[1].rmdir()
