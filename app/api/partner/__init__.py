"""The door of partner hospitals: every request is signed."""

from fastapi import APIRouter

from app.api import closures, hospital_files, schedules, slots
from app.api import settlements as months
from app.api.deps import partner_may
from app.api.partner import (
    appointments,
    changes,
    fhir,
    follow_ups,
    identity,
    results,
    settlements,
    slot_batches,
)

ROUTERS: tuple[APIRouter, ...] = (
    identity.router,
    appointments.router,
    changes.router,
    slot_batches.router,
    slots.router(partner_may),
    schedules.router(partner_may),
    closures.router(partner_may),
    results.router,
    follow_ups.router,
    settlements.router,
    months.router(partner_may),
    hospital_files.router(partner_may),
    fhir.router,
)
