"""What a worker books and moves for a resident, and what the resident does with it at the own door."""

from datetime import datetime, timedelta

import pytest

from app import clock, demo
from app.journey import couple
from app.models.identity import Role
from app.models.partners import Organization, PartnerKey
from tests.clients import partner_client, staff_client
from tests.residents import TOWN, agree, bound, key, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")
PROBLEM = "urn:nuanxin:problem:"
TREATMENT = "reproductive_health_treatment"


async def published(hospital, first: datetime, count: int) -> list[str]:
    made = []
    for number in range(count):
        starts = first + timedelta(hours=2 * number)
        slot = {
            "clinic_id": str(demo.CLINIC), "service_code": TREATMENT, "capacity": 1, "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=1)).isoformat(), "opens_at": clock.now().isoformat(),
        }  # fmt: skip
        made.append((await hospital.post("/partner/v1/slots", json=slot, headers=key())).json()["id"])
    return made


async def test_a_course_is_booked_moved_and_mended_for_somebody_without_a_phone(session):
    await demo.seed(session)
    await session.commit()
    hospital = partner_client(
        await session.get(Organization, demo.HOSPITAL), await session.get(PartnerKey, demo.PARTNER_KEY)
    )
    worker = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    wife, husband = couple()
    husband_caller = await bound(husband)
    resident = await verified(wife, husband, worker)
    for caller in (resident, husband_caller):
        await agree(caller)
    *dates, later = await published(hospital, clock.now() + timedelta(days=3), 6)
    me = (await resident.get("/citizen/v1/me")).json()["id"]
    body = {"slot_ids": dates, "person_id": me, "reason": "no_phone", "note": "上门代约"}

    supervisor = await staff_client(session, Role.SUPERVISOR, demo.COUNTY)
    refused = await supervisor.post("/staff/v1/courses", json=body, headers=key())
    assert (refused.status_code, refused.json()["type"]) == (403, f"{PROBLEM}forbidden")
    once = key()
    answers = [await worker.post("/staff/v1/courses", json=body, headers=once) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    course = answers[0].json()
    assert answers[1].json() == course
    assert [one["session"] for one in course] == [1, 2, 3, 4, 5]
    assert {(one["course_id"], one["origin"]) for one in course} == {(once["Idempotency-Key"], "staff")}
    assert "code" not in course[0]
    told = (await resident.get("/citizen/v1/messages")).json()["items"]
    assert [one["kind"] for one in told] == ["appointment_reminder"]

    path = f"/staff/v1/appointments/{course[1]['id']}/reschedule"
    why = {"reason": "asked_by_resident", "note": "来电改约"}
    wrong = await worker.post(path, json={"slot_id": later, **why})
    assert (wrong.status_code, wrong.json()["type"]) == (409, f"{PROBLEM}out-of-order")
    assert (await worker.post(path, json={"slot_id": later})).status_code == 422  # a reason is wanted
    last = f"/staff/v1/appointments/{course[4]['id']}/reschedule"
    moved = await worker.post(last, json={"slot_id": later, **why})
    assert (moved.status_code, moved.json()["slot_id"]) == (200, later)

    await resident.post(f"/citizen/v1/appointments/{course[1]['id']}/cancel", json={})
    anew = f"/courses/{once['Idempotency-Key']}/dates"
    again = {"session": 2, "slot_id": dates[1]}
    assert (await worker.post(f"/staff/v1{anew}", json=again, headers=key())).status_code == 422
    booked = await resident.post(f"/citizen/v1{anew}", json=again, headers=key())
    assert (booked.status_code, booked.json()["session"], booked.json()["slot_id"]) == (201, 2, dates[1])
    assert (await husband_caller.post(f"/citizen/v1{anew}", json=again, headers=key())).status_code == 404
    twice = await worker.post(f"/staff/v1{anew}", json=again | why, headers=key())
    assert (twice.status_code, twice.json()["status_now"]) == (409, "booked")
    await worker.post(f"/staff/v1/appointments/{booked.json()['id']}/cancel", json=why)
    mended = await worker.post(f"/staff/v1{anew}", json=again | why, headers=key())
    assert (mended.status_code, mended.json()["course_id"]) == (201, once["Idempotency-Key"])


async def test_true_is_no_number(session):
    await demo.seed(session)
    await session.commit()
    hospital = partner_client(
        await session.get(Organization, demo.HOSPITAL), await session.get(PartnerKey, demo.PARTNER_KEY)
    )
    starts = clock.now() + timedelta(days=3)
    slot = {
        "clinic_id": str(demo.CLINIC), "service_code": TREATMENT, "capacity": True, "starts_at": starts.isoformat(),
        "ends_at": (starts + timedelta(hours=1)).isoformat(), "opens_at": clock.now().isoformat(),
    }  # fmt: skip
    refused = await hospital.post("/partner/v1/slots", json=slot, headers=key())
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/capacity")
    assert (await hospital.post("/partner/v1/slots", json=slot | {"capacity": 1}, headers=key())).is_success
