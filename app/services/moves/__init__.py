"""Moves: a household, or some of its members, handed over from one village to another; leaving the association's
region and coming back; who is registered here and lives elsewhere."""

from app.services.moves.leaving import come_back, move_out
from app.services.moves.plans import AskForMove, Mover, MoveUnderWay, OtherSideDecides, Plan, ProposeMove
from app.services.moves.proposing import NotFoundByDocument, accept, ask, decline, propose, withdraw
from app.services.moves.reading import MoveRow, PersonAway, listing, people_away, view
from app.services.moves.relocation import MoveOutdated

__all__ = [
    "AskForMove",
    "MoveOutdated",
    "MoveRow",
    "MoveUnderWay",
    "Mover",
    "NotFoundByDocument",
    "OtherSideDecides",
    "PersonAway",
    "Plan",
    "ProposeMove",
    "accept",
    "ask",
    "come_back",
    "decline",
    "listing",
    "move_out",
    "people_away",
    "propose",
    "view",
    "withdraw",
]
