"""The public door: what everybody may know."""

from app.api.public import appointments, households, problems, regions, stations

ROUTERS = (regions.router, stations.router, households.router, appointments.router, problems.router)
