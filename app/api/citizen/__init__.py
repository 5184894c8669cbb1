"""The citizen door: the mini-program. One module for each domain."""

from app.api.citizen import appointments, audit, consents, follow_ups, households, identity, messages, results

# Routes are tried in this order, and a rush goes to the first.
ROUTERS = (
    appointments.router,
    identity.router,
    households.router,
    consents.router,
    results.router,
    follow_ups.router,
    messages.router,
    audit.router,
)
