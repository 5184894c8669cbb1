"""The citizen door: the mini-program. One module for each domain."""

from app.api.citizen import appointments, audit, consents, follow_ups, households, identity, messages, results

ROUTERS = (
    identity.router,
    households.router,
    consents.router,
    appointments.router,
    results.router,
    follow_ups.router,
    messages.router,
    audit.router,
)
