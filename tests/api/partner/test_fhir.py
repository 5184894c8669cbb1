"""Everything that goes out as FHIR is FHIR R4, by the word of another library."""

import json
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import AppointmentStatus, SlotStatus
from app.models.audit import AuditEvent
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus, ReferralStep
from app.models.results import DiagnosticReport, Interpretation, Observation, ReportStatus
from app.services.fhir import shapes
from tests.clients import partner_client
from tests.factories import appointments as given
from tests.factories import results
from tests.factories.appointments import Attended, Hospital

S = AppointmentStatus
BASE = "/partner/v1/fhir"


def valid(resource: dict[str, Any]) -> dict[str, Any]:
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    return resource


async def caller(session: AsyncSession, hospital: Hospital) -> httpx.AsyncClient:
    await session.commit()
    return partner_client(hospital.organization, hospital.key)


async def search(http: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    """Every page of it, one by one."""
    found: list[dict[str, Any]] = []
    answer = await http.get(f"{BASE}/{path}", params={"_count": "1", **query})
    while True:
        assert answer.headers["content-type"] == "application/fhir+json", answer.text
        page = valid(answer.json())
        found += [valid(entry["resource"]) for entry in page.get("entry", [])]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return found
        answer = await http.get(following[0])


async def read(http: httpx.AsyncClient, resource: dict[str, Any]) -> dict[str, Any]:
    answer = await http.get(f"{BASE}/{resource['resourceType']}/{resource['id']}")
    assert answer.status_code == 200, answer.text
    return valid(answer.json())


async def test_slots_appointments_and_requests_are_searched_and_read(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    mine = [
        await given.attended(session, hospital=hospital, status=status) for status in (S.BOOKED, S.NO_SHOW)
    ]
    await given.attended(session, status=S.BOOKED)
    day = str(mine[0].appointment.starts_at.astimezone(clock.SHANGHAI).date())
    http = await caller(session, hospital)
    slots = await search(http, "Slot", start=day)
    assert {slot["id"] for slot in slots} == {str(row.slot.id) for row in mine}
    assert {slot["status"] for slot in slots} == {"free"}
    booked = await search(http, "Appointment", date=day)
    assert {one["status"] for one in booked} == {"booked", "noshow"}
    assert "李*英" in json.dumps(booked, ensure_ascii=False)
    assert "李秀英" not in json.dumps(booked, ensure_ascii=False)
    asked = await search(http, "ServiceRequest", date=day)
    assert {one["status"] for one in asked} == {"active", "revoked"}
    for one in (*slots, *booked, *asked):
        assert await read(http, one) == one
    stranger = await caller(session, await given.clinic(session))
    for one in (slots[0], booked[0], asked[0]):
        assert (await stranger.get(f"{BASE}/{one['resourceType']}/{one['id']}")).status_code == 404


def as_bundle(row: Attended, **changes: Any) -> dict[str, Any]:
    who = {who: {"identifier": {"system": shapes.EXAMINEE, "value": f"{row.appointment.id}/{who}"}} for who in
           ("wife", "husband")}  # fmt: skip
    report = {
        "resourceType": "DiagnosticReport", "meta": {"versionId": "1"}, "status": "final",
        "identifier": [{"value": results.number()}], "code": {"coding": [{"code": "pre_pregnancy_check"}]},
        "basedOn": [{"reference": f"ServiceRequest/{row.appointment.id}"}],
        "issued": (clock.now() - timedelta(hours=1)).isoformat(), "conclusion": "轻度贫血",
        "conclusionCode": [{"coding": [{"system": shapes.RISK, "code": "B"}]}],
        "contained": [
            {
                "resourceType": "Observation", "id": "h", "status": "final", "subject": who["wife"],
                "code": {"coding": [{"system": shapes.ITEM, "code": "haemoglobin"}]},
                "valueQuantity": {"value": 98, "unit": "g/L", "system": shapes.UCUM, "code": "g/L"},
                "referenceRange": [{"low": {"value": 115}, "high": {"value": 150}}],
                "interpretation": [{"coding": [{"system": shapes.MEANS, "code": "L"}]}],
            },
            {
                "resourceType": "Observation", "id": "b", "status": "final", "subject": who["husband"],
                "code": {"coding": [{"system": shapes.ITEM, "code": "hbsag"}]},
                "valueCodeableConcept": {"coding": [{"system": shapes.VALUE, "code": "negative"}]},
            },
        ],
        "result": [{"reference": "#h"}, {"reference": "#b"}],
    } | changes  # fmt: skip
    return valid({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": report}]})


async def test_a_report_posted_as_a_bundle_is_the_same_report(session: AsyncSession) -> None:
    row = await given.attended(session)
    http = await caller(session, row.hospital)
    raw = json.dumps(as_bundle(row)).encode()
    headers = {"Content-Type": "application/fhir+json"}
    answers = [await http.post(BASE, content=raw, headers=headers) for _ in "12"]
    assert [answer.status_code for answer in answers] == [201, 200], answers[0].text
    report = (await session.scalars(select(DiagnosticReport))).one()
    assert (report.appointment_id, report.status, report.risk_class) == (row.appointment.id, "final", "B")
    values = {value.code: value for value in await session.scalars(select(Observation))}
    low = values["haemoglobin"]
    assert (low.person_id, low.value_number, low.unit, low.range_low, low.interpretation) == (
        row.spouses.wife.id, 98, "g/L", 115, Interpretation.LOW,
    )  # fmt: skip
    assert (values["hbsag"].person_id, values["hbsag"].value_code) == (row.spouses.husband.id, "negative")

    [listed] = await search(http, "DiagnosticReport")
    found = await search(http, "Observation", report=str(report.id))
    assert [one["reference"] for one in listed["result"]] == [f"Observation/{one['id']}" for one in found]
    sent = {
        one["code"]["coding"][0]["code"]: one for one in json.loads(raw)["entry"][0]["resource"]["contained"]
    }
    for one in found:
        first = sent[one["code"]["coding"][0]["code"]]
        assert one["subject"]["identifier"] == first["subject"]["identifier"]
        assert one.get("valueCodeableConcept") == first.get("valueCodeableConcept")
        assert one.get("valueQuantity") == first.get("valueQuantity")
        assert one.get("interpretation") == first.get("interpretation")
        assert await read(http, one) == one
    assert await read(http, listed) == listed
    traced = select(AuditEvent.person_id).where(
        AuditEvent.action == "read", AuditEvent.entity == "diagnostic_report"
    )
    assert {row.spouses.wife.id, row.spouses.husband.id} <= set(await session.scalars(traced))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"code": {"coding": [{"system": shapes.ITEM, "code": "nonsense"}]}}, "/contained/0/code"),
        ({"valueQuantity": {"value": 98, "code": "mg/L"}}, "/contained/0/unit"),
        ({"subject": {"display": "somebody"}}, "/contained/0/subject"),
        ({"subject": {"identifier": {"value": f"{uuid.uuid4()}/wife"}}}, "/contained/0/subject"),
        ({"valueQuantity": None}, "/contained/0"),
        (
            {"valueQuantity": {"value": 98, "code": "g/L", "system": "urn:own"}},
            "/contained/0/valueQuantity/system",
        ),
        ({"referenceRange": [{"low": {"value": 11.5, "unit": "g/dL"}}]}, "/contained/0/referenceRange"),
        ({"status": "preliminary"}, "/contained/0/status"),
        ({"id": "other"}, "/result"),
    ],
)
async def test_what_is_wrong_is_named_where_it_stands(
    session: AsyncSession, change: dict[str, Any], pointer: str
) -> None:
    row = await given.attended(session)
    body = as_bundle(row)
    body["entry"][0]["resource"]["contained"][0] |= change
    http = await caller(session, row.hospital)
    answer = await http.post(BASE, json=body)
    assert answer.status_code == 422
    assert f"/entry/0/resource{pointer}" in [one["pointer"] for one in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"effectiveDateTime": "2026-11-24"}, "effectiveDateTime"),
        ({"conclusionCode": [{"coding": [{"system": "urn:own", "code": "B"}]}]}, "conclusionCode"),
        ({"code": {"coding": [{"system": shapes.SERVICE, "code": "fertility_assessment"}]}}, "code"),
    ],
)
async def test_what_would_be_lost_or_contradicts_is_refused(
    session: AsyncSession, change: dict[str, Any], pointer: str
) -> None:
    row = await given.attended(session)
    http = await caller(session, row.hospital)
    answer = await http.post(BASE, json=as_bundle(row, **change))
    assert [one["pointer"] for one in answer.json()["errors"]] == [f"/entry/0/resource/{pointer}"]


