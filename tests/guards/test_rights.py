"""Nothing about a person is forgotten: not in the copy that one may have, not when one is erased."""

from sqlalchemy import JSON as JSON_TYPE
from sqlalchemy import Column, Table

from app.db import Base
from app.services.rights.emptying import JSON, SEALED
from app.services.rights.held import HELD

PERSON = {"person", "household", "resident_account"}
#: Tables that name a person, a household or an account and are not part of the copy, with the reason.
LEFT_OUT: dict[str, str] = {
    "suspicion": "half of it is another person's; that it was looked at is in the trail",
    "merge": "which rows were joined; the rows themselves are in the copy",
    "import_row": "a line on its way in; the rows that it becomes are in the copy",
    "compared_through": "a bookmark of the search for duplicates",
}


def names_somebody(column: Column) -> bool:
    refers = {key.column.table.name for key in column.foreign_keys}
    return bool(refers & PERSON) or column.name in {"person_id", "spouse_id", "household_id"}


def tables() -> list[Table]:
    return list(Base.metadata.tables.values())


def test_everything_held_about_a_person_is_in_the_copy() -> None:
    held = {entry.model.__tablename__ for entry in HELD}
    about = {table.name for table in tables() if any(map(names_somebody, table.columns))} | PERSON
    assert not about - held - set(LEFT_OUT), (
        "add these to HELD in services/rights/held.py, or say here why not"
    )
    assert not set(LEFT_OUT) & held


def test_every_encrypted_column_has_its_fate_in_an_erasure() -> None:
    sealed = {
        f"{table.name}.{column.name}"
        for table in tables()
        for column in table.columns
        if column.name.endswith("_sealed")
    }
    assert set(SEALED) == sealed, "say in services/rights/emptying.py what becomes of it"


def test_every_column_of_json_has_its_fate_too() -> None:
    """A sealed value may lie in it, as the evidence of a category in a line of a list."""
    kept = {
        f"{table.name}.{column.name}"
        for table in tables()
        for column in table.columns
        if isinstance(column.type, JSON_TYPE)
    }
    assert set(JSON) == kept, "say in services/rights/emptying.py what becomes of it"
