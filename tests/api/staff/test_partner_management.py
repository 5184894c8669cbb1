import uuid

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.identity import Role
from tests.clients import Signature, a_hospital, client, staff_client

ORGANIZATIONS = "/staff/v1/organizations"
BODY = {"name": "永宁县妇幼保健院", "region_code": "640121000000", "algorithm": "hmac-sm3"}


async def test_a_registered_hospital_can_sign_at_once(app: FastAPI, session: AsyncSession) -> None:
    caller = await staff_client(session, Role.COUNTY_ADMINISTRATOR)
    made = (await caller.post(ORGANIZATIONS, json=BODY)).json()
    key = made["key"]
    hospital = client(app, auth=Signature(key["id"], key["secret"], made["organization"]["algorithm"]))
    assert (await hospital.get("/partner/v1/ping")).json()["organization"]["name"] == BODY["name"]


async def test_a_double_tap_registers_one_hospital(session: AsyncSession) -> None:
    caller, headers = (
        await staff_client(session, Role.COUNTY_ADMINISTRATOR),
        {"Idempotency-Key": str(uuid.uuid4())},
    )
    first = await caller.post(ORGANIZATIONS, json=BODY, headers=headers)
    assert (await caller.post(ORGANIZATIONS, json=BODY, headers=headers)).json() == first.json()
    assert (await caller.post(ORGANIZATIONS, json=BODY)).json()["type"].endswith("organization-name-taken")
    assert len((await caller.get(ORGANIZATIONS)).json()["items"]) == 1


async def test_keys_are_rotated_one_beside_the_other(session: AsyncSession) -> None:
    organization, first = await a_hospital(session)
    caller = await staff_client(session, Role.SYSTEM_ADMINISTRATOR)
    keys = f"{ORGANIZATIONS}/{organization.id}/keys"
    second = await caller.post(keys)
    assert second.status_code == 201
    assert second.json()["secret"].startswith("whsec_")
    assert (await caller.post(keys)).json()["type"].endswith("two-keys-live")
    assert (await caller.post(f"{keys}/{first.id}/revoke")).json()["revoked_at"]
    assert (await caller.post(keys)).status_code == 201


async def test_a_listed_key_shows_no_secret(session: AsyncSession) -> None:
    organization, _ = await a_hospital(session)
    caller = await staff_client(session, Role.SYSTEM_ADMINISTRATOR)
    listed = (await caller.get(f"{ORGANIZATIONS}/{organization.id}/keys")).json()
    assert [set(key) for key in listed] == [{"id", "created_at", "revoked_at"}]


async def test_hospitals_of_other_regions_are_neither_made_nor_found(session: AsyncSession) -> None:
    organization, key = await a_hospital(session, "640200000000")
    caller = await staff_client(session, Role.COUNTY_ADMINISTRATOR, "640121000000")
    outside = await caller.post(ORGANIZATIONS, json={**BODY, "region_code": "640122000000"})
    assert outside.json()["type"].endswith("region-outside-own")
    theirs = f"{ORGANIZATIONS}/{organization.id}"
    assert (await caller.get(f"{theirs}/keys")).status_code == 404
    for path in ("keys", f"keys/{key.id}/revoke", "disable"):
        assert (await caller.post(f"{theirs}/{path}")).status_code == 404


async def test_a_village_worker_manages_no_hospitals(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER)
    assert (await caller.get(ORGANIZATIONS)).status_code == 403
    assert (await caller.post(ORGANIZATIONS, json=BODY)).status_code == 403
