"""Searching, counting, saving filters and exporting at the staff door."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import db
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.models.search import RegistryExport, SavedFilter
from app.services.search import exports, statistics
from tests.clients import client, staff_client
from tests.factories import registry as made
from tests.factories.registry import COUNTY, NEXT_COUNTY, TOWN, VILLAGE, person
from tests.residents import key

PURPOSE = {"Purpose": "registry_upkeep"}
SAVED = {"name": "低保老人", "criteria": {"kind": "people", "age_from": 60, "category": "minimum_income"}}


@pytest.fixture
async def people(session: AsyncSession) -> list[Any]:
    await made.villages(session)
    rows = [person(f"王{one}", phone=f"1390000000{number}") for number, one in enumerate("一二三")]
    for one in rows:
        await made.household(session, one)
    await session.commit()
    return rows


async def test_pages_of_people_and_nothing_personal_in_the_address(
    session: AsyncSession, people: list[Any]
) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER, VILLAGE)
    path, seen = "/staff/v1/search/people?limit=2", []
    while path:
        answer = await caller.post(path, json={"name": "王"})
        assert answer.status_code == 200, answer.text
        seen += answer.json()["items"]
        cursor = answer.json()["next"]
        path = f"/staff/v1/search/people?limit=2&cursor={cursor}" if cursor else ""
        for one in people:
            assert one.name not in answer.text
            assert one.document_number not in answer.text
    assert [row["id"] for row in seen] == [str(one.id) for one in sorted(people, key=lambda one: one.name)]
    counted = await caller.post("/staff/v1/search/people/count", json={"name": "王"})
    assert counted.json() == {"count": 3, "more": False}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"age_from": 9, "age_to": 3}, ""), ({"category": "nobility"}, "/category"), ({"family": "x"}, "/family"),
     ({"document_number": "123"}, "/document_number"), ({"region_code": "640104001999"}, "/region_code")],
)  # fmt: skip
async def test_what_cannot_be_searched_for_is_named(
    session: AsyncSession, people: list[Any], body: dict[str, Any], pointer: str
) -> None:
    caller = await staff_client(session, Role.COUNTY_ADMINISTRATOR, COUNTY)
    answer = await caller.post("/staff/v1/search/people", json=body)
    assert answer.status_code == 422, answer.text
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == [pointer]
    broken = await caller.post("/staff/v1/search/people?cursor=W10", json={})
    assert broken.status_code == 422


async def test_households_of_the_region(session: AsyncSession, people: list[Any]) -> None:
    caller = await staff_client(session, Role.SUPERVISOR, TOWN)
    body = {"kind": "households", "status": "active"}
    first = (await caller.post("/staff/v1/search/households?limit=2", json=body)).json()
    rest = (await caller.post(f"/staff/v1/search/households?cursor={first['next']}", json=body)).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert {row["head"] for row in first["items"]} == {"王*"}
    counted = await caller.post("/staff/v1/search/households/count", json=body)
    assert counted.json() == {"count": 3, "more": False}
    outside = await caller.post("/staff/v1/search/households", json=body | {"region_code": NEXT_COUNTY})
    assert outside.json()["type"] == "urn:nuanxin:problem:region-outside-own"


async def test_a_filter_is_saved_changed_listed_and_deleted_by_its_maker(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    colleague = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    headers = key()
    made = await caller.post("/staff/v1/saved-filters", json=SAVED, headers=headers)
    again = await caller.post("/staff/v1/saved-filters", json=SAVED, headers=headers)
    assert made.status_code == 201, made.text
    assert made.json() == again.json()
    assert made.json()["criteria"]["age_from"] == 60
    path = f"/staff/v1/saved-filters/{made.json()['id']}"
    twice = await caller.post("/staff/v1/saved-filters", json=SAVED, headers=key())
    assert twice.json()["type"] == "urn:nuanxin:problem:filter-name-taken"
    body = {"version": 1, "name": "低保户", "criteria": {"kind": "households", "category": "minimum_income"}}
    assert (await colleague.put(path, json=body)).status_code == 404
    changed = await caller.put(path, json=body)
    assert (changed.json()["name"], changed.json()["version"]) == ("低保户", 2)
    assert (await caller.put(path, json=body)).status_code == 409
    assert (await colleague.get("/staff/v1/saved-filters")).json()["items"] == []
    assert (await caller.get("/staff/v1/saved-filters")).json()["items"] == [changed.json()]
    row = (await session.scalars(select(SavedFilter))).one()
    assert b"minimum" not in row.criteria_sealed
    assert (await colleague.delete(path)).status_code == 404
    assert (await caller.delete(path)).status_code == 204
    assert (await caller.get("/staff/v1/saved-filters")).json()["items"] == []


async def test_the_list_of_filters_goes_on_where_the_last_one_shown_is_deleted(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    oldest, middle, newest = [
        (await caller.post("/staff/v1/saved-filters", json=SAVED | {"name": name}, headers=key())).json()
        for name in "甲乙丙"
    ]
    page = (await caller.get("/staff/v1/saved-filters?limit=2")).json()
    assert page["items"] == [newest, middle]
    assert (await caller.delete(f"/staff/v1/saved-filters/{middle['id']}")).status_code == 204
    rest = (await caller.get(f"/staff/v1/saved-filters?cursor={page['next']}")).json()
    assert (rest["items"], rest["next"]) == ([oldest], None)


async def test_a_filter_that_cannot_be_read_any_more_is_shown_as_such(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    made = (await caller.post("/staff/v1/saved-filters", json=SAVED, headers=key())).json()
    row = (await session.scalars(select(SavedFilter))).one()
    assert "null" not in row.criteria
    row.criteria = '{"kind": "people", "blood_type": "A"}'
    await session.commit()
    (shown,) = (await caller.get("/staff/v1/saved-filters")).json()["items"]
    assert (shown["name"], shown["criteria"]) == (SAVED["name"], None)
    body = SAVED | {"version": shown["version"]}
    changed = await caller.put(f"/staff/v1/saved-filters/{made['id']}", json=body)
    assert changed.json()["criteria"]["age_from"] == 60


async def test_the_figures_of_a_region(session: AsyncSession, people: list[Any]) -> None:
    caller = await staff_client(session, Role.SUPERVISOR, TOWN)
    before = (await caller.get(f"/staff/v1/statistics?region_code={TOWN}")).json()
    assert before[0]["figures"] == {}
    assert before[0]["as_of"] is None
    await statistics.recompute(session)
    await session.commit()
    town, village, next_village = (await caller.get(f"/staff/v1/statistics?region_code={TOWN}")).json()
    assert town["figures"]["people"] == village["figures"]["people"] == 3
    assert next_village["figures"] == {}
    assert (await caller.get(f"/staff/v1/statistics?region_code={NEXT_COUNTY}")).status_code == 403


@pytest.fixture
async def real(committed: str) -> AsyncIterator[AsyncSession]:
    """Real commits: an export reads all of one moment, in a transaction of its own."""
    async with db.sessions() as session:
        await made.villages(session)
        await made.household(session, person("王一"))
        await session.commit()
        yield session


async def test_an_export_is_asked_for_made_and_fetched(real: AsyncSession) -> None:
    session = real
    caller = await staff_client(session, Role.COUNTY_ADMINISTRATOR, COUNTY)
    body = {"criteria": {"kind": "people", "name": "王一"}, "unmasked": True}
    assert (await caller.post("/staff/v1/exports", json=body, headers=key())).status_code == 422, "no purpose"
    headers = key() | PURPOSE
    asked = await caller.post("/staff/v1/exports", json=body, headers=headers)
    assert asked.status_code == 202, asked.text
    assert asked.json() == (await caller.post("/staff/v1/exports", json=body, headers=headers)).json()
    path = f"/staff/v1/exports/{asked.json()['id']}"
    early = await caller.get(f"{path}/file")
    assert early.json()["type"] == "urn:nuanxin:problem:export-not-ready"
    await exports.make((await session.scalars(select(RegistryExport.id))).one())
    shown = (await caller.get(path)).json()
    assert (shown["status"], shown["rows_done"], shown["rows_total"]) == ("done", 1, 1)
    assert (await caller.get("/staff/v1/exports")).json()["items"] == [shown]
    file = await caller.get(f"{path}/file")
    assert file.status_code == 200
    assert file.content[:2] == b"PK"
    assert "attachment" in file.headers["Content-Disposition"]
    other = await staff_client(session, Role.COUNTY_ADMINISTRATOR, COUNTY)
    assert (await other.get(f"{path}/file")).status_code == 404
    fetched = select(AuditEvent.purpose).where(AuditEvent.action == "download")
    assert list(await session.scalars(fetched)) == ["registry_upkeep"]


async def test_unmasked_is_for_those_who_may(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    body = {"criteria": {"kind": "people"}, "unmasked": True}
    answer = await caller.post("/staff/v1/exports", json=body, headers=key() | PURPOSE)
    assert answer.json()["type"] == "urn:nuanxin:problem:unmasking-not-allowed"
    auditor = await staff_client(session, Role.AUDITOR)
    assert (await auditor.post("/staff/v1/search/people", json={})).status_code == 403
    assert (await client().post("/staff/v1/search/people", json={})).status_code == 401
