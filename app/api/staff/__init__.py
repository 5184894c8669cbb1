"""The door of association workers: one file for each domain they meet."""

from fastapi import APIRouter

from app.api.staff import accounts, appointments, audit, follow_ups, households, identity, partners, results

ROUTERS: tuple[APIRouter, ...] = (
    identity.router,
    accounts.router,
    partners.router,
    households.router,
    appointments.router,
    results.router,
    follow_ups.router,
    audit.router,
)
