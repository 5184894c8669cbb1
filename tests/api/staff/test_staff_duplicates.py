"""Duplicates at the workers' door: found at verification, refused with whom to ask, merged and undone."""

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.journey import Spouse, couple
from app.models.identity import Role
from app.services.duplicates import finding
from tests.clients import REGION, staff_client
from tests.factories.twins import somebody
from tests.residents import NEXT_COUNTY_TOWN, bound, form, key, member, verified

pytestmark = pytest.mark.usefixtures("wechat")
S = "/staff/v1"


async def submitted(caller: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    draft = (await caller.post("/citizen/v1/households", json=body)).json()
    path = f"/citizen/v1/households/{draft['id']}/submit"
    answer: dict[str, Any] = (await caller.post(path, json={"version": draft["version"]})).json()
    return answer


async def test_a_document_registered_elsewhere_is_refused_with_the_office_and_nothing_of_who_it_is(
    session: AsyncSession,
) -> None:
    wife, husband = couple()
    worker = await staff_client(session, Role.COUNTY_ADMINISTRATOR, REGION)
    await verified(wife, husband, worker)
    other = Spouse("赵兰", wife.born, female=True)
    for taken in (husband, Spouse("李别名", husband.born, female=False)):
        taken.number = husband.number
        members = [member(other, "spouse"), member(taken, "head")]
        body = form(other, taken, members=members, marriage=None, region_code=NEXT_COUNTY_TOWN)
        caller = await bound(other)
        row = await submitted(caller, body)
        refused = await worker.post(f"{S}/households/{row['id']}/verify", json={"version": row["version"]})
        assert refused.status_code in {409, 422}
        [wrong] = refused.json()["errors"]
        assert wrong["detail"].endswith("，请联系兴庆区凤凰北街街道")
        assert husband.name not in refused.text
        other = Spouse("赵兰", wife.born, female=True)


async def test_a_resident_who_tries_numbers_learns_nothing(session: AsyncSession) -> None:
    """A form with somebody else's document is taken like any other."""
    wife, husband = couple()
    worker = await staff_client(session, Role.COUNTY_ADMINISTRATOR, REGION)
    await verified(wife, husband, worker)
    other = Spouse("赵兰", wife.born, female=True)
    caller = await bound(other)
    body = form(other, husband, marriage=None)
    row = await submitted(caller, body)
    assert row["status"] == "submitted"
    assert "凤凰北街街道" not in str(row)


async def test_a_double_is_suspected_at_verification_merged_and_undone(session: AsyncSession) -> None:
    first = await somebody(session, "王小芳")
    wife, husband = couple()
    wife.name, wife.born = "王晓芳", first.birth_date
    wife.__post_init__()
    await session.commit()
    worker = await staff_client(session, Role.TOWNSHIP_OFFICER, REGION)
    await verified(wife, husband, worker)
    [row] = (await worker.get(f"{S}/duplicates")).json()["items"]
    assert {one["name"] for one in row["people"]} == {"王*芳"}
    assert row["decidable"]
    body = {"keep": str(first.id), "reason": "同一人"}
    headers = key()
    made = [
        await worker.post(f"{S}/duplicates/{row['id']}/confirm", json=body, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in made] == [201, 201], made[0].text
    assert made[0].json() == made[1].json()
    assert (await worker.get(f"{S}/duplicates")).json()["items"] == []
    again = await worker.post(
        f"{S}/duplicates/{row['id']}/confirm", json=body | {"reason": "别的"}, headers=headers
    )
    assert again.json()["type"].endswith("idempotency-key-reused")
    path = f"{S}/merges/{made[0].json()['id']}/undo"
    undone = await worker.post(path, json={"reason": "弄错了"})
    assert undone.json()["undone_at"] is not None
    assert (await worker.post(path, json={"reason": "弄错了"})).status_code == 409
    [back] = (await worker.get(f"{S}/duplicates")).json()["items"]
    assert back["id"] == row["id"]


async def test_what_to_settle_first_is_told_in_both_languages(session: AsyncSession) -> None:
    people = [await somebody(session) for _ in range(2)]
    people[1].died_on = clock.today()
    await session.commit()
    worker = await staff_client(session, Role.TOWNSHIP_OFFICER, REGION)
    body = {"kind": "person", "kept_id": str(people[0].id), "lost_id": str(people[1].id), "reason": "同一人"}
    answer = await worker.post(f"{S}/merges", json=body, headers=key())
    assert answer.status_code == 409
    [settle] = answer.json()["settle"]
    assert settle["code"] == "death"
    assert settle["zh"]
    assert settle["en"].isascii()
    body["lost_id"] = body["kept_id"]
    assert (await worker.post(f"{S}/merges", json=body, headers=key())).status_code == 422
    body["lost_id"] = str(uuid.uuid4())
    assert (await worker.post(f"{S}/merges", json=body, headers=key())).status_code == 404


async def test_a_village_worker_dismisses_and_does_not_merge(session: AsyncSession) -> None:
    people = [await somebody(session) for _ in range(2)]
    await finding.compare(session, [people[0].id])
    await session.commit()
    worker = await staff_client(session, Role.VILLAGE_WORKER, REGION)
    [row] = (await worker.get(f"{S}/duplicates")).json()["items"]
    body = {"keep": str(people[0].id), "reason": "同一人"}
    refused = await worker.post(f"{S}/duplicates/{row['id']}/confirm", json=body, headers=key())
    assert refused.status_code == 403
    answer = await worker.post(f"{S}/duplicates/{row['id']}/dismiss", json={"reason": "两个人"})
    assert answer.status_code == 204
    assert (await worker.get(f"{S}/duplicates")).json() == {"items": [], "next": None}
