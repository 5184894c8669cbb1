"""A hospital closes a morning: whoever has booked then is offered another time, first come first, and told once."""

import uuid
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller, Refused
from app.journey import Story
from tests.factories import appointments as made
from tests.factories import crowds

#: Later than all that the demo and other journeys offer.
DAY = clock.today() + timedelta(days=60)
NEXT = DAY + timedelta(days=1)
CHECK = "pre_pregnancy_check"


def at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), clock.SHANGHAI)


async def published(story: Story) -> dict[str, Any]:
    """Two times on the morning, one on the next: a couple each."""
    lines = [
        {"weekday": day.isoweekday(), "begins": "08:00", "ends": ends, "minutes": 60, "capacity": 1}
        for day, ends in ((DAY, "10:00"), (NEXT, "09:00"))
    ]
    template = {
        "clinic_id": str(demo.CLINIC), "service_code": CHECK, "name": "两天上午", "from_on": str(DAY),
        "until_on": str(NEXT), "follows_calendar": False, "release_at": clock.now().isoformat(), "lines": lines,
    }  # fmt: skip
    draft = await story.hospital.create("/schedules", template)
    path, seen = f"/schedules/{draft['id']}/publish", {"version": draft["version"]}
    done: dict[str, Any] = await story.hospital.call("POST", path, seen)
    assert done["added"] == 3
    return done["schedule"]  # type: ignore[no-any-return]


async def times(story: Story, schedule: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for day in (DAY, NEXT):
        listed = await story.hospital.call("GET", f"/slots?on={day}&limit=100")
        found += [one for one in listed["items"] if one["schedule_id"] == schedule["id"]]
    return found


async def families(story: Story, records: AsyncSession, count: int) -> list[Caller]:
    """Verified, agreed to the notices, and qualified."""
    couples = [await made.couple(records) for _ in range(count)]
    await records.commit()
    callers = []
    for one in couples:
        phone = crowds.phone(one.wife.id, one.wife_actor.account_id)
        callers.append(Caller(story.http, "/citizen/v1", phone.headers))
        await callers[-1].call("POST", f"/services/{CHECK}/qualification")
    return callers


async def told(caller: Caller) -> list[str]:
    """Newest first."""
    return [one["kind"] for one in (await caller.call("GET", "/messages"))["items"]]


async def test_a_closed_morning(story: Story, records: AsyncSession) -> None:
    # Given a morning on which two couples have booked, and one who waits for that day,
    schedule = await published(story)
    first, second, next_day = await times(story, schedule)
    one, other, waiting = await families(story, records, 3)
    booked = [
        await caller.create("/appointments", {"slot_id": slot["id"]})
        for caller, slot in ((one, second), (other, first))
    ]
    wish = {"service_code": CHECK, "clinic_id": str(demo.CLINIC), "from_on": str(DAY), "to_on": str(DAY)}
    await waiting.create("/waitlist", wish)

    # when a device fails, and the hospital looks what closing would mean, and closes; its line is slow, so twice,
    window = {"clinic_id": str(demo.CLINIC), "service_code": CHECK, "from_at": at(DAY, 8).isoformat()}
    window |= {"to_at": at(DAY, 12).isoformat()}
    seen = await story.hospital.call("GET", f"/closures/preview?{urlencode(window)}")
    assert seen == {"slots": 2, "appointments": 2, "held": 0, "arrived": 0}
    once = {"Idempotency-Key": str(uuid.uuid4())}
    closing = window | {"reason": "equipment"}
    reports = [
        await story.hospital.call("POST", "/closures", closing, headers=once, expect=201) for _ in "12"
    ]
    assert reports[0] == reports[1]
    assert [reports[0][name] for name in ("affected", "offered", "without", "remaining")] == [2, 1, 1, 0]

    # then who booked first is offered the next morning, and the other is the next to be called; each is told once,
    [offer] = await one.call("GET", "/offers")
    assert (offer["slot_id"], offer["origin"]) == (next_day["id"], "closure")
    assert [await told(caller) for caller in (one, other)] == [
        ["closed_another_offered"],
        ["closed_none_free"],
    ]
    line = [(await caller.call("GET", "/waitlist"))["items"][0] for caller in (other, waiting)]
    assert [(entry["status"], entry["ahead"]) for entry in line] == [("waiting", 0), ("waiting", 1)]
    for caller, row in ((one, booked[0]), (other, booked[1])):
        assert (await caller.call("GET", f"/appointments/{row['id']}"))["status"] == "cancelled"

    # nobody can book what is closed, and publishing the schedule again does not open it;
    with pytest.raises(Refused, match="slot-"):
        await waiting.create("/appointments", {"slot_id": first["id"]})
    again = {"version": schedule["version"]}
    assert (await story.hospital.call("POST", f"/schedules/{schedule['id']}/publish", again))["added"] == 0
    assert [slot["status"] for slot in await times(story, schedule)] == ["cancelled", "cancelled", "open"]

    # when the first does not want that time, then it is kept for the other, who takes it,
    await one.call("POST", f"/offers/{offer['id']}/decline")
    [offer] = await other.call("GET", "/offers")
    taken = await other.call("POST", f"/offers/{offer['id']}/accept")
    assert (taken["slot_id"], taken["status"]) == (next_day["id"], "booked")
    assert await told(other) == ["place_offered", "closed_none_free"]
    # and the hospital reads what became of everybody.
    report = await story.hospital.call("GET", f"/closures/{reports[0]['id']}")
    assert [report[name] for name in ("offered", "declined", "unanswered")] == [1, 1, 0]
    due = (await story.hospital.call("GET", f"/appointments?on={NEXT}&limit=100"))["items"]
    assert {row["status"] for row in due if row["id"] == taken["id"]} == {"booked"}
