"""Waiting for a place, and a closed morning, as the family, the hospital and the county meet them."""

from datetime import timedelta

import pytest

from app import clock, demo
from app.api.deps import Cursor
from app.journey import couple
from app.models.identity import Role
from app.models.partners import Organization, PartnerKey
from tests.clients import partner_client, staff_client
from tests.residents import TOWN, agree, bound, key, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")
PROBLEM = "urn:nuanxin:problem:"


async def a_family(worker):
    wife, husband = couple()
    husband_caller = await bound(husband)
    wife_caller = await verified(wife, husband, worker)
    for caller in (wife_caller, husband_caller):
        await agree(caller)
    return wife_caller


async def test_a_family_waits_is_offered_a_place_and_loses_it_to_a_closed_morning(session):
    await demo.seed(session)
    await session.commit()
    hospital = partner_client(
        await session.get(Organization, demo.HOSPITAL), await session.get(PartnerKey, demo.PARTNER_KEY)
    )
    worker = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    county = await staff_client(session, Role.COUNTY_ADMINISTRATOR, demo.COUNTY)
    place = {
        "organization_id": str(demo.HOSPITAL), "region_code": demo.COUNTY, "name": "优生门诊二部",
        "address": "解放街 9 号", "phone": "0951-1234569",
    }  # fmt: skip
    clinic = (await county.post("/staff/v1/clinics", json=place, headers=key())).json()["id"]
    has, waits = await a_family(worker), await a_family(worker)
    starts = clock.now() + timedelta(days=2)
    slot = {
        "clinic_id": clinic, "service_code": "pre_pregnancy_check", "capacity": 1,
        "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
        "opens_at": clock.now().isoformat(),
    }  # fmt: skip
    slot_id = (await hospital.post("/partner/v1/slots", json=slot, headers=key())).json()["id"]
    today = clock.today()
    wish = {
        "service_code": "pre_pregnancy_check", "clinic_id": clinic, "from_on": today.isoformat(),
        "to_on": (today + timedelta(days=20)).isoformat(),
    }  # fmt: skip
    refused = (await waits.post("/citizen/v1/waitlist", json=wish, headers=key())).json()
    assert (refused["type"], refused["slot_id"]) == (f"{PROBLEM}place-is-free", slot_id)
    booked = (await has.post("/citizen/v1/appointments", json={"slot_id": slot_id}, headers=key())).json()
    once = key()
    joined = [await waits.post("/citizen/v1/waitlist", json=wish, headers=once) for _ in range(2)]
    assert [answer.status_code for answer in joined] == [201, 201]
    assert joined[0].json() == joined[1].json()
    assert (joined[0].json()["status"], joined[0].json()["ahead"]) == ("waiting", 0)
    asked = {"clinic_id": clinic, "service_code": "pre_pregnancy_check"}
    [seen] = (await worker.get("/staff/v1/waitlist", params=asked)).json()["items"]
    assert (seen["id"], [name[1] for name in seen["people"]]) == (joined[0].json()["id"], ["*", "*"])
    for wrong in ({"cursor": Cursor.encode(2**70, 1)}, {"service_code": "\u0000"}, {"clinic_id": "x"}):
        assert (await worker.get("/staff/v1/waitlist", params=asked | wrong)).status_code == 422
    again = await waits.post("/citizen/v1/waitlist", json=wish, headers=key())
    assert (again.status_code, again.json()["type"]) == (409, f"{PROBLEM}already-waiting")
    await has.post(f"/citizen/v1/appointments/{booked['id']}/cancel", json={})
    [entry] = (await waits.get("/citizen/v1/waitlist")).json()["items"]
    [offer] = (await waits.get("/citizen/v1/offers")).json()
    assert (entry["status"], entry["appointment_id"], entry["offer_expires_at"]) == (
        "offered", offer["id"], offer["hold_expires_at"],
    )  # fmt: skip
    assert (await has.post(f"/citizen/v1/offers/{offer['id']}/accept")).status_code == 404
    accepted = await waits.post(f"/citizen/v1/offers/{offer['id']}/accept")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "booked")

    window = {
        "clinic_id": clinic,
        "from_at": starts.isoformat(),
        "to_at": (starts + timedelta(hours=4)).isoformat(),
    }
    seen = await county.get("/staff/v1/closures/preview", params=window)
    assert seen.json() == {"slots": 1, "appointments": 1, "held": 0, "arrived": 0}
    assert (
        await worker.post("/staff/v1/closures", json={**window, "reason": "weather"}, headers=key())
    ).status_code == 403
    closed = await hospital.post("/partner/v1/closures", json={**window, "reason": "weather"}, headers=key())
    # Another clinic of the county has free places.
    assert (closed.status_code, closed.json()["offered"], closed.json()["without"]) == (201, 1, 0)
    [listed] = (await county.get("/staff/v1/closures")).json()["items"]
    report = await county.get(f"/staff/v1/closures/{listed['id']}")
    assert report.json() == closed.json()
    latest = (await waits.get(f"/citizen/v1/waitlist/{entry['id']}")).json()
    assert latest["status"] == "accepted"
    [moved] = (await waits.get("/citizen/v1/offers")).json()
    assert (moved["origin"], moved["starts_at"] > starts.isoformat()) == ("closure", True)
    declined = await waits.post(f"/citizen/v1/offers/{moved['id']}/decline")
    assert declined.json()["status"] == "cancelled"
    assert (await county.get(f"/staff/v1/closures/{listed['id']}")).json()["declined"] == 1
