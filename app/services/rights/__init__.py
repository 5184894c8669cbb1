"""The rights of the person: a copy of everything held, erasure, what is kept how long (PIPL arts. 44 to 50)."""

from app.services.corrections.decisions import OwnRequest
from app.services.rights.accounts import AccountIsBound, erase_own
from app.services.rights.copies import file_of, own_file
from app.services.rights.erasing import (
    Detail,
    ErasurePending,
    Listed,
    decide,
    detail,
    finish_due,
    listing,
    own,
    request_for,
    request_own,
    withdraw,
)
from app.services.rights.retention import purge

__all__ = [
    "AccountIsBound",
    "Detail",
    "ErasurePending",
    "Listed",
    "OwnRequest",
    "decide",
    "detail",
    "erase_own",
    "file_of",
    "finish_due",
    "listing",
    "own",
    "own_file",
    "purge",
    "request_for",
    "request_own",
    "withdraw",
]
