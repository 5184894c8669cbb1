"""What becomes of bookings, played: another time, a course, a walk-in, a certificate; every change leaves its trace."""

from copy import copy
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.journey import couple
from app.models.appointments import Appointment
from app.models.identity import Role
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played

TREATMENT, LECTURE = "reproductive_health_treatment", "health_lecture"


async def the_appointments(story: Played, session: AsyncSession) -> None:
    story = copy(story)  # what follows is about others
    story.wife, story.husband = couple()
    await story.sign_in_and_register()
    path, village = f"/households/{story.household['id']}", story.village_worker
    seen = await village.call("GET", path, headers={"Purpose": "verification"})
    await village.call("POST", f"{path}/verify", {"version": seen["version"]})
    await story.consent_and_qualify()
    await _another_time_and_a_course(story)
    await _at_the_desk(story, session)


async def _slots(story: Played, code: str, first: datetime, count: int) -> list[str]:
    made = []
    for number in range(count):
        starts = first + timedelta(hours=2 * number)
        body = {
            "clinic_id": str(demo.CLINIC), "service_code": code, "capacity": 5, "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=1)).isoformat(), "opens_at": clock.now().isoformat(),
        }  # fmt: skip
        made.append((await story.hospital.create("/slots", body))["id"])
    return made


async def _another_time_and_a_course(story: Played) -> None:
    wife, later = story.wife_caller, clock.now() + timedelta(days=20)
    one, other = await _slots(story, "pre_pregnancy_check", later, 2)
    booked = await wife.create("/appointments", {"slot_id": one})
    await wife.call("POST", f"/appointments/{booked['id']}/reschedule", {"slot_id": other})
    dates = await _slots(story, TREATMENT, later + timedelta(days=1), 5)
    course = await wife.create("/courses", {"slot_ids": dates})
    await wife.call("POST", f"/appointments/{course[2]['id']}/cancel", {})
    await wife.create(f"/courses/{course[0]['course_id']}/dates", {"session": 3, "slot_id": dates[2]})
    await wife.call("POST", f"/courses/{course[0]['course_id']}/cancel", {"reason": "外出务工"})


async def _at_the_desk(story: Played, session: AsyncSession) -> None:
    """Both of today's ways in, what a worker books and takes back, and what should not have been entered."""
    soon = clock.now() + timedelta(seconds=20)
    [lecture] = await _slots(story, LECTURE, soon, 1)
    wife, husband = story.wife, story.husband
    shown = [{"name": wife.name, "document_number": wife.number}]
    here = await story.hospital.create("/walk-ins", {"slot_id": lecture, "people": shown})
    await story.hospital.call("POST", f"/appointments/{here['id']}/fulfil")
    [good] = (await story.wife_caller.call("GET", "/certificates"))["items"]
    in_hand = {"number": good["number"], "first_character": wife.name[0]}
    public = story.door("/public/v1")
    assert (await public.call("POST", "/certificate-checks", in_hand))["valid"]
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    person = await _person(story.husband_caller)
    await county.create("/walk-ins", {"slot_id": lecture, "person_id": person})
    [next_one] = await _slots(story, LECTURE, soon + timedelta(days=3), 1)
    booking: dict[str, Any] = {
        "slot_id": next_one,
        "person_id": person,
        "reason": "no_phone",
        "note": husband.name,
    }
    arranged = await county.create("/appointments", booking)
    [after] = await _slots(story, LECTURE, soon + timedelta(days=4), 1)
    moved = {"slot_id": after, "reason": "asked_by_resident", "note": husband.name}
    await county.call("POST", f"/appointments/{arranged['id']}/reschedule", moved)
    await _a_course_for_somebody(
        story, county, {"person_id": person, "reason": "no_phone", "note": husband.name}
    )
    ended = {"reason": "mistake"}
    await county.call("POST", f"/appointments/{arranged['id']}/cancel", ended)
    attended = await session.scalar(select(Appointment.id).where(Appointment.id == here["id"]))
    await county.call("POST", f"/appointments/{attended}/entered-in-error", ended)


async def _a_course_for_somebody(story: Played, county: Caller, booking: dict[str, Any]) -> None:
    dates = await _slots(story, TREATMENT, clock.now() + timedelta(days=40), 5)
    course = await county.create("/courses", {"slot_ids": dates, **booking})
    await county.call("POST", f"/appointments/{course[1]['id']}/cancel", {"reason": "mistake"})
    again = {"session": 2, "slot_id": dates[1], "reason": "mistake"}
    await county.create(f"/courses/{course[0]['course_id']}/dates", again)


async def _person(caller: Caller) -> str:
    me: dict[str, str] = await caller.call("GET", "/me")
    return me["id"]
