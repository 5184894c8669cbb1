"""The citizen door: the mini-program. One module for each domain."""

from app.api.citizen import (
    appointments,
    audit,
    consents,
    corrections,
    follow_ups,
    handbook,
    households,
    identity,
    messages,
    results,
    rights,
    surveys,
)

# Routes are tried in this order, and a rush goes to the first.
ROUTERS = (
    appointments.router,
    identity.router,
    households.router,
    handbook.router,
    surveys.router,
    consents.router,
    results.router,
    follow_ups.router,
    messages.router,
    corrections.router,
    rights.router,
    audit.router,
)
