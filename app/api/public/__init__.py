"""The public door: what everybody may know."""

from app.api.public import appointments, households, problems, regions

ROUTERS = (regions.router, households.router, appointments.router, problems.router)
