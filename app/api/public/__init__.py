"""The public door: what everybody may know."""

from app.api.public import appointments, certificates, households, messages, problems, regions, stations

ROUTERS = (
    regions.router, stations.router, households.router, appointments.router, certificates.router, messages.router,
    problems.router,
)  # fmt: skip
