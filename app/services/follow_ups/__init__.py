"""Follow-ups (随访): derived by rule from a result, worked on by people. What a person has begun or decided
is never overwritten by a later version of the report."""

from app.services.follow_ups.assignment import AlreadyAssigned, hand_over, take, workers
from app.services.follow_ups.derivation import derive
from app.services.follow_ups.events import NotLive
from app.services.follow_ups.outcomes import Outcome
from app.services.follow_ups.reading import (
    Contact,
    DueFollowUp,
    Step,
    Wished,
    contact,
    list_due,
    list_own,
    read,
)
from app.services.follow_ups.referrals import (
    NotAReferral,
    ReferralRecord,
    Referred,
    StepNotAllowed,
    list_referred,
    take_step,
)
from app.services.follow_ups.work import AlreadyStarted, NotDoubted, complete, decide_doubt, start

__all__ = [
    "AlreadyAssigned",
    "AlreadyStarted",
    "Contact",
    "DueFollowUp",
    "NotAReferral",
    "NotDoubted",
    "NotLive",
    "Outcome",
    "ReferralRecord",
    "Referred",
    "Step",
    "StepNotAllowed",
    "Wished",
    "complete",
    "contact",
    "decide_doubt",
    "derive",
    "hand_over",
    "list_due",
    "list_own",
    "list_referred",
    "read",
    "start",
    "take",
    "take_step",
    "workers",
]
