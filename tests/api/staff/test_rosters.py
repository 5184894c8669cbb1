"""Rosters at the door."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.identity import Role
from app.services.rosters.members import SHOWN
from tests.guards.cast import STAFF, caller, worker
from tests.residents import key

TOWN = "640104001000"
WHY = {"Purpose": "registry_upkeep"}


@pytest.fixture
async def clerk(session: AsyncSession) -> AsyncClient:
    return await caller(session, STAFF, await worker(session, Role.TOWNSHIP_OFFICER, TOWN))


async def entered(clerk: AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await clerk.post(f"{STAFF}/roster-members", json=SHOWN | changes, headers=key())
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def test_an_entry_is_made_once_revised_and_left(clerk: AsyncClient) -> None:
    one_key = key()
    first = await clerk.post(f"{STAFF}/roster-members", json=SHOWN, headers=one_key)
    again = await clerk.post(f"{STAFF}/roster-members", json=SHOWN, headers=one_key)
    assert (first.json(), again.status_code) == (again.json(), 201)
    assert "13900000001" not in first.text
    path = f"{STAFF}/roster-members/{first.json()['id']}"
    row = (await clerk.put(path, json={"version": 1, "entry": SHOWN | {"post": "组长"}})).json()
    assert (row["name"], row["phone"], row["post"], row["version"]) == ("马*兰", "139****0001", "组长", 2)
    stale = await clerk.post(f"{path}/leave", json={"version": 1, "left_on": str(clock.today())})
    assert stale.status_code == 409
    row = (await clerk.post(f"{path}/leave", json={"version": 2, "left_on": str(clock.today())})).json()
    assert (row["name"], row["left_on"]) == ("马*兰", str(clock.today()))
    assert (await clerk.get(f"{STAFF}/roster-members")).json()["items"] == []


async def test_a_look_needs_its_purpose_and_shows_certificates(clerk: AsyncClient) -> None:
    path = f"{STAFF}/roster-members/{(await entered(clerk))['id']}"
    certificate = {"title": "咨询员", "issuer": "协会", "issued_on": "2024-01-01"}
    ends = str(clock.today() + timedelta(days=10))
    made = await clerk.post(f"{path}/certificates", json=certificate | {"expires_on": ends}, headers=key())
    assert made.status_code == 201, made.text
    assert (await clerk.get(path)).status_code == 422
    shown = (await clerk.get(path, headers=WHY)).json()
    assert (shown["member"]["name"], shown["certificates"]) == ("马*兰", [made.json()])
    full = (await clerk.post(f"{path}/unmask", headers=WHY)).json()
    assert (full["member"]["name"], full["member"]["phone"]) == ("马秀兰", "13900000001")
    soon = (await clerk.get(f"{STAFF}/training-certificates/expiring?days=10")).json()["items"]
    assert [row["certificate"]["id"] for row in soon] == [made.json()["id"]]
    withdrawn = await clerk.post(f"{STAFF}/training-certificates/{made.json()['id']}/withdraw")
    assert withdrawn.json()["withdrawn_at"]


async def test_counts_pages_and_the_sheet(session: AsyncSession, clerk: AsyncClient) -> None:
    for number in range(3):
        await entered(clerk, name=f"志愿者{number}")
    first = (await clerk.get(f"{STAFF}/roster-members?limit=2")).json()
    rest = (await clerk.get(f"{STAFF}/roster-members?limit=2&cursor={first['next']}")).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    counts = (await clerk.get(f"{STAFF}/roster-counts?region_code={TOWN}")).json()
    assert counts[0]["counts"] == {"staff": 0, "village_worker": 0, "member": 0, "volunteer": 3}
    path = f"{STAFF}/roster-download?region_code={TOWN}"
    sheet = await clerk.get(path, headers=WHY)
    assert sheet.headers["content-type"].endswith("spreadsheetml.sheet")
    assert sheet.content[:2] == b"PK"
    assert (await clerk.get(path)).status_code == 422
    village = await caller(session, STAFF, await worker(session, Role.VILLAGE_WORKER, TOWN))
    assert (await village.get(f"{STAFF}/roster-members")).status_code == 200
    assert (await village.get(path, headers=WHY)).status_code == 403
    assert (await village.post(f"{STAFF}/roster-members", json=SHOWN)).status_code == 403
