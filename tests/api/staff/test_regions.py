"""Villages and changes of boundaries at the door."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.identity import Role
from app.models.regions import Region
from app.services import regions
from tests.clients import client
from tests.factories import appointments as made
from tests.guards.cast import PUBLIC, STAFF, caller, worker
from tests.residents import key

TOWN, OLD, NEW = "640104001000", "640104001201", "640104001299"
TABLE = f"统计用区划代码,名称\n{OLD},甲村委会\n640104001202,乙村委会\n".encode()


@pytest.fixture
async def administrator(session: AsyncSession) -> AsyncClient:
    return await caller(session, STAFF, await worker(session, Role.SYSTEM_ADMINISTRATOR))


async def test_a_table_is_looked_at_first_and_then_loaded(administrator: AsyncClient) -> None:
    path = f"{STAFF}/regions/import"
    look = await administrator.post(path, content=TABLE)
    assert look.json()["dry_run"] is True
    assert look.json()["changes"]["added"][0] == {"code": OLD, "name": "甲村委会", "old_name": None}
    assert (await client().get(f"{PUBLIC}/regions/{OLD}")).status_code == 404
    done = await administrator.post(f"{path}?dry_run=false&as_of=2026-06-30", content=TABLE)
    assert (done.json()["added"], done.json()["dry_run"]) == (2, False)
    shown = (await client().get(f"{PUBLIC}/regions", params={"parent": TOWN})).json()
    assert [row["name"] for row in shown] == ["甲村委会", "乙村委会"]
    renamed = TABLE.replace("甲村委会".encode(), "甲社区".encode())
    await administrator.post(f"{path}?dry_run=false&as_of=2026-09-01", content=renamed)
    for day, name in ((None, "甲社区"), ("2026-09-01", "甲社区"), ("2026-08-31", "甲村委会")):
        params = {"on": day} if day else {}
        assert (await client().get(f"{PUBLIC}/regions/{OLD}", params=params)).json()["name"] == name


async def test_an_old_code_is_answered_with_its_successor(
    session: AsyncSession, administrator: AsyncClient
) -> None:
    await administrator.post(f"{STAFF}/regions/import?dry_run=false", content=TABLE)
    body = {
        "kind": "moved", "old_code": OLD, "new_code": NEW, "new_name": "甲社区", "source": "银政发〔2026〕1号",
        "effective_on": str(clock.today()),
    }  # fmt: skip
    answer = await administrator.post(f"{STAFF}/regions/successions", json=body, headers=key())
    assert answer.status_code == 201, answer.text
    await regions.apply_due(session, Actor.system("regions"))
    await session.commit()
    shown = (await client().get(f"{PUBLIC}/regions/{OLD}")).json()
    assert (shown["name"], shown["valid_to"], shown["successors"]) == ("甲村委会", str(clock.today()), [NEW])
    listed = (await client().get(f"{PUBLIC}/regions", params={"parent": TOWN})).json()
    assert OLD not in {row["code"] for row in listed}
    rows = (await administrator.get(f"{STAFF}/regions/successions?waiting=false")).json()["items"]
    assert [row["id"] for row in rows] == [answer.json()["id"]]


async def test_changes_wait_are_listed_by_page_and_taken_back(administrator: AsyncClient) -> None:
    await administrator.post(f"{STAFF}/regions/import?dry_run=false", content=TABLE)
    later = [str(clock.today() + timedelta(days=days)) for days in (2, 1)]
    csv = "原代码,新代码,新名称,类型,生效日期\n" + "".join(
        f"64010400120{number},6401040012{number}9,新村,变更代码,{day}\n"
        for number, day in enumerate(later, 1)
    )
    path = f"{STAFF}/regions/successions"
    look = await administrator.post(f"{path}/import", content=csv.encode("gb18030"))
    assert look.json() == {"dry_run": True, "stated": 2, "known": 0}
    done = await administrator.post(f"{path}/import?dry_run=false", content=csv.encode())
    assert done.json() == {"dry_run": False, "stated": 2, "known": 0}
    first = (await administrator.get(f"{path}?waiting=true&limit=1")).json()
    rest = (await administrator.get(f"{path}?waiting=true&limit=1&cursor={first['next']}")).json()
    rows = first["items"] + rest["items"]
    assert [row["effective_on"] for row in rows] == later[::-1]
    assert rest["next"] is None
    assert (await administrator.delete(f"{path}/{rows[0]['id']}")).status_code == 204
    assert (await administrator.delete(f"{path}/{rows[0]['id']}")).status_code == 404


async def test_a_worker_assigns_the_households_of_a_split_village(
    session: AsyncSession, administrator: AsyncClient
) -> None:
    await administrator.post(f"{STAFF}/regions/import?dry_run=false", content=TABLE)
    families = [await made.couple(session, OLD) for _ in range(2)]
    parts = ("640104001211", "640104001212")
    csv = "原代码,新代码,新名称,类型,生效日期\n" + "".join(
        f"{OLD},{part},{part[-2:]}村,拆分,{clock.today()}\n" for part in parts
    )
    await administrator.post(f"{STAFF}/regions/successions/import?dry_run=false", content=csv.encode())
    await regions.apply_due(session, Actor.system("regions"))
    await session.commit()
    clerk = await caller(session, STAFF, await worker(session, Role.TOWNSHIP_OFFICER, TOWN))
    first = (await clerk.get(f"{STAFF}/regions/{OLD}/unassigned?limit=1")).json()
    assert [row["head"] for row in first["items"]] == ["王*军"]
    rest = (await clerk.get(f"{STAFF}/regions/{OLD}/unassigned?cursor={first['next']}")).json()
    ids = [row["id"] for row in first["items"] + rest["items"]]
    assert ids == sorted(str(family.household.id) for family in families)
    body = {"region_code": parts[0], "household_ids": ids}
    assert (await clerk.post(f"{STAFF}/households/assign-region", json=body)).json() == {"assigned": 2}
    assert (await clerk.get(f"{STAFF}/regions/{OLD}/unassigned")).json()["items"] == []


async def test_only_the_administrator_changes_divisions(session: AsyncSession) -> None:
    clerk = await caller(session, STAFF, await worker(session, Role.COUNTY_ADMINISTRATOR))
    assert (await clerk.post(f"{STAFF}/regions/import?dry_run=false", content=TABLE)).status_code == 403
    assert await session.get(Region, OLD) is None
