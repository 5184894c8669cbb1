"""Stations at the staff door, and what the public sees of them."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.identity import Role
from app.services.stations import SHOWN
from tests.clients import client
from tests.guards.cast import PUBLIC, STAFF, caller, worker
from tests.residents import key

TOWN, COUNTY = "640104001000", "640104000000"
PLACE = {"latitude": "38.492", "longitude": "106.275"}


@pytest.fixture
async def clerk(session: AsyncSession) -> AsyncClient:
    return await caller(session, STAFF, await worker(session, Role.TOWNSHIP_OFFICER, TOWN))


async def opened(clerk: AsyncClient, **changes: Any) -> dict[str, Any]:
    made = await clerk.post(f"{STAFF}/stations", json=SHOWN | changes, headers=key())
    assert made.status_code == 201, made.text
    answer = await clerk.post(f"{STAFF}/stations/{made.json()['id']}/open", json={"version": 1})
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def test_a_station_is_drafted_opened_found_and_closed(clerk: AsyncClient) -> None:
    one_key = key()
    first = await clerk.post(f"{STAFF}/stations", json=SHOWN, headers=one_key)
    again = await clerk.post(f"{STAFF}/stations", json=SHOWN, headers=one_key)
    assert first.json() == again.json()
    assert {name: first.json()[name] for name in SHOWN} == SHOWN
    path = f"{STAFF}/stations/{first.json()['id']}"
    public = f"{PUBLIC}/stations/{first.json()['id']}"
    assert (await client().get(public)).status_code == 404
    row = (await clerk.post(f"{path}/open", json={"version": 1})).json()
    assert (row["status"], row["version"]) == ("open", 2)
    stale = await clerk.put(path, json={"version": 1, "station": SHOWN})
    assert (stale.status_code, stale.json()["current_version"]) == (409, 2)
    row = (await clerk.put(path, json={"version": 2, "station": SHOWN | {"name": "新名"}})).json()
    answer = await client().get(public)
    assert answer.json()["station"]["name"] == "新名"
    assert "version" not in answer.json()["station"]
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert (await clerk.get(f"{STAFF}/stations?status=open")).json()["items"] == [row]
    await clerk.post(f"{path}/close", json={"version": 3})
    assert (await client().get(public)).status_code == 404


async def test_the_public_finds_the_nearest_and_pages_a_region(clerk: AsyncClient) -> None:
    for number in range(3):
        await opened(clerk, name=f"站{number}", latitude=38.493 + number / 100, kind="warm_heart_home")
    await opened(clerk, name="别样", kind="other")
    anybody = client()
    found = await anybody.get(f"{PUBLIC}/stations/nearest", params=PLACE | {"kind": "warm_heart_home"})
    assert [row["station"]["name"] for row in found.json()] == ["站0", "站1", "站2"]
    metres = [row["distance_metres"] for row in found.json()]
    assert metres == sorted(metres)
    assert metres[0] < 200
    first = (await anybody.get(f"{PUBLIC}/stations", params={"region_code": COUNTY, "limit": 3})).json()
    more = {"region_code": COUNTY, "limit": 3, "cursor": first["next"]}
    rest = (await anybody.get(f"{PUBLIC}/stations", params=more)).json()
    names = [row["station"]["name"] for row in first["items"] + rest["items"]]
    assert (sorted(names), rest["next"]) == (["别样", "站0", "站1", "站2"], None)
    nothing = await anybody.get(f"{PUBLIC}/stations", params={"region_code": "640105000000"})
    assert nothing.json()["items"] == []


@pytest.mark.parametrize(
    "place",
    [
        {"latitude": "38.4921"},  # as exact as a house
        {"longitude": "106.27531"},
        {"latitude": "2.9"},
        {"latitude": "54"},
        {"longitude": "72.999"},
        {"longitude": "136"},
        {"latitude": "NaN"},
        {"latitude": "1e1"},
        {"latitude": ""},
    ],
)
async def test_a_position_too_exact_or_elsewhere_is_refused(
    session: AsyncSession, place: dict[str, str]
) -> None:
    answer = await client().get(f"{PUBLIC}/stations/nearest", params=PLACE | place)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("#query/")
    assert (await client().get(f"{PUBLIC}/stations/nearest", params=PLACE)).status_code == 200
