"""Life events: what happens in a family, recorded by workers who saw what proves it. Nothing is lost: memberships,
marriages and categories end, and what was recorded by mistake is annulled by a new event."""

from app.services.life_events.annulment import AlreadyAnnulled, LaterChanges, NotAnnullable, annul
from app.services.life_events.couples import NotACouple, plan_pregnancy
from app.services.life_events.events import Happened
from app.services.life_events.recording import CategoryHeld, ListedEvent, listing, record

__all__ = [
    "AlreadyAnnulled",
    "CategoryHeld",
    "Happened",
    "LaterChanges",
    "ListedEvent",
    "NotACouple",
    "NotAnnullable",
    "annul",
    "listing",
    "plan_pregnancy",
    "record",
]
