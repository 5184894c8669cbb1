"""Follow-ups (随访): derived by rule from a result, worked on by people. What a person has begun or decided
is never overwritten by a later version of the report."""

from app.services.follow_ups.derivation import derive
from app.services.follow_ups.outcomes import Outcome
from app.services.follow_ups.reading import Contact, DueFollowUp, contact, list_due, list_own, read
from app.services.follow_ups.work import AlreadyStarted, NotLive, complete, start

__all__ = [
    "AlreadyStarted",
    "Contact",
    "DueFollowUp",
    "NotLive",
    "Outcome",
    "complete",
    "contact",
    "derive",
    "list_due",
    "list_own",
    "read",
    "start",
]
