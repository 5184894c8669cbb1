"""The door of partner hospitals: every request is signed."""

from fastapi import APIRouter

from app.api.partner import appointments, identity, results

ROUTERS: tuple[APIRouter, ...] = (identity.router, appointments.router, results.router)
