"""The citizen door: the mini-program. One module for each domain."""

from app.api.citizen import appointments, audit, consents, households, identity, messages, results

ROUTERS = (
    identity.router,
    households.router,
    consents.router,
    appointments.router,
    results.router,
    messages.router,
    audit.router,
)
