"""Imports at the workers' door."""

import io
import uuid
import zipfile
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.audit import AuditEvent
from app.models.files import StoredFile
from app.models.households import Person
from app.models.identity import Role
from app.models.imports import ImportBatch
from app.services import imports
from app.settings import settings
from tests.clients import staff_client
from tests.factories import imports as lists
from tests.factories.imports import family, line

PURPOSE = {"Purpose": "registry_upkeep"}


@pytest.fixture
async def officer(session: AsyncSession) -> httpx.AsyncClient:
    return await staff_client(session, Role.TOWNSHIP_OFFICER, lists.TOWN)


async def upload(caller: httpx.AsyncClient, content: bytes, name: str = "凤凰北街名册.csv") -> dict[str, Any]:
    headers = {"File-Name": quote(name), "Idempotency-Key": str(uuid.uuid4())}
    answer = await caller.post("/staff/v1/imports", content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    await imports.work(uuid.UUID(answer.json()["id"]))
    return (await caller.get(f"/staff/v1/imports/{answer.json()['id']}")).json()


async def step(caller: httpx.AsyncClient, batch: dict[str, Any], verb: str) -> dict[str, Any]:
    path = f"/staff/v1/imports/{batch['id']}"
    answer = await caller.post(f"{path}/{verb}", json={"version": batch["version"]})
    assert answer.is_success, answer.text
    await imports.work(uuid.UUID(batch["id"]))
    return (await caller.get(path)).json()


async def test_from_upload_to_undo(officer: httpx.AsyncClient) -> None:
    wrong = line("2", "户主", "赵大海", 证件号码="123")
    batch = await upload(officer, lists.csv([*family("1"), wrong]))
    assert (batch["status"], batch["file_name"], batch["rows_total"]) == ("checked", "凤凰北街名册.csv", 4)
    assert batch["counts"] == {"ready": 3, "warning": 0, "known": 0, "refused": 1}
    assert [row["id"] for row in (await officer.get("/staff/v1/imports")).json()["items"]] == [batch["id"]]
    batch = await step(officer, batch, "commit")
    assert (batch["status"], batch["rows_done"]) == ("committed", 4)
    households = (await officer.get("/staff/v1/households?status=active")).json()["items"]
    assert len(households) == 1
    detail = await officer.get(f"/staff/v1/households/{households[0]['id']}", headers=PURPOSE)
    assert [member["name"] for member in detail.json()["members"]] == ["王*军", "李*英", "王*明"]
    batch = await step(officer, batch, "undo")
    assert batch["status"] == "undone"
    assert (await officer.get("/staff/v1/households?status=active")).json()["items"] == []


async def test_verdicts_are_paged_filtered_and_masked(officer: httpx.AsyncClient) -> None:
    lines = [*family("1"), line("2", "户主", "赵大海", 证件号码="123"), *family("3")]
    path = f"/staff/v1/imports/{(await upload(officer, lists.csv(lines)))['id']}/rows"
    first = (await officer.get(path, params={"limit": 4})).json()
    assert [row["line"] for row in first["items"]] == [2, 3, 4, 5]
    rest = (await officer.get(path, params={"limit": 4, "cursor": first["next"]})).json()
    assert [row["line"] for row in rest["items"]] == [6, 7, 8]
    assert rest["next"] is None
    refused = (await officer.get(path, params={"verdict": "refused"})).json()["items"]
    assert [(row["line"], row["name"]) for row in refused] == [(5, "赵*海")]
    assert refused[0]["reasons"][0]["column"] == "document_number"
    assert (await officer.get(path, params={"cursor": "WyItMSJd"})).status_code == 422


async def test_the_workbook_can_be_corrected_and_uploaded(
    officer: httpx.AsyncClient, session: AsyncSession
) -> None:
    lines = [*family("1"), line("2", "户主", "赵大海", 证件号码="123")]
    batch = await step(officer, await upload(officer, lists.csv(lines)), "commit")
    path = f"/staff/v1/imports/{batch['id']}/workbook"
    assert (await officer.get(path)).status_code == 422, "without a purpose"
    answer = await officer.get(path, headers=PURPOSE)
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        told = book.read("xl/worksheets/sheet1.xml").decode()
    assert "赵大海" in told
    assert "王小明" not in told
    read = select(AuditEvent.person_id).where(
        AuditEvent.action == "read",
        AuditEvent.entity_id == uuid.UUID(batch["id"]),
        AuditEvent.purpose == "registry_upkeep",
    )
    people = set(await session.scalars(select(Person.id)))
    assert set(await session.scalars(read)) == {None, *people}, "in the file of each of the three"
    colleague = await staff_client(session, Role.TOWNSHIP_OFFICER, lists.TOWN)
    assert (await colleague.get(path, headers=PURPOSE)).status_code == 403, (
        "it has documents and phones in clear"
    )
    county = await staff_client(session, Role.COUNTY_ADMINISTRATOR, "640104000000")
    assert (await county.get(path, headers=PURPOSE)).status_code == 200
    again = await upload(officer, answer.content, "导入结果.xlsx")
    assert again["counts"] == {"ready": 0, "warning": 0, "known": 0, "refused": 1}, again


async def test_the_template_is_a_workbook(officer: httpx.AsyncClient) -> None:
    answer = await officer.get("/staff/v1/imports/template")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        assert book.testzip() is None


async def test_the_same_request_twice_is_one_import(
    officer: httpx.AsyncClient, session: AsyncSession
) -> None:
    headers = {"File-Name": "a.csv", "Idempotency-Key": str(uuid.uuid4())}
    content = lists.csv(family("1"))
    answers = [await officer.post("/staff/v1/imports", content=content, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    other = await officer.post("/staff/v1/imports", content=content + b"\n1", headers=headers)
    assert other.status_code == 422
    assert other.json()["type"].endswith("idempotency-key-reused")
    assert await session.scalar(select(func.count()).select_from(ImportBatch)) == 1


async def test_half_an_upload_leaves_nothing(officer: httpx.AsyncClient, session: AsyncSession) -> None:
    async def broken():  # type: ignore[no-untyped-def]
        yield b"half"
        raise ConnectionResetError

    answer = await officer.post("/staff/v1/imports", content=broken(), headers={"File-Name": "a.csv"})
    assert answer.status_code == 503
    assert await session.scalar(select(func.count()).select_from(StoredFile)) == 0


async def test_a_list_may_be_large_but_not_endless(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.main import create_app

    monkeypatch.setenv("NUANXIN_UPLOAD_LIMIT", "400000")
    settings.cache_clear()
    app = create_app()
    officer = await staff_client(session, Role.TOWNSHIP_OFFICER, lists.TOWN, app=app)
    for size, status in ((400_000, 202), (400_001, 413)):
        answer = await officer.post("/staff/v1/imports", content=b"a" * size, headers={"File-Name": "a.csv"})
        assert answer.status_code == status
    settings.cache_clear()


async def test_an_import_belongs_to_its_region(officer: httpx.AsyncClient, session: AsyncSession) -> None:
    batch = await upload(officer, lists.csv(family("1")))
    county = await staff_client(session, Role.COUNTY_ADMINISTRATOR, "640104000000")
    elsewhere = await staff_client(session, Role.TOWNSHIP_OFFICER, "640105001000")
    village = await staff_client(session, Role.VILLAGE_WORKER, lists.TOWN)
    path = f"/staff/v1/imports/{batch['id']}"
    assert [(await caller.get(path)).status_code for caller in (county, elsewhere, village)] == [
        200,
        404,
        403,
    ]
    assert (await elsewhere.post(f"{path}/commit", json={"version": batch["version"]})).status_code == 404


async def test_undoing_says_what_depends(officer: httpx.AsyncClient) -> None:
    first = await step(officer, await upload(officer, lists.csv(family("1"))), "commit")
    child = line("1", "子女", "王小丽", female=True)
    await step(officer, await upload(officer, lists.csv([child])), "commit")
    answer = await officer.post(f"/staff/v1/imports/{first['id']}/undo", json={"version": first["version"]})
    assert answer.status_code == 409
    number = (await officer.get("/staff/v1/households?status=active")).json()["items"][0]["number"]
    assert answer.json()["depends"] == [
        {"kind": "membership", "zh": "家庭成员变动", "count": 1, "households": [number]}
    ]


async def test_a_batch_that_was_read_before_is_stale(officer: httpx.AsyncClient) -> None:
    batch = await upload(officer, lists.csv(family("1")))
    await step(officer, batch, "discard")
    answer = await officer.post(f"/staff/v1/imports/{batch['id']}/commit", json={"version": batch["version"]})
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("stale-version")
