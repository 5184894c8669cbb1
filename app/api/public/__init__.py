"""The public door: what everybody may know."""

from app.api.public import (
    appointments,
    certificates,
    donation_certificates,
    funds,
    households,
    messages,
    problems,
    proofs,
    regions,
    stations,
)

ROUTERS = (
    regions.router, stations.router, households.router, appointments.router, certificates.router, messages.router,
    funds.router, proofs.router, donation_certificates.router, problems.router,
)  # fmt: skip
