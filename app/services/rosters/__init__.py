"""Rosters of staff, village workers, members and volunteers, and what they were trained in. Nobody is deleted: who
leaves has a day of leaving."""

from app.services.rosters.certificates import NewCertificate, certify, expiring, withdraw_certificate
from app.services.rosters.download import RosterTooLarge, workbook
from app.services.rosters.members import RosterEntry, counts, detail, enter, leave, listing, masked, revise

__all__ = [
    "NewCertificate",
    "RosterEntry",
    "RosterTooLarge",
    "certify",
    "counts",
    "detail",
    "enter",
    "expiring",
    "leave",
    "listing",
    "masked",
    "revise",
    "withdraw_certificate",
    "workbook",
]
