"""The door of partner hospitals: every request is signed."""

from fastapi import APIRouter

from app.api import slots
from app.api.deps import partner_may
from app.api.partner import appointments, identity, results

ROUTERS: tuple[APIRouter, ...] = (
    identity.router,
    appointments.router,
    slots.router(partner_may),
    results.router,
)
