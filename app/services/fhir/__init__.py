"""FHIR R4 as another way to write the same things at the partner door. Plain JSON stays the main one."""

from app.services.fhir.posting import PostedBundle, post
from app.services.fhir.reading import (
    Found,
    appointments,
    observations,
    one_appointment,
    one_observation,
    one_report,
    one_request,
    one_slot,
    one_task,
    reports,
    requests,
    slots,
    tasks,
)
from app.services.fhir.shapes import Resource, bundle

__all__ = [
    "Found",
    "PostedBundle",
    "Resource",
    "appointments",
    "bundle",
    "observations",
    "one_appointment",
    "one_observation",
    "one_report",
    "one_request",
    "one_slot",
    "one_task",
    "post",
    "reports",
    "requests",
    "slots",
    "tasks",
]
