"""The door of association workers: one file for each domain they meet."""

from fastapi import APIRouter

from app.api import slots
from app.api.deps import staff_may
from app.api.staff import accounts, appointments, audit, follow_ups, households, identity, partners, results

ROUTERS: tuple[APIRouter, ...] = (
    identity.router,
    accounts.router,
    partners.router,
    households.router,
    appointments.router,
    slots.router(staff_may),
    results.router,
    follow_ups.router,
    audit.router,
)
