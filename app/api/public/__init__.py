"""The public door: what everybody may know."""

from app.api.public import appointments, problems, regions

ROUTERS = (regions.router, appointments.router, problems.router)
