"""What else hospitals do at their door, played: many slots, files, FHIR, settlements. Every change leaves its trace."""

import io
import secrets
import uuid
from datetime import timedelta
from typing import Any

import xlsxwriter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.appointments import Appointment, AppointmentStatus
from app.models.identity import Role
from app.services.fhir import shapes
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_partner_door(story: Played, session: AsyncSession) -> None:
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    limits = {"requests_per_minute": 1200, "burst": 600}
    await county.call("PUT", f"/organizations/{demo.HOSPITAL}/limits", limits)
    starts = clock.now() + timedelta(days=4)
    slot = {
        "clinic_id": str(demo.CLINIC), "service_code": "pre_pregnancy_check", "capacity": 2,
        "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
        "opens_at": clock.now().isoformat(),
    }  # fmt: skip
    [made] = await story.hospital.create("/slot-batches", {"slots": [slot]})
    assert made["verdict"] == "published"
    await the_files(story, county)
    examined = select(Appointment.id).where(
        Appointment.clinic_id == demo.CLINIC, Appointment.status == AppointmentStatus.FULFILLED
    )
    await story.hospital.call("POST", "/fhir", as_bundle(str(await session.scalar(examined.limit(1)))))
    await the_settlements(story, county)


async def the_files(story: Played, county: Caller) -> None:
    for file, heading in (("attendance-files", ["到检情况"]), ("result-files", None)):
        headings = heading or ["报告编号", "签发时间", "受检者", "项目", "结果值"]
        for caller, query in ((story.hospital, ""), (county, f"?organization_id={demo.HOSPITAL}")):
            await send(caller, f"/{file}{query}", book(headings))


def book(headings: list[str]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        made.add_worksheet().write_row(0, 0, headings)
    return out.getvalue()


async def send(caller: Caller, path: str, data: bytes) -> None:
    url = caller.door + path
    headers = {**caller.headers, **caller.sign("POST", url, data)}
    answer = await caller.http.post(url, content=data, headers=headers)
    assert answer.status_code == 200, answer.text


def as_bundle(appointment: str) -> dict[str, Any]:
    report = {
        "resourceType": "DiagnosticReport", "meta": {"versionId": "1"}, "status": "preliminary",
        "identifier": [{"value": f"F-{secrets.token_hex(6)}"}], "issued": clock.now().isoformat(),
        "basedOn": [{"reference": f"ServiceRequest/{appointment}"}],
        "contained": [
            {
                "resourceType": "Observation", "id": "o1", "status": "preliminary",
                "code": {"coding": [{"system": shapes.ITEM, "code": "smoking"}]},
                "subject": {"identifier": {"value": f"{appointment}/wife"}},
                "valueCodeableConcept": {"coding": [{"system": shapes.VALUE, "code": "no"}]},
            }
        ],
        "result": [{"reference": "#o1"}],
    }  # fmt: skip
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": report}]}


async def the_settlements(story: Played, county: Caller) -> None:
    """Of two months in which nothing happened: one is accepted, one returned."""
    price = {"service_code": "pre_pregnancy_check", "valid_from": "2026-01-01", "price_fen": 100}
    await county.call("PUT", "/service-prices", {**price, "region_code": demo.COUNTY})
    for month, verb, more in (("2025-01", "accept", {}), ("2025-02", "return", {"reason": "请核对"})):
        body = {"clinic_id": str(demo.CLINIC), "month": month, "amount_fen": 0}
        made = await story.hospital.call(
            "POST", "/settlements", body, headers={"Idempotency-Key": str(uuid.uuid4())}
        )
        await county.call("POST", f"/settlements/{made['id']}/{verb}", {"version": made["version"], **more})
