"""The story's part about divisions, stations and rosters: each change there is, made once."""

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.access import Actor
from app.callers import Caller
from app.models.identity import Role
from app.services import regions
from app.services.rosters.members import SHOWN as ROSTER
from app.services.stations import SHOWN as STATION
from tests.factories import appointments as made
from tests.guards.cast import STAFF, bearer
from tests.guards.playing import Played

OLD, PART = "640104002201", "640104002202"


async def the_regions(story: Played, session: AsyncSession) -> None:
    administrator = await at_work(story, session, Role.SYSTEM_ADMINISTRATOR)
    officer = await at_work(story, session, Role.TOWNSHIP_OFFICER)
    await send(administrator, "/regions/import", f"code,name\n{OLD},甲村\n")
    heading = "old_code,new_code,new_name,kind,effective_on\n"
    split = f"{heading}{OLD},{PART},乙村,split,{clock.today()}\n"
    await send(administrator, "/regions/successions/import", split)
    change = {
        "kind": "renamed", "old_code": demo.TOWN, "new_code": demo.TOWN, "new_name": "新街道",
        "effective_on": "2199-01-01", "source": "测试",
    }  # fmt: skip
    stated = await administrator.create("/regions/successions", change)
    await administrator.call("DELETE", f"/regions/successions/{stated['id']}")
    family = await made.couple(session, OLD)
    await regions.apply_due(session, Actor.system("regions"))
    await session.commit()
    county = await at_work(story, session, Role.COUNTY_ADMINISTRATOR)
    body = {"region_code": PART, "household_ids": [str(family.household.id)]}
    assert await county.call("POST", "/households/assign-region", body) == {"assigned": 1}
    await the_stations(officer)
    await the_rosters(officer)


async def at_work(story: Played, session: AsyncSession, role: Role) -> Caller:
    """Signed in without a code: the one of this half minute is used up."""
    worker = Actor(role, id=demo.demo_id(role), region_code=demo.REGIONS[role])
    return Caller(story.http, STAFF, await bearer(session, STAFF, worker))


async def send(administrator: Caller, path: str, table: str) -> None:
    url = f"{administrator.door}{path}?dry_run=false"
    answer: httpx.Response = await administrator.http.post(
        url, content=table.encode(), headers=administrator.headers
    )
    assert answer.is_success, answer.text


async def the_stations(officer: Caller) -> None:
    path = f"/stations/{(await officer.create('/stations', STATION))['id']}"
    await officer.call("PUT", path, {"version": 1, "station": STATION | {"name": "新名"}})
    await officer.call("POST", f"{path}/open", {"version": 2})
    await officer.call("POST", f"{path}/close", {"version": 3})


async def the_rosters(officer: Caller) -> None:
    path = f"/roster-members/{(await officer.create('/roster-members', ROSTER))['id']}"
    await officer.call("PUT", path, {"version": 1, "entry": ROSTER | {"post": "组长"}})
    await officer.call("POST", f"{path}/unmask", headers={"Purpose": "registry_upkeep"})
    new = {"title": "咨询员", "issuer": "协会", "issued_on": "2024-01-01"}
    certificate = await officer.create(f"{path}/certificates", new)
    await officer.call("POST", f"/training-certificates/{certificate['id']}/withdraw")
    await officer.call("POST", f"{path}/leave", {"version": 2, "left_on": str(clock.today())})
