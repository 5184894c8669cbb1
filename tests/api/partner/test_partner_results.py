"""Reports and their documents at the hospital's door: what is refused leaves nothing."""

import json
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.files import StoredFileChunk
from app.models.results import DiagnosticReport, PartnerMessage, ReportAttachment
from tests.clients import client, partner_client
from tests.factories import appointments as given
from tests.factories import pdfs
from tests.factories.appointments import Attended
from tests.factories.results import body

REPORTS, ATTACHMENTS = "/partner/v1/reports", "/partner/v1/report-attachments"
DATA = pdfs.pdf()


async def hospital(session: AsyncSession) -> tuple[Attended, httpx.AsyncClient]:
    attended = await given.attended(session)
    await session.commit()
    return attended, partner_client(attended.hospital.organization, attended.hospital.key)


async def kept(session: AsyncSession) -> list[int]:
    models = (DiagnosticReport, PartnerMessage, ReportAttachment, StoredFileChunk)
    return [await session.scalar(select(func.count()).select_from(model)) or 0 for model in models]


def announcing(attended: Attended, **changes: Any) -> dict[str, Any]:
    return body(attended, attachment_sha256=pdfs.sha256(DATA)) | changes


async def test_r6_a_changed_late_or_repeated_request_is_refused(session: AsyncSession) -> None:
    attended, caller = await hospital(session)
    posted = body(attended)
    first = await caller.post(REPORTS, json=posted)
    assert first.status_code == 201
    after = await kept(session)

    headers = dict(first.request.headers) | {"webhook-id": "msg_other"}
    for changed in (headers, dict(first.request.headers)):
        content = json.dumps(posted | {"version": 2}).encode()
        changed["content-length"] = str(len(content))
        assert (await client().post(REPORTS, content=content, headers=changed)).status_code == 401
    replayed = await client().post(REPORTS, content=first.request.content, headers=first.request.headers)
    assert (replayed.status_code, replayed.json()["type"]) == (409, "urn:nuanxin:problem:replayed-request")
    late = {"Webhook-Timestamp": str(int(time.time()) - 400)}
    assert (await caller.post(REPORTS, json=posted | {"version": 2}, headers=late)).status_code == 401
    assert await kept(session) == after
    again = await caller.post(
        REPORTS, content=first.request.content, headers={"Content-Type": "application/json"}
    )
    assert (again.status_code, again.json()["state"]) == (200, "replayed")
    assert await kept(session) == after


async def test_a_document_goes_from_the_hospital_to_the_couple(session: AsyncSession) -> None:
    attended, caller = await hospital(session)
    posted = announcing(attended)
    assert (await caller.post(REPORTS, json=posted)).status_code == 201
    where = {"external_id": posted["external_id"], "version": 1}
    for expected in (201, 200):
        sent = await caller.post(ATTACHMENTS, params=where, content=DATA)
        assert (sent.status_code, sent.json()["size"]) == (expected, len(DATA)), sent.text
    receipt = (await caller.get(f"{REPORTS}/{posted['external_id']}")).json()
    assert receipt["messages"][0]["attachment"] == "received"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (DATA[:-20], "other-attachment"),
        (b"", "other-attachment"),
        (pdfs.pdf(page=b"another"), "other-attachment"),
        (b"x" * 5_000_001, "body-too-large"),
    ],
)
async def test_half_a_document_another_and_one_too_large_leave_nothing(
    session: AsyncSession, data: bytes, problem: str
) -> None:
    attended, caller = await hospital(session)
    posted = announcing(attended)
    await caller.post(REPORTS, json=posted)
    before = await kept(session)
    where = {"external_id": posted["external_id"], "version": 1}
    answer = await caller.post(ATTACHMENTS, params=where, content=data)
    assert answer.json()["type"] == f"urn:nuanxin:problem:{problem}"
    assert await kept(session) == before


async def test_a_document_that_was_changed_on_the_way_is_refused_by_its_signature(
    session: AsyncSession,
) -> None:
    attended, caller = await hospital(session)
    posted = announcing(attended)
    await caller.post(REPORTS, json=posted)
    where = {"external_id": posted["external_id"], "version": 1}
    request = (await caller.post(ATTACHMENTS, params=where, content=b"stopped half-way")).request
    before = await kept(session)
    headers = dict(request.headers) | {"content-length": str(len(DATA)), "webhook-id": "msg_new"}
    answer = await client().post(request.url, content=DATA, headers=headers)
    assert answer.status_code == 401
    assert await kept(session) == before


async def test_what_the_hospital_may_report_and_which_forms_are_full(session: AsyncSession) -> None:
    attended, caller = await hospital(session)
    items = await caller.get(
        f"/partner/v1/services/{attended.service.id}/items",
        params={"clinic_id": str(attended.hospital.clinic.id)},
    )
    assert [item["number"] for item in items.json()] == list(range(1, 20))
    assert items.json()[4]["observations"][0] == {
        "code": "haemoglobin", "zh": "血红蛋白", "en": "Haemoglobin", "applies_to": "both", "value_type": "number",
        "unit": "g/L", "codes": [], "form": "laboratory",
    }  # fmt: skip
    forms = await caller.get(f"/partner/v1/appointments/{attended.appointment.id}/record-forms")
    assert {form["number"]: form["state"] for form in forms.json()["forms"]}[8] == 0
