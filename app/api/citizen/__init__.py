"""The citizen door: the mini-program. One module for each domain."""

from app.api.citizen import (
    appointments,
    audit,
    certificates,
    consents,
    corrections,
    courses,
    follow_ups,
    handbook,
    households,
    identity,
    messages,
    results,
    rights,
    rotations,
    supplies,
    surveys,
    waitlist,
)

# Routes are tried in this order, and a rush goes to the first.
ROUTERS = (
    appointments.router,
    courses.router,
    identity.router,
    households.router,
    handbook.router,
    surveys.router,
    consents.router,
    results.router,
    follow_ups.router,
    supplies.router,
    rotations.router,
    waitlist.router,
    certificates.router,
    messages.router,
    corrections.router,
    rights.router,
    audit.router,
)
