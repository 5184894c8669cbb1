import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.identity import Role
from tests.clients import a_worker, client, staff_client

ACCOUNTS = "/staff/v1/accounts"
COUNTY, OTHER_CITY = "640121000000", "640200000000"


def body(**changed: Any) -> dict[str, Any]:
    details = {"username": "Li.Na", "name": "李娜", "role": "village_worker", "region_code": COUNTY}
    return {**details, **changed}


async def administrator(session: AsyncSession) -> httpx.AsyncClient:
    return await staff_client(session, Role.SYSTEM_ADMINISTRATOR)


async def test_an_administrator_opens_an_account_and_its_password_leads_to_the_enrolment(
    session: AsyncSession,
) -> None:
    made = await (await administrator(session)).post(ACCOUNTS, json=body())
    assert made.status_code == 201
    assert made.json()["account"]["username"] == "li.na"
    who = {"username": "li.na", "password": made.json()["initial_password"]}
    assert (
        (await client().post("/staff/v1/sign-in", json=who))
        .json()["type"]
        .endswith("totp-enrolment-required")
    )


async def test_a_double_tap_opens_one_account(session: AsyncSession) -> None:
    caller, key = await administrator(session), {"Idempotency-Key": str(uuid.uuid4())}
    first = await caller.post(ACCOUNTS, json=body(), headers=key)
    again = await caller.post(ACCOUNTS, json=body(), headers=key)
    assert (again.status_code, again.json()) == (201, {**first.json(), "initial_password": None})
    assert first.json()["account"]["id"] == key["Idempotency-Key"]
    other = await caller.post(ACCOUNTS, json=body(name="李"), headers=key)
    assert other.json()["type"].endswith("idempotency-key-reused")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"region_code": OTHER_CITY}, 403),
        ({"region_code": "640199000000"}, 422),
        ({"role": "system"}, 422),
        ({"role": "resident"}, 422),
        ({"username": "李娜"}, 422),
        ({"username": "ab"}, 422),
        ({"name": " "}, 422),
    ],
    ids=str,
)
async def test_what_an_account_may_not_be(
    session: AsyncSession, changed: dict[str, str], status: int
) -> None:
    answer = await (await administrator(session)).post(ACCOUNTS, json=body(**changed))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_taken_username_is_a_conflict(session: AsyncSession) -> None:
    caller = await administrator(session)
    await caller.post(ACCOUNTS, json=body())
    assert (await caller.post(ACCOUNTS, json=body())).json()["type"].endswith("username-taken")


async def test_accounts_are_listed_page_by_page_without_gaps(session: AsyncSession) -> None:
    made = [str((await a_worker(session, Role.VILLAGE_WORKER, COUNTY)).account.id) for _ in range(4)]
    await a_worker(session, Role.VILLAGE_WORKER, OTHER_CITY)
    caller, seen, cursor = await administrator(session), [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await caller.get(ACCOUNTS, params=params)).json()
        seen += [account["id"] for account in page["items"]]
        if not (cursor := page["next"]):
            break
    assert seen[:-1] == made
    assert len(seen) == 5


async def test_a_disabled_and_a_reset_account(session: AsyncSession) -> None:
    caller, worker = await administrator(session), await a_worker(session, Role.VILLAGE_WORKER, COUNTY)
    reset = await caller.post(f"{ACCOUNTS}/{worker.account.id}/reset")
    assert len(reset.json()["initial_password"]) >= 16
    disabled = await caller.post(f"{ACCOUNTS}/{worker.account.id}/disable")
    assert disabled.json()["disabled_at"]
    assert disabled.json()["totp_enrolled_at"] is None


async def test_an_account_works_in_its_new_region_from_the_next_request(session: AsyncSession) -> None:
    client = await administrator(session)
    worker = await a_worker(session, Role.TOWNSHIP_OFFICER, "640104001000")
    url = f"/staff/v1/accounts/{worker.account.id}"
    moved = await client.patch(url, json={"region_code": "640104002000"})
    assert (moved.status_code, moved.json()["region_code"]) == (200, "640104002000")
    refused = await client.patch(url, json={"region_code": "640200000000"})
    assert refused.status_code == 403


async def test_an_account_of_another_region_does_not_exist(session: AsyncSession) -> None:
    caller, worker = await administrator(session), await a_worker(session, Role.VILLAGE_WORKER, OTHER_CITY)
    for verb in ("reset", "disable"):
        assert (await caller.post(f"{ACCOUNTS}/{worker.account.id}/{verb}")).status_code == 404


@pytest.mark.parametrize("role", [Role.COUNTY_ADMINISTRATOR, Role.AUDITOR])
async def test_only_system_administrators_keep_accounts(session: AsyncSession, role: Role) -> None:
    caller = await staff_client(session, role)
    assert (await caller.get(ACCOUNTS)).status_code == 403
    assert (await caller.post(ACCOUNTS, json=body())).status_code == 403
