"""What refers to people and to households, and so moves when two of them are merged."""

from sqlalchemy import Table

from app import models
from app.db import Base
from app.services.duplicates.changes import table

__all__ = ["HOUSEHOLD_STAYS", "KEYS", "PERSON_STAYS", "moved"]

assert models  # the tables are known from here on

_APPEND_ONLY = "written once and never changed: read under every id that somebody had"
_MERGE = "says who was merged into whom"
_DERIVED = "derived: ended for both, and settled anew when it is needed"

#: Columns that keep the id of who was merged into somebody else, and why.
PERSON_STAYS = {
    "audit_event.person_id": _APPEND_ONLY,
    "household_event.person_id": _APPEND_ONLY,
    "life_event.person_id": _APPEND_ONLY,
    "observation.person_id": _APPEND_ONLY,
    "qualification.person_id": _DERIVED,
    "qualification.spouse_id": _DERIVED,
    "qualification.subject_id": _DERIVED,
    "appointment.subject_id": "a person or a couple: moved with a look at what it may collide with",
    "waitlist_entry.subject_id": "a person or a couple: moved, or given up where both wait in one line",
    "import_row.person_id": "what a list said; undoing the import refuses whom a merge has changed",
    "household_move.head_id": "who was to head a household; a move under way is decided before a merge",
    "suspicion.person_a": "the pair as it was found",
    "suspicion.person_b": "the pair as it was found",
    "merge.kept_person_id": _MERGE,
    "merge.lost_person_id": _MERGE,
    "compared_through.person_id": "a place in the order of registration, not a reference",
}
HOUSEHOLD_STAYS = {
    "household_event.household_id": "written once and never changed: the handbook of the kept one reads both",
    "life_event.household_id": "written once and never changed",
    "import_row.household_id": "what a list said",
    "merge.kept_household_id": _MERGE,
    "merge.lost_household_id": _MERGE,
}
#: Of which the kept one has its own: the other's stays where it was, as its history.
KEYS = {
    "survey_response.household_id": ("code", "year"),
    "inbox_message.person_id": ("kind", "entity_id", "once"),
    "rotation_turn.person_id": ("rotation_id",),
}


def moved(target: str) -> list[tuple[Table, str]]:
    """Every column with a foreign key to people ("person") or households ("household") but those that stay."""
    stays = PERSON_STAYS if target == "person" else HOUSEHOLD_STAYS
    return [
        (place, column.name)
        for name, place in sorted(Base.metadata.tables.items())
        for column in place.columns
        if f"{name}.{column.name}" not in stays
        and any(key.column.table is table(target) for key in column.foreign_keys)
    ]
