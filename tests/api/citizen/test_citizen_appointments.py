"""Eligibility, consent, booking, attendance, as the family and the hospital meet them."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app import clock, demo
from app.journey import couple
from app.models.appointments import Appointment, AppointmentEvent, Qualification, Slot, SlotStatus
from app.models.consents import Consent, ConsentNotice
from app.models.households import Couple
from app.models.identity import Role
from app.models.partners import Organization, PartnerKey
from tests.clients import partner_client, staff_client
from tests.residents import NEXT_COUNTY_TOWN, TOWN, agree, bound, key, member, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")
PROBLEM = "urn:nuanxin:problem:"


@pytest.fixture
async def hospital(session):
    await demo.seed(session)
    await session.commit()
    return partner_client(
        await session.get(Organization, demo.HOSPITAL), await session.get(PartnerKey, demo.PARTNER_KEY)
    )


@pytest.fixture
async def worker(session):
    return await staff_client(session, Role.VILLAGE_WORKER, TOWN)


@pytest.fixture
async def family(session, worker, hospital):
    """Wife and husband, verified, both signed in, both agreed."""
    wife, husband = couple()
    husband_caller = await bound(husband)
    wife_caller = await verified(wife, husband, worker)
    for caller in (wife_caller, husband_caller):
        await agree(caller)
    return wife_caller, husband_caller


async def published(hospital, *, capacity=1, **changes):
    starts = clock.now() + timedelta(minutes=5)
    body = {
        "clinic_id": str(demo.CLINIC), "service_code": "pre_pregnancy_check", "capacity": capacity,
        "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
        "opens_at": (clock.now() - timedelta(minutes=1)).isoformat(), **changes,
    }  # fmt: skip
    answer = await hospital.post("/partner/v1/slots", json=body, headers=key())
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def book(caller, slot, headers=None):
    return await caller.post("/citizen/v1/appointments", json={"slot_id": slot}, headers=headers or key())


async def test_the_family_reads_why_it_is_eligible(family):
    why = (await family[0].get("/citizen/v1/services/pre_pregnancy_check/eligibility")).json()
    assert why["eligible"] is True
    assert all(criterion["clause_zh"] for criterion in why["criteria"])


async def test_a_couple_is_booked_once_and_sees_it_from_both_phones(session, family, hospital):
    slot = await published(hospital, capacity=2)
    answer = await book(family[0], slot)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spouse_id"] is not None
    for caller in family:
        assert [a["id"] for a in (await caller.get("/citizen/v1/appointments")).json()["items"]] == [
            answer.json()["id"]
        ]
    again = await book(family[1], slot)
    assert again.status_code == 409
    assert again.json()["type"] == PROBLEM + "already-booked"
    assert await session.scalar(select(Slot.booked).where(Slot.id == uuid.UUID(slot))) == 1


async def test_a_double_tap_books_once_and_gets_the_same_answer(session, family, hospital):
    slot, once = await published(hospital, capacity=5), key()
    first, second = await book(family[0], slot, once), await book(family[0], slot, once)
    assert (first.status_code, first.json()) == (201, second.json())
    other_slot = await published(hospital, starts_at=(clock.now() + timedelta(minutes=9)).isoformat())
    assert (await book(family[0], other_slot, once)).json()["type"] == PROBLEM + "idempotency-key-reused"
    assert (await book(family[1], slot, once)).json()["type"] == PROBLEM + "idempotency-key-taken"
    assert await session.scalar(select(func.count()).select_from(Appointment)) == 1


async def consent_withdrawn(session, wife):
    await session.execute(update(Consent).values(withdrawn_at=clock.now()))


async def marriage_ended(session, wife):
    await session.execute(update(Couple).values(valid_to=clock.today()))


async def slot_closed(session, wife):
    await session.execute(update(Slot).values(status=SlotStatus.CLOSED))


async def qualification_lapsed(session, wife):
    await session.execute(update(Qualification).values(valid_until=clock.now()))


@pytest.mark.parametrize("change", [consent_withdrawn, marriage_ended, slot_closed, qualification_lapsed])
async def test_a_lost_answer_is_given_again_whatever_has_changed_since(session, family, hospital, change):
    slot, once = await published(hospital), key()
    first = await book(family[0], slot, once)
    await change(session, family[0])
    await session.commit()
    again = await book(family[0], slot, once)
    assert (again.status_code, again.json()) == (201, first.json())
    assert await session.scalar(select(func.count()).select_from(Appointment)) == 1


async def test_who_qualified_as_a_couple_that_ended_since_books_no_more(session, family, hospital):
    why = await family[0].post("/citizen/v1/services/pre_pregnancy_check/qualification")
    assert why.json()["eligible"] is True
    await marriage_ended(session, family[0])
    await session.commit()
    answer = await book(family[0], await published(hospital))
    assert answer.json()["type"] == PROBLEM + "not-eligible"
    assert "married" in {criterion["fact"] for criterion in answer.json()["criteria"]}


async def test_a_resident_sees_where_to_go_and_who_receives_the_data_also_when_the_slot_has_closed(
    session, family, hospital
):
    slot = await published(hospital)
    query = {"service": "pre_pregnancy_check"}
    (offered,) = [
        s for s in (await family[0].get("/citizen/v1/slots", params=query)).json()["items"] if s["id"] == slot
    ]
    mine = (await book(family[0], slot)).json()
    assert (await hospital.post(f"/partner/v1/slots/{slot}/close")).json()["status"] == "closed"
    shown = (await family[1].get(f"/citizen/v1/appointments/{mine['id']}")).json()
    (listed,) = (await family[1].get("/citizen/v1/appointments")).json()["items"]
    assert shown == listed
    assert shown["service_zh"] == "免费孕前优生健康检查"
    names = ("clinic_name", "clinic_address", "clinic_phone", "organization_name")
    assert {name: shown[name] for name in names} == {name: offered[name] for name in names}
    assert shown["organization_name"] == await session.scalar(
        select(Organization.name).where(Organization.id == demo.HOSPITAL)
    )


async def test_slots_of_an_unknown_service_are_not_found(family):
    assert (await family[0].get("/citizen/v1/slots", params={"service": "no_such"})).status_code == 404


async def test_a_code_typed_by_hand_is_forgiven_its_look_alikes(session, family, hospital):
    mine = (await book(family[0], await published(hospital))).json()
    await session.execute(update(Appointment).values(code="0123456789"))
    await session.commit()
    answer = await hospital.post("/partner/v1/check-ins", json={"code": "ol2-345 6789"})
    assert (answer.status_code, answer.json().get("id")) == (200, mine["id"]), answer.text


async def test_without_consent_the_refusal_names_the_notice_and_whose(worker, hospital):
    wife, husband = couple()
    caller = await verified(wife, husband, worker)
    await agree(caller)
    answer = await book(caller, await published(hospital))
    assert answer.json()["type"] == PROBLEM + "consent-required"
    assert {(n["purpose"], n["whose"]) for n in answer.json()["notices"]} == {
        ("health_data", "spouse"),
        ("share_with_hospital", "spouse"),
    }


async def test_a_new_version_of_a_notice_needs_new_consent(session, family, hospital):
    await session.execute(
        update(ConsentNotice).where(ConsentNotice.purpose == "health_data").values(retired_at=clock.now())
    )
    old = await session.scalar(select(ConsentNotice).where(ConsentNotice.purpose == "health_data"))
    columns = {c.name: getattr(old, c.name) for c in ConsentNotice.__table__.columns}
    session.add(ConsentNotice(**columns | {"id": uuid.uuid4(), "version": 2, "retired_at": None}))
    await session.commit()
    slot = await published(hospital)
    assert (await book(family[0], slot)).json()["type"] == PROBLEM + "consent-required"
    for caller in family:
        await agree(caller)
    assert (await book(family[0], slot)).status_code == 201


async def test_who_is_not_eligible_reads_which_criterion_failed(worker, hospital):
    wife, husband = couple()
    far = "440106001000"
    members = [
        member(wife, "spouse", hukou_region_code=far, resident_since=clock.today().isoformat()),
        member(husband, "head", hukou_region_code=far),
    ]
    caller = await verified(wife, husband, worker, members=members)
    answer = await book(caller, await published(hospital))
    assert answer.json()["type"] == PROBLEM + "not-eligible"
    failing = {criterion["fact"] for criterion in answer.json()["criteria"]}
    assert failing == {"spouses_with_local_hukou", "months_resident_of_both"}


async def test_a_full_slot_a_slot_not_yet_open_and_an_unknown_one_each_say_so(session, family, hospital):
    full = await published(hospital)
    await session.execute(update(Slot).where(Slot.id == uuid.UUID(full)).values(booked=1))
    await session.commit()
    later = (clock.now() + timedelta(minutes=2)).isoformat()
    soon = await published(
        hospital, opens_at=later, starts_at=(clock.now() + timedelta(minutes=7)).isoformat()
    )
    assert (await book(family[0], full)).json()["type"] == PROBLEM + "slot-full"
    assert (await book(family[0], soon)).json()["type"] == PROBLEM + "slot-not-open-yet"
    assert (await book(family[0], str(uuid.uuid4()))).status_code == 404
    assert await session.scalar(select(func.count()).select_from(Appointment)) == 0


async def test_cancelling_frees_the_place_and_allows_another_booking(session, family, hospital):
    slot = await published(hospital)
    mine = (await book(family[0], slot)).json()
    path = f"/citizen/v1/appointments/{mine['id']}/cancel"
    assert (await family[1].post(path, json={"reason": "临时有事"})).json()["status"] == "cancelled"
    assert (await family[0].post(path, json={})).json()["type"] == PROBLEM + "wrong-state"
    assert await session.scalar(select(Slot.booked).where(Slot.id == uuid.UUID(slot))) == 0
    assert (await book(family[1], slot)).status_code == 201


async def test_the_hospital_learns_names_at_check_in_only(family, hospital):
    mine = (await book(family[0], await published(hospital))).json()
    day = mine["starts_at"]
    on = clock.datetime.fromisoformat(day).astimezone(clock.SHANGHAI).date().isoformat()
    listed = (await hospital.get("/partner/v1/appointments", params={"on": on})).json()["items"]
    assert [item["people"] for item in listed] == [["王*芳", "李*国"]]
    assert mine["code"] not in str(listed)
    assert (await hospital.post("/partner/v1/check-ins", json={"code": "0000000000"})).status_code == 404
    arrival = (await hospital.post("/partner/v1/check-ins", json={"code": mine["code"]})).json()
    assert {person["name"] for person in arrival["people"]} == {"王小芳", "李建国"}
    done = await hospital.post(f"/partner/v1/appointments/{mine['id']}/fulfil")
    assert done.json()["status"] == "fulfilled"
    for again in ("fulfil", "no-show"):
        answer = await hospital.post(f"/partner/v1/appointments/{mine['id']}/{again}")
        assert answer.json()["type"] == PROBLEM + "wrong-state"


async def test_consent_withdrawn_after_booking_closes_the_file_to_the_hospital(family, hospital):
    mine = (await book(family[0], await published(hospital))).json()
    for consent in (await family[1].get("/citizen/v1/consents")).json():
        await family[1].post(f"/citizen/v1/consents/{consent['id']}/withdraw")
    answer = await hospital.post("/partner/v1/check-ins", json={"code": mine["code"]})
    assert answer.json()["type"] == PROBLEM + "consent-required"
    assert "whose" not in answer.text
    assert "王小芳" not in answer.text


async def test_check_in_is_for_the_day_of_the_appointment(family, hospital):
    starts = clock.now() + timedelta(days=2)
    slot = await published(
        hospital, starts_at=starts.isoformat(), ends_at=(starts + timedelta(hours=1)).isoformat()
    )
    mine = (await book(family[0], slot)).json()
    answer = await hospital.post("/partner/v1/check-ins", json={"code": mine["code"]})
    assert answer.json()["type"] == PROBLEM + "not-today"


async def test_another_hospital_and_another_family_see_nothing(session, family, hospital):
    from tests.clients import a_hospital

    mine = (await book(family[0], await published(hospital))).json()
    stranger = partner_client(*await a_hospital(session))
    assert (await stranger.post("/partner/v1/check-ins", json={"code": mine["code"]})).status_code == 404
    assert (await stranger.post(f"/partner/v1/appointments/{mine['id']}/fulfil")).status_code == 404
    other = await bound(couple()[0])
    assert (await other.get(f"/citizen/v1/appointments/{mine['id']}")).status_code == 404
    far = await staff_client(session, Role.VILLAGE_WORKER, NEXT_COUNTY_TOWN)
    assert (await far.get("/staff/v1/appointments")).json()["items"] == []


async def test_two_services_at_one_time_are_refused_at_the_door(session, family, hospital):
    assert (await book(family[0], await published(hospital))).status_code == 201
    lecture = await published(hospital, service_code="health_lecture")
    answer = await book(family[1], lecture)
    assert (answer.status_code, answer.json()["type"]) == (409, PROBLEM + "overlapping-appointment")
    assert await session.scalar(select(Slot.booked).where(Slot.id == uuid.UUID(lecture))) == 0


async def test_code_and_calendar_are_downloads_of_the_family_alone(family, hospital):
    mine = (await book(family[0], await published(hospital))).json()
    stranger = await bound(couple()[0])
    for name, kind in (("code.svg", "image/svg+xml"), ("calendar.ics", "text/calendar")):
        path = f"/citizen/v1/appointments/{mine['id']}/{name}"
        answer = await family[1].get(path)
        assert answer.headers["content-type"].split(";")[0] == kind
        assert answer.headers["cache-control"] == "private, no-store"
        assert (await stranger.get(path)).status_code == 404


async def test_each_step_leaves_an_event(session, family, hospital):
    mine = (await book(family[0], await published(hospital))).json()
    await hospital.post("/partner/v1/check-ins", json={"code": mine["code"]})
    await hospital.post(f"/partner/v1/appointments/{mine['id']}/fulfil")
    steps = select(AppointmentEvent.status).where(AppointmentEvent.appointment_id == uuid.UUID(mine["id"]))
    assert list(await session.scalars(steps.order_by(AppointmentEvent.id))) == [
        "booked",
        "arrived",
        "fulfilled",
    ]


async def test_slots_are_listed_in_time_order_with_what_is_left(family, hospital):
    first = await published(hospital, capacity=3)
    await book(family[0], first)
    page = (
        await family[0].get("/citizen/v1/slots", params={"service": "pre_pregnancy_check", "limit": 5})
    ).json()
    assert page["items"][0]["id"] == first
    assert page["items"][0]["remaining"] == 2
    times = [item["starts_at"] for item in page["items"]]
    assert times == sorted(times)
    following = await family[0].get(
        "/citizen/v1/slots", params={"service": "pre_pregnancy_check", "cursor": page["next"]}
    )
    assert following.json()["items"][0]["starts_at"] >= times[-1]
