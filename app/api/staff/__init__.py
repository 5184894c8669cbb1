"""The door of association workers: one file for each domain they meet."""

from fastapi import APIRouter

from app.api import slots
from app.api.deps import staff_may
from app.api.staff import (
    accounts,
    appointments,
    audit,
    corrections,
    duplicates,
    family_types,
    follow_ups,
    households,
    identity,
    imports,
    life_events,
    moves,
    partners,
    persons,
    regions,
    results,
    rights,
    rosters,
    search,
    stations,
    surveys,
)

ROUTERS: tuple[APIRouter, ...] = (
    identity.router,
    accounts.router,
    partners.router,
    households.router,
    life_events.router,
    moves.router,
    family_types.router,
    persons.router,
    surveys.router,
    appointments.router,
    slots.router(staff_may),
    results.router,
    follow_ups.router,
    search.router,
    imports.router,
    corrections.router,
    duplicates.router,
    rights.router,
    regions.router,
    stations.router,
    rosters.router,
    audit.router,
)
