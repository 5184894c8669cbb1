"""Schedules, rooms, practitioners and the calendar, played at both doors: every change leaves its trace."""

from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_schedules(story: Played, session: AsyncSession) -> None:
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    for number, door in enumerate((county, story.hospital)):
        await the_slots(door, await the_rooms(door, number), 20 + number)
    day = f"/calendar/{clock.today()}"
    holiday = {"kind": "holiday", "zh": "本地假日", "en": "Local holiday", "source": "公告"}
    await county.call("PUT", day, holiday)
    await county.call("DELETE", day)


async def the_rooms(door: Caller, number: int) -> dict[str, Any]:
    """One of each that stays, one that is renamed and goes."""
    made: dict[str, Any] = {}
    for kind, values in (("room", {}), ("practitioner", {"title": "主任医师"})):
        for name in ("甲", "乙"):
            body = {"name": f"{name}{number}", **values}
            row = await door.create(f"/clinics/{demo.CLINIC}/{kind}s", body)
            made.setdefault(f"{kind}_id", row["id"])
        path = f"/{kind}s/{row['id']}"
        renamed = await door.call("PATCH", path, {"version": 1, "name": f"丙{number}", **values})
        await door.call("POST", f"{path}/retire", {"version": renamed["version"]})
    return made


async def the_slots(door: Caller, places: dict[str, Any], hour: int) -> None:
    first = clock.today() + timedelta(days=20)
    line = {
        "weekday": first.isoweekday(), "begins": f"{hour}:00", "ends": f"{hour}:30", "minutes": 30, "capacity": 2,
    }  # fmt: skip
    template = {
        "name": "晚间", "from_on": str(first), "until_on": str(first), "follows_calendar": False, "days_ahead": 7,
        "release_time": "08:00", "lines": [line | places],
    }  # fmt: skip
    new = {"clinic_id": str(demo.CLINIC), "service_code": "pre_pregnancy_check"}
    row = await door.create("/schedules", template | new)
    path = f"/schedules/{row['id']}"
    row = await door.call("PUT", path, {"version": row["version"], "schedule": template})
    assert (await door.call("GET", f"{path}/preview"))["added"] == 1
    row = (await door.call("POST", f"{path}/publish", {"version": row["version"]}))["schedule"]
    listed = (await door.call("GET", f"/slots?on={first}&limit=100"))["items"]
    [slot] = [one["id"] for one in listed if one["schedule_id"] == row["id"]]
    await door.call("PATCH", f"/slots/{slot}", {"version": 1, "capacity": 3})
    for step in ("close", "reopen"):
        await door.call("POST", f"/slots/{slot}/{step}")
    assert len((await door.call("GET", f"/slots/{slot}/changes"))["items"]) == 3
    ended = await door.call("POST", f"{path}/end", {"version": row["version"]})
    assert (ended["removed"], ended["kept_number"]) == (1, 0)