async def test_a_referral_is_a_task(session: AsyncSession) -> None:
    row = await given.attended(session)
    other = await given.clinic(session)
    await results.post(session, row, results.body(row))
    report = (await session.scalars(select(DiagnosticReport))).one()
    task = (await session.scalars(select(FollowUp).where(FollowUp.report_id == report.id))).first()
    assert task is not None
    task.kind, task.topic, task.step = FollowUpKind.REFERRAL, "x", ReferralStep.REFERRED
    task.status, task.referred_to = FollowUpStatus.IN_PROGRESS, other.organization.id
    http = await caller(session, other)
    [found] = await search(http, "Task")
    assert (found["status"], found["businessStatus"]["coding"][0]["code"]) == ("in-progress", "referred")
    assert await read(http, found) == found


def test_every_state_has_its_word() -> None:
    for states, words in ((S, shapes.APPOINTMENT), (S, shapes.REQUEST), (FollowUpStatus, shapes.TASK)):
        assert set(words) == set(states)
    for status in ReportStatus:
        word = shapes.OBSERVATION.get(status, status.value)
        valid({"resourceType": "Observation", "status": word, "code": {"text": "x"}})
        assert word in {
            "registered",
            "preliminary",
            "final",
            "amended",
            "corrected",
            "cancelled",
            "entered-in-error",
        }
    assert set(Interpretation) == set(shapes.INTERPRETATION)


@pytest.mark.parametrize("status", list(SlotStatus))
async def test_a_slot_in_each_state(session: AsyncSession, status: SlotStatus) -> None:
    hospital = await given.clinic(session)
    kind = await given.service(session)
    row = await given.slot(session, place=hospital.clinic, service=kind, status=status)
    words = {
        "open": "free",
        "draft": "busy-unavailable",
        "closed": "busy-unavailable",
        "cancelled": "entered-in-error",
    }
    assert valid(shapes.slot(row, kind.code))["status"] == words[status]
    row.booked = row.capacity
    assert shapes.slot(row, kind.code)["status"] == ("busy" if status is SlotStatus.OPEN else words[status])
