"""A lecture for 300: people and groups sign up until it is full, others wait in line, who came gets a certificate."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller, Refused
from app.journey import Story
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.certificates import AttendanceCertificate
from tests.factories import appointments as made
from tests.factories import crowds
from tests.factories.crowds import Phone
from tests.journeys.test_poll_only_hospital import ATTENDANCE, book, upload

PLACES, LECTURE = 300, "health_lecture"
GROUPS = (*(1,) * 10, *(2,) * 10, *(3,) * 10, *(5,) * 48)  # 300 places in all
WAITING = (1, 2, 1)
ABSENT = 7
S = AppointmentStatus


async def announced(story: Story) -> dict[str, Any]:
    """Later than any lecture that the demo offers."""
    starts = clock.now() + timedelta(days=20)
    slot: dict[str, Any] = await story.hospital.create(
        "/slots",
        {
            "clinic_id": str(demo.CLINIC), "service_code": LECTURE, "capacity": PLACES,
            "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=2)).isoformat(),
            "opens_at": clock.now().isoformat(),
        },
    )  # fmt: skip
    return slot


def at_phone(story: Story, phone: Phone) -> Caller:
    return Caller(story.http, "/citizen/v1", phone.headers)


async def all_sign_up(callers: Sequence[Caller], slot_id: str) -> list[dict[str, Any]]:
    """At once, alone or in groups."""
    room = asyncio.Semaphore(16)

    async def sign_up(caller: Caller, places: int) -> dict[str, Any]:
        async with room:
            booked: dict[str, Any] = await caller.create(
                "/appointments", {"slot_id": slot_id, "places": places}
            )
            return booked

    return await asyncio.gather(*map(sign_up, callers, GROUPS))


async def those_who_wait(story: Story, records: AsyncSession, day: str) -> list[Caller]:
    """In the order in which they joined, each with a family that the village has verified."""
    families = [await made.couple(records) for _ in WAITING]
    await records.commit()
    phones = [crowds.phone(one.wife.id, one.wife_actor.account_id) for one in families]
    callers = [at_phone(story, phone) for phone in phones]
    for ahead, (caller, places) in enumerate(zip(callers, WAITING, strict=True)):
        wish = {"service_code": LECTURE, "clinic_id": str(demo.CLINIC), "from_on": day, "to_on": day}
        entry = await caller.create("/waitlist", wish | {"places": places})
        assert (entry["status"], entry["ahead"]) == ("waiting", ahead)
    return callers


async def the_day_comes(records: AsyncSession, slot_id: str) -> None:
    """It ended a moment ago."""
    now = clock.now()
    times = {"starts_at": now - timedelta(seconds=2), "ends_at": now - timedelta(seconds=1)}
    await records.execute(update(Slot).where(Slot.id == uuid.UUID(slot_id)).values(times))
    await records.execute(update(Appointment).where(Appointment.slot_id == uuid.UUID(slot_id)).values(times))
    await records.commit()


async def places_by_status(records: AsyncSession, slot_id: str) -> dict[AppointmentStatus, int]:
    await records.rollback()  # a new look
    tally = select(Appointment.status, func.sum(Appointment.places)).where(
        Appointment.slot_id == uuid.UUID(slot_id)
    )
    return {status: int(places) for status, places in await records.execute(tally.group_by("status"))}


async def list_uploaded(
    story: Story, absent: Sequence[dict[str, Any]], present: Sequence[dict[str, Any]]
) -> None:
    """By the hospital, with the codes of those who came. One is misread at first."""
    lines = [(one["id"], one["code"], "完成") for one in present] + [
        (one["id"], "", "未到") for one in absent
    ]
    misread = [(present[0]["id"], "0000000000", "完成"), *lines[1:]]
    taken = (await upload(story, "/attendance-files?commit=true", book(ATTENDANCE, *misread))).json()
    assert taken["counts"] == {"ready": len(lines) - 1, "refused": 1}
    taken = (await upload(story, "/attendance-files?commit=true", book(ATTENDANCE, *lines))).json()
    assert taken["counts"] == {"known": len(lines) - 1, "ready": 1}


async def holders(records: AsyncSession, slot_id: str) -> Counter[uuid.UUID]:
    """Of the certificates of this lecture."""
    c = AttendanceCertificate
    query = select(c.person_id).join(Appointment, Appointment.id == c.appointment_id)
    return Counter(await records.scalars(query.where(Appointment.slot_id == uuid.UUID(slot_id))))


async def check(story: Story, number: str, first_character: str) -> dict[str, Any]:
    """Anybody who holds it in hand."""
    body = {"number": number, "first_character": first_character}
    said: dict[str, Any] = await Caller(story.http, "/public/v1").call("POST", "/certificate-checks", body)
    return said


async def test_a_lecture_for_300_from_the_announcement_to_the_certificates(
    story: Story, records: AsyncSession
) -> None:
    # Given a lecture with 300 places,
    slot = await announced(story)
    service = await made.service(records, LECTURE)
    phones = await crowds.qualified(records, service, len(GROUPS) + 1)
    *callers, late = [at_phone(story, phone) for phone in phones]

    with pytest.raises(Refused, match="too-many-places"):
        await late.create("/appointments", {"slot_id": slot["id"], "places": max(GROUPS) + 1})

    # when people and groups sign up, then it is exactly full, and nobody else gets in;
    booked = await all_sign_up(callers, slot["id"])
    assert await places_by_status(records, slot["id"]) == {S.BOOKED: PLACES}
    for places, why in ((1, "slot-full"), (2, "not-enough-places")):
        with pytest.raises(Refused, match=why):
            await late.create("/appointments", {"slot_id": slot["id"], "places": places})

    # when others wait in line, and somebody who comes alone cancels,
    day = (clock.today() + timedelta(days=20)).isoformat()
    line = await those_who_wait(story, records, day)
    await callers[0].call("POST", f"/appointments/{booked[0]['id']}/cancel", {})
    # then the place is kept for the first in line, who takes it, and for nobody else.
    offers = [await caller.call("GET", "/offers") for caller in line]
    assert [len(one) for one in offers] == [1, 0, 0]
    assert [one["kind"] for one in (await line[0].call("GET", "/messages"))["items"]] == ["place_offered"]
    accepted = await line[0].call("POST", f"/offers/{offers[0][0]['id']}/accept")
    assert (accepted["status"], accepted["slot_id"]) == ("booked", slot["id"])
    left = [(await caller.call("GET", "/waitlist"))["items"][0] for caller in line]
    assert [(one["status"], one["ahead"]) for one in left] == [
        ("accepted", None), ("waiting", 0), ("waiting", 1),
    ]  # fmt: skip
    assert await places_by_status(records, slot["id"]) == {S.BOOKED: PLACES, S.CANCELLED: 1}

    # When the day has come, two show their codes at the door, and the one who cancelled does in vain;
    await the_day_comes(records, slot["id"])
    at_door = [accepted, booked[-1]]
    for one in at_door:
        assert (await story.hospital.call("POST", "/check-ins", {"code": one["code"]}))["id"] == one["id"]
        await story.hospital.call("POST", f"/appointments/{one['id']}/fulfil")
    with pytest.raises(Refused, match="wrong-state"):
        await story.hospital.call("POST", "/check-ins", {"code": booked[0]["code"]})

    # the other codes are on the list that the hospital uploads.
    absent, present = booked[1 : 1 + ABSENT], booked[1 + ABSENT : -1]
    await list_uploaded(story, absent, present)

    # Then each place is accounted for,
    missed = sum(one["places"] for one in absent)
    counted = {S.FULFILLED: PLACES - missed, S.NO_SHOW: missed, S.CANCELLED: 1}
    assert await places_by_status(records, slot["id"]) == counted
    [shown] = [
        one for one in (await story.hospital.call("GET", "/slots?limit=100"))["items"] if one["id"] == slot["id"]
    ]  # fmt: skip
    assert (shown["booked"], shown["capacity"]) == (PLACES, PLACES)

    # who came has a certificate, one each, and nobody else has;
    came = Counter(uuid.UUID(one["person_id"]) for one in [*at_door, *present])
    assert await holders(records, slot["id"]) == came
    for nobody in (callers[0], callers[1], line[1]):
        assert (await nobody.call("GET", "/certificates"))["items"] == []
    [card] = (await callers[-1].call("GET", "/certificates"))["items"]
    assert card["service_zh"] == "优生优育知识讲座"

    # she prints hers and nobody else does,
    path = f"/citizen/v1/certificates/{card['id']}/sheet.pdf"
    sheet = await story.http.get(path, headers=callers[-1].headers)
    assert (sheet.headers["content-type"], sheet.content[:5]) == ("application/pdf", b"%PDF-")
    assert (await story.http.get(path, headers=callers[1].headers)).status_code == 404
    # and whoever is shown it can see that it is good, and hears no name.
    good = await check(story, card["number"], "周")
    assert (good["valid"], good["training_zh"], good["attended_on"]) == (
        True, "优生优育知识讲座", clock.today().isoformat(),
    )  # fmt: skip
    assert "周" not in str(good)
    assert not (await check(story, card["number"], "王"))["valid"]
    assert not (await check(story, "0" * 12, "周"))["valid"]
