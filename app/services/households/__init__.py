"""Households: registration, verification, reading."""

from app.services.households.editing import edit
from app.services.households.forms import Form, Mark
from app.services.households.reading import categories, detail, listing, mine
from app.services.households.registration import register, return_for_correction, revise, submit, withdraw
from app.services.households.verification import verify

__all__ = [
    "Form",
    "Mark",
    "categories",
    "detail",
    "edit",
    "listing",
    "mine",
    "register",
    "return_for_correction",
    "revise",
    "submit",
    "verify",
    "withdraw",
]
