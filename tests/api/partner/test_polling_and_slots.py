import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.appointments import AppointmentLeft, AppointmentStatus, Clinic, Slot
from app.models.audit import AuditEvent
from app.models.consents import Consent
from app.models.partners import PartnerAllowance
from app.services import partners
from app.services.appointments import rescheduling
from tests.clients import SYSTEM, partner_client
from tests.factories import appointments as given
from tests.factories import schedules
from tests.factories.appointments import Hospital

S = AppointmentStatus
CHANGES, BATCH = "/partner/v1/appointments/changes", "/partner/v1/slot-batches"


async def caller(session: AsyncSession, hospital: Hospital) -> httpx.AsyncClient:
    await session.commit()
    return partner_client(hospital.organization, hospital.key)


async def test_a_hospital_reads_its_own_appointments_with_masked_names(session: AsyncSession) -> None:
    booked = await given.attended(session, status=S.BOOKED)
    other = await given.attended(session, status=S.BOOKED)
    consent = select(Consent).where(Consent.person_id == booked.spouses.husband.id)
    for row in list(await session.scalars(consent)):
        row.withdrawn_at = clock.now()
    http = await caller(session, booked.hospital)
    # In the one outer transaction of a test nothing is older than the oldest open transaction.
    assert (await http.get(CHANGES)).json()["items"] == []
    for row in (booked, other):
        row.appointment.changed_in = 5
    await session.commit()
    page = (await http.get(CHANGES)).json()
    [change] = page["items"]
    assert change["id"] == str(booked.appointment.id)
    assert change["appointment"]["people"] == ["李*英"]
    assert "code" not in change["appointment"]
    assert page["more"] is False
    again = (await http.get(CHANGES, params={"cursor": page["next"]})).json()
    assert again == {"items": [], "next": page["next"], "more": False}
    assert (await http.get(CHANGES, params={"cursor": "WyJhIl0"})).status_code == 422


async def test_a_hospital_hears_that_somebody_was_moved_elsewhere(session: AsyncSession) -> None:
    booked = await given.attended(session, status=S.BOOKED)
    elsewhere = await given.clinic(session)
    slot = await given.slot(session, place=elsewhere.clinic, service=booked.service)
    await rescheduling.reschedule(session, booked.wife, id=booked.appointment.id, slot_id=slot.id)
    left = (await session.scalars(select(AppointmentLeft))).one()
    assert (left.clinic_id, left.appointment_id) == (booked.hospital.clinic.id, booked.appointment.id)
    left.changed_in = 5
    http = await caller(session, booked.hospital)
    [change] = (await http.get(CHANGES)).json()["items"]
    assert change == {"id": str(booked.appointment.id), "appointment": None}


async def test_moved_between_clinics_of_one_hospital_it_is_told_once_where_it_is(
    session: AsyncSession,
) -> None:
    booked = await given.attended(session, status=S.BOOKED)
    second = Clinic(
        id=new_id(), organization_id=booked.hospital.organization.id, region_code=given.COUNTY, name="二门诊",
        address="1", phone="1", created_at=clock.now(),
    )  # fmt: skip
    session.add(second)
    await session.flush()
    slot = await given.slot(session, place=second, service=booked.service)
    await rescheduling.reschedule(session, booked.wife, id=booked.appointment.id, slot_id=slot.id)
    left = (await session.scalars(select(AppointmentLeft))).one()
    left.changed_in = booked.appointment.changed_in = 5  # the move is one transaction
    http = await caller(session, booked.hospital)
    [change] = (await http.get(CHANGES)).json()["items"]
    assert change["appointment"]["clinic_id"] == str(second.id)


def slot(clinic: Clinic, hour: int, **changes: Any) -> dict[str, Any]:
    starts = (clock.now() + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    starts += timedelta(hours=hour)
    return {
        "clinic_id": str(clinic.id), "service_code": "pre_pregnancy_check", "capacity": 5,
        "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
        "opens_at": clock.now().isoformat(),
    } | changes  # fmt: skip


async def test_many_slots_at_once_get_a_verdict_each(session: AsyncSession) -> None:
    hospital, foreign = await given.clinic(session), await given.clinic(session)
    room = await schedules.room(session, hospital.actor, hospital.clinic)
    clinic = hospital.clinic
    http = await caller(session, hospital)
    body = {
        "slots": [
            slot(clinic, 0),
            slot(clinic, 0),
            slot(clinic, 1, room_id=str(room.id)),
            slot(clinic, 1, room_id=str(room.id), service_code="fertility_assessment"),
            slot(foreign.clinic, 2),
            slot(clinic, 3, service_code="nonsense"),
            slot(clinic, 4, room_id=str(uuid.uuid4())),
            slot(clinic, 5, ends_at=clock.now().isoformat()),
            slot(clinic, 6),
        ]
    }
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answers = (await http.post(BATCH, json=body, headers=headers)).json()
    assert [answer["verdict"] for answer in answers] == [
        "published", "exists", "published", "room_taken", "clinic_unknown", "service_unknown", "room_unknown",
        "time_refused", "published",
    ]  # fmt: skip
    assert answers[1]["id"] == answers[0]["id"]
    assert (await http.post(BATCH, json=body, headers=headers)).json() == answers
    rows = (await session.scalars(select(Slot.id).where(Slot.clinic_id == clinic.id))).all()
    assert {str(row) for row in rows} == {answers[place]["id"] for place in (0, 2, 8)}
    traced = await session.scalars(select(AuditEvent.entity_id).where(AuditEvent.action == "publish"))
    assert set(traced) >= set(rows)


async def test_who_sends_too_much_hears_when_to_come_again(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await partners.limit(session, SYSTEM, hospital.organization.id, requests_per_minute=6, burst=8)
    http = await caller(session, hospital)
    polled = [await http.get(CHANGES) for _ in range(7)]
    assert [answer.status_code for answer in polled] == [200] * 6 + [429]
    refusal = polled[-1]
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.json()["type"] == "urn:nuanxin:problem:too-many-requests"
    assert 5 <= int(refusal.headers["retry-after"]) <= 10
    # What must be said is heard still.
    said = [await http.post("/partner/v1/check-ins", json={"code": "4FP901320D"}) for _ in range(3)]
    assert [answer.status_code for answer in said] == [404, 404, 429]
    assert int(said[-1].headers["retry-after"]) <= 10


@pytest.mark.parametrize("passed", [10.2])
async def test_the_allowance_fills_again(session: AsyncSession, passed: float) -> None:
    hospital = await given.clinic(session)
    await partners.limit(session, SYSTEM, hospital.organization.id, requests_per_minute=6, burst=4)
    http = await caller(session, hospital)
    assert [(await http.get(CHANGES)).status_code for _ in range(4)] == [200, 200, 200, 429]
    row = (await session.scalars(select(PartnerAllowance))).one()
    row.at -= timedelta(seconds=passed)
    await session.commit()
    assert (await http.get(CHANGES)).status_code == 200
    assert (await http.get(CHANGES)).status_code == 429
