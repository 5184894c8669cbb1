"""A rotation, played: planned, published, invited, answered at both doors."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from app.services import rotations
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_rotations(story: Played, session: AsyncSession) -> None:
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    year = (clock.today() + timedelta(days=31)).year
    lines = [{"clinic_id": str(demo.CLINIC), "monthly": [20] * 12}]
    new = {"service_code": "womens_health_check", "region_code": demo.COUNTY, "first_year": year, "years": 3}
    made = (await county.create("/rotations", {**new, "capacities": lines}))["rotation"]
    id = uuid.UUID(made["id"])

    async def step(verb: str, method: str = "POST", **more: Any) -> None:
        seen = (await county.call("GET", f"/rotations/{id}"))["rotation"]
        await county.call(method, f"/rotations/{id}/{verb}", {"version": seen["version"], **more})
        await rotations.work(id)

    await step("capacities", "PUT", capacities=lines)
    await step("plan")
    await step("publish")
    mine = (await story.wife_caller.call("GET", "/me"))["id"]
    await step("invitations", month=(await turn_of(county, id, mine))["month"])
    await rotations.send(id)
    await the_answers(story, county, await turn_of(county, id, mine))
    await step("end")


async def turn_of(county: Caller, id: uuid.UUID, person: str) -> dict[str, Any]:
    listed = (await county.call("GET", f"/rotations/{id}/turns?limit=100"))["items"]
    return next(one for one in listed if one["person_id"] == person)


async def the_answers(story: Played, county: Caller, turn: dict[str, Any]) -> None:
    path = f"/rotation-turns/{turn['id']}"
    [own] = (await story.wife_caller.call("GET", "/rotation-turns"))["items"]
    declined = {"version": own["version"], "reason": "no_time"}
    declined = await story.wife_caller.call("POST", f"{path}/decline", declined)
    asked = {"answer": "invited", "on": str(clock.today()), "how": "phone"}
    await county.call("POST", f"{path}/answers", {"version": declined["version"], "answered": asked})
