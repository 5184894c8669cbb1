"""Nothing about a person is forgotten: not in the copy that one may have, not when one is erased."""

from sqlalchemy import JSON as JSON_TYPE
from sqlalchemy import Column, Table, Text

from app import crypto
from app.db import Base
from app.services.rights.emptying import JSON, SEALED
from app.services.rights.held import HELD

PERSON = {"person", "household", "resident_account"}
#: Sealed by hand, for the row that it will become, or in pieces: the doctor asks for the versions of their keys only.
BY_HAND = {"import_row", "stored_file_chunk"}
#: Tables that name a person, a household or an account and are not part of the copy, with the reason.
LEFT_OUT: dict[str, str] = {
    "suspicion": "half of it is another person's; that it was looked at is in the trail",
    "merge": "which rows were joined; the rows themselves are in the copy",
    "import_row": "a line on its way in; the rows that it becomes are in the copy",
    "compared_through": "a bookmark of the search for duplicates",
    "appointment_left": "that a clinic has an appointment no more; its steps are in the copy",
    "bank_file_line": "in which file the bank was told of a payment; what it answered is among the steps",
    "settlement_item": "that a hospital was paid for an appointment",
}


def names_somebody(column: Column) -> bool:
    refers = {key.column.table.name for key in column.foreign_keys}
    return bool(refers & PERSON) or column.name in {"person_id", "spouse_id", "household_id"}


def tables() -> list[Table]:
    return list(Base.metadata.tables.values())


def hanging_on(about: set[str]) -> set[str]:
    """What refers to one of these tables, and what refers to that: the notes of a follow-up, the refund of a gift."""
    refer = {table.name for table in tables() for key in table.foreign_keys if key.column.table.name in about}
    return about if refer <= about else hanging_on(about | refer)


def test_everything_held_about_a_person_is_in_the_copy() -> None:
    held = {entry.model.__tablename__ for entry in HELD}
    about = {table.name for table in tables() if any(map(names_somebody, table.columns))} | PERSON
    about = hanging_on(about - set(LEFT_OUT))
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


def test_every_encrypted_column_is_an_attribute_that_the_doctor_opens() -> None:
    """So that no kind of secret is forgotten when keys are changed (`crypto.sealed`)."""
    opened = {f"{model.__tablename__}.{name}_sealed" for model, name in crypto.sealed(Base)}
    by_hand = {column for column in SEALED if column.split(".")[0] in BY_HAND}
    assert opened | by_hand == set(SEALED)
    assert not opened & by_hand


def test_every_column_of_json_has_its_fate_too() -> None:
    """A sealed value may lie in it, as the evidence of a category in a line of a list."""
    kept = {
        f"{table.name}.{column.name}"
        for table in tables()
        for column in table.columns
        if isinstance(column.type, JSON_TYPE)
    }
    assert set(JSON) == kept, "say in services/rights/emptying.py what becomes of it"


#: What a column is called into which people write about people.
FREE = {
    "reason", "note", "purpose", "evidence", "why", "conclusion", "comment", "text", "texts", "place", "name",
    "address", "phone", "contact", "payer", "payee",
}  # fmt: skip
#: Of these, what is not encrypted, and why. Names of people are compared, sorted and shown masked.
PLAIN: dict[str, str] = {
    "appointment_event.reason": "one of a list; what people write is in the note",
    "audit_event.purpose": "one of a list",
    "refused_transfer.reason": "one of a list",
    "partner_message.reason": "one of a list",
    "registry_export.purpose": "one of a list",
    "household_event.note": "pointers into a form, regions and codes: never what somebody wrote",
    "disbursement.purpose": "public",
    "person.name": "a person's",
    "import_row.name": "a person's, until the list is settled",
    "roster_member.name": "a person's",
    "staff_account.name": "a worker's",
    "practitioner.name": "a doctor's, told to whoever books",
    "organization_donor.name": "a body's",
    "organization.name": "a hospital's",
    "clinic.name": "public",
    "clinic.address": "public",
    "clinic.phone": "public",
    "station.name": "public",
    "station.address": "public",
    "station.phone": "public",
    "room.name": "a hospital's own word",
    "schedule.name": "a hospital's own word",
    "region.name": "public",
    "saved_filter.name": "a worker's own word for a search: what is sought is encrypted",
}


def test_what_people_write_about_people_is_encrypted() -> None:
    plain = {
        f"{table.name}.{column.name}"
        for table in tables()
        for column in table.columns
        if column.name in FREE and type(column.type) is Text
    }
    assert plain == set(PLAIN), (
        "seal it (`Sealed`), or say here why it may be read by whoever reads the tables"
    )
