"""Waiting lists and a closed morning, played: every change leaves its trace."""

from copy import copy
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.journey import couple
from app.models.identity import Role
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_waiting_lists(story: Played, session: AsyncSession) -> None:
    """One has the only place, one waits; what comes free is declined, then accepted, then the morning is closed."""
    story = copy(story)  # what follows is about others
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    clinic = await county.create("/clinics", {
        "organization_id": str(demo.HOSPITAL), "region_code": demo.COUNTY, "name": "优生门诊二部",
        "address": "解放街 9 号", "phone": "0951-1234569",
    })  # fmt: skip
    slot = await county.create("/slots", the_slot(clinic["id"]))
    has, waits = await a_family(story), await a_family(story)
    booked = await has.create("/appointments", {"slot_id": slot["id"]})
    today = clock.today()
    wish = {
        "service_code": "pre_pregnancy_check", "clinic_id": clinic["id"], "from_on": today.isoformat(),
        "to_on": (today + timedelta(days=30)).isoformat(),
    }  # fmt: skip
    entry = await waits.create("/waitlist", wish)
    await waits.call("POST", f"/waitlist/{entry['id']}/withdraw")
    await waits.create("/waitlist", wish)
    await has.call("POST", f"/appointments/{booked['id']}/cancel", {"reason": "临时有事"})
    await answer(waits, "decline")
    booked = await has.create("/appointments", {"slot_id": slot["id"]})
    await waits.create("/waitlist", wish)
    await has.call("POST", f"/appointments/{booked['id']}/cancel", {"reason": "临时有事"})
    await answer(waits, "accept")
    window = {
        "clinic_id": clinic["id"], "from_at": clock.now().isoformat(),
        "to_at": (clock.now() + timedelta(days=3)).isoformat(), "reason": "equipment",
    }  # fmt: skip
    closed = await county.create("/closures", window)
    assert (closed["affected"], closed["slots"]) == (1, 1)
    await story.hospital.create("/closures", window)


def the_slot(clinic_id: str) -> dict[str, Any]:
    starts = clock.now() + timedelta(days=2)
    return {
        "clinic_id": clinic_id, "service_code": "pre_pregnancy_check", "capacity": 1, "starts_at": starts.isoformat(),
        "ends_at": (starts + timedelta(hours=1)).isoformat(), "opens_at": clock.now().isoformat(),
    }  # fmt: skip


async def a_family(story: Played) -> Caller:
    """Verified and qualified; the wife's phone."""
    story = copy(story)
    story.wife, story.husband = couple()
    await story.sign_in_and_register()
    seen = {"version": story.household["version"]}
    await story.village_worker.call("POST", f"/households/{story.household['id']}/verify", seen)
    await story.consent_and_qualify()
    return story.wife_caller


async def answer(caller: Caller, word: str) -> None:
    [offer] = await caller.call("GET", "/offers", None)
    await caller.call("POST", f"/offers/{offer['id']}/{word}")
