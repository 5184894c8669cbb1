"""Corrections of what was verified: asked for by one, decided by another, with old and new value."""

from app.services.corrections.changes import Change, DocumentRegistered, SexContradictsMarriage
from app.services.corrections.decisions import (
    CannotApply,
    DecidedByOffice,
    FieldChanged,
    OwnRequest,
    Unmasked,
    approve,
    reject,
    unmask,
)
from app.services.corrections.requests import (
    Asked,
    CorrectionPending,
    NotYours,
    listing,
    own,
    request,
    withdraw,
)

__all__ = [
    "Asked",
    "CannotApply",
    "Change",
    "CorrectionPending",
    "DecidedByOffice",
    "DocumentRegistered",
    "FieldChanged",
    "NotYours",
    "OwnRequest",
    "SexContradictsMarriage",
    "Unmasked",
    "approve",
    "listing",
    "own",
    "reject",
    "request",
    "unmask",
    "withdraw",
]
