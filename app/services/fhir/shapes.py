"""One function for each resource: our row as FHIR R4 writes it. Nobody is named beyond what the plain form names, and
no id of a person goes out: who is examined is told by the appointment and the place in it."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from app.models.appointments import AppointmentStatus as S
from app.models.appointments import Slot, SlotStatus
from app.models.catalogue import AppliesTo
from app.models.follow_ups import FollowUpStatus, ReferralStep
from app.models.results import DiagnosticReport, Interpretation, Observation, ReportStatus

Resource = dict[str, Any]
SERVICE, ITEM, VALUE = "urn:nuanxin:service", "urn:nuanxin:observation", "urn:nuanxin:value"
EXAMINEE, CLINIC, REPORT = "urn:nuanxin:examinee", "urn:nuanxin:clinic", "urn:nuanxin:report"
RISK, STEP = "urn:nuanxin:risk-class", "urn:nuanxin:referral-step"
UCUM = "http://unitsofmeasure.org"
MEANS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
CAPACITY, BOOKED = "urn:nuanxin:fhir:capacity", "urn:nuanxin:fhir:booked"

APPOINTMENT: dict[S, str] = {
    S.HELD: "pending", S.BOOKED: "booked", S.ARRIVED: "arrived", S.FULFILLED: "fulfilled", S.CANCELLED: "cancelled",
    S.EXPIRED: "cancelled", S.NO_SHOW: "noshow", S.ENTERED_IN_ERROR: "entered-in-error",
}  # fmt: skip
REQUEST: dict[S, str] = {
    S.HELD: "active", S.BOOKED: "active", S.ARRIVED: "active", S.FULFILLED: "completed", S.CANCELLED: "revoked",
    S.EXPIRED: "revoked", S.NO_SHOW: "revoked", S.ENTERED_IN_ERROR: "entered-in-error",
}  # fmt: skip
TASK: dict[FollowUpStatus, str] = {
    FollowUpStatus.OPEN: "requested", FollowUpStatus.IN_PROGRESS: "in-progress", FollowUpStatus.DONE: "completed",
    FollowUpStatus.OBSOLETE: "cancelled",
}  # fmt: skip
INTERPRETATION: dict[Interpretation, str] = {
    Interpretation.NORMAL: "N", Interpretation.LOW: "L", Interpretation.HIGH: "H", Interpretation.ABNORMAL: "A",
}  # fmt: skip
# An observation knows neither partial nor appended.
OBSERVATION: dict[ReportStatus, str] = {
    ReportStatus.PARTIAL: "preliminary", ReportStatus.APPENDED: "final",
    ReportStatus.ENTERED_IN_ERROR: "entered-in-error",
}  # fmt: skip


def concept(system: str, code: str, text: str | None = None) -> Resource:
    made: Resource = {"coding": [{"system": system, "code": code}]}
    return made | ({"text": text} if text else {})


def slot(row: Slot, service_code: str) -> Resource:
    """Several places: `free` while one is left; how many is in the extensions."""
    status = "free" if row.booked < row.capacity else "busy"
    if row.status is SlotStatus.CANCELLED:
        status = "entered-in-error"
    elif row.status is not SlotStatus.OPEN:
        status = "busy-unavailable"
    return {
        "resourceType": "Slot", "id": str(row.id), "meta": {"versionId": str(row.version)}, "status": status,
        "extension": [
            {"url": CAPACITY, "valueInteger": row.capacity}, {"url": BOOKED, "valueInteger": row.booked},
        ],
        "serviceType": [concept(SERVICE, service_code)],
        "schedule": {"identifier": {"system": CLINIC, "value": str(row.clinic_id)}},
        "start": row.starts_at.isoformat(), "end": row.ends_at.isoformat(),
    }  # fmt: skip


def appointment(
    *, id: uuid.UUID, status: S, slot_id: uuid.UUID, starts_at: datetime, ends_at: datetime, service_code: str,
    clinic_name: str, people: Sequence[str],
) -> Resource:  # fmt: skip
    """Masked names, of those who agree to that."""
    there: list[Resource] = [
        {"actor": {"type": "Patient", "identifier": {"system": EXAMINEE, "value": str(id)}, "display": name}}
        for name in people
    ]
    place: Resource = {"actor": {"type": "Location", "display": clinic_name}}
    return {
        "resourceType": "Appointment", "id": str(id), "status": APPOINTMENT[status],
        "serviceType": [concept(SERVICE, service_code)], "start": starts_at.isoformat(), "end": ends_at.isoformat(),
        "slot": [{"reference": f"Slot/{slot_id}"}], "basedOn": [{"reference": f"ServiceRequest/{id}"}],
        "participant": [{**one, "status": "accepted"} for one in (*there, place)],
    }  # fmt: skip


def service_request(
    *, id: uuid.UUID, status: S, starts_at: datetime, ends_at: datetime, service_code: str
) -> Resource:
    """What the association asks the hospital to do for those of an appointment. Reports are based on it."""
    return {
        "resourceType": "ServiceRequest", "id": str(id), "status": REQUEST[status], "intent": "order",
        "code": concept(SERVICE, service_code),
        "subject": {"type": "Group", "identifier": {"system": EXAMINEE, "value": str(id)}},
        "occurrencePeriod": {"start": starts_at.isoformat(), "end": ends_at.isoformat()},
    }  # fmt: skip


def diagnostic_report(row: DiagnosticReport, service_code: str, results: Sequence[uuid.UUID]) -> Resource:
    return {
        "resourceType": "DiagnosticReport", "id": str(row.id), "meta": {"versionId": str(row.current_version)},
        "identifier": [{"system": REPORT, "value": row.external_id}], "status": row.status.replace("_", "-"),
        "basedOn": [{"reference": f"ServiceRequest/{row.appointment_id}"}], "code": concept(SERVICE, service_code),
        "issued": row.issued_at.isoformat(),
        **({"result": [{"reference": f"Observation/{id}"} for id in results]} if results else {}),
    }  # fmt: skip


def observation(row: Observation, report: DiagnosticReport, who: AppliesTo) -> Resource:
    """With the laboratory's own range, as it was posted."""
    made: Resource = {
        "resourceType": "Observation", "id": str(row.id), "status": OBSERVATION.get(report.status, report.status.value),
        "code": concept(ITEM, row.code), "issued": report.issued_at.isoformat(),
        "subject": {"type": "Patient", "identifier": {"system": EXAMINEE, "value": f"{report.appointment_id}/{who}"}},
    }  # fmt: skip
    if row.value_number is None:
        made["valueCodeableConcept"] = concept(VALUE, row.value_code or "")
    else:
        made["valueQuantity"] = _quantity(float(row.value_number), row.unit)
    limits = {"low": row.range_low, "high": row.range_high}
    known = {name: _quantity(float(value), row.unit) for name, value in limits.items() if value is not None}
    if known:
        made["referenceRange"] = [known]
    if row.interpretation is not None:
        made["interpretation"] = [concept(MEANS, INTERPRETATION[row.interpretation])]
    return made


def _quantity(value: float, unit: str | None) -> Resource:
    return {"value": value} | ({"unit": unit, "system": UCUM, "code": unit} if unit else {})


def task(
    *, id: uuid.UUID, status: FollowUpStatus, step: ReferralStep | None, due_on: date, name: str, version: int
) -> Resource:
    """A referral to this hospital."""
    return {
        "resourceType": "Task", "id": str(id), "meta": {"versionId": str(version)}, "status": TASK[status],
        "intent": "order", "code": {"text": "转诊 Referral"}, "for": {"type": "Patient", "display": name},
        **({"businessStatus": concept(STEP, step)} if step else {}),
        "restriction": {"period": {"end": due_on.isoformat()}},
    }  # fmt: skip


def bundle(found: Sequence[Resource], *, here: str, following: str | None) -> Resource:
    """A page of a search, with the way to the next."""
    links = [{"relation": "self", "url": here}]
    if following is not None:
        links.append({"relation": "next", "url": following})
    entries = [
        {"fullUrl": f"urn:uuid:{one['id']}", "resource": one, "search": {"mode": "match"}} for one in found
    ]
    return {"resourceType": "Bundle", "type": "searchset", "link": links} | (
        {"entry": entries} if entries else {}
    )
