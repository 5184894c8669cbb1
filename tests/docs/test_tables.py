"""The tables of the documentation are those of the code."""

import re

import pytest
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.schema import CreateTable

from app.crypto import mask_document, mask_name, mask_phone
from app.db import Base
from app.settings import ROOT
from tests.docs.tables import DOCS, TABLES, between, renewed

PRIVACY = (DOCS / "privacy.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@pytest.mark.parametrize("name", TABLES)
def test_a_generated_table_is_up_to_date(name: str) -> None:
    text, wanted = renewed(name)
    assert between(name).search(text)
    assert text == wanted, "run python -m tests.docs.tables"


def stored() -> dict[str, str]:
    """What the privacy page says of each field: `table.column` → how it is stored."""
    return {row[0].strip("`"): row[1] for row in rows(PRIVACY) if re.fullmatch(r"`\w+\.\w+`", row[0])}


def test_the_privacy_page_knows_every_field_that_is_encrypted_and_no_other() -> None:
    columns = {f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.c}
    assert stored().keys() <= columns
    encrypted = {column for column in columns if column.endswith("_sealed")}
    assert {field for field, how in stored().items() if how == "encrypted"} == encrypted


def test_the_privacy_page_knows_every_blind_index() -> None:
    names = ("document_index", "phone_index")
    indexes = {f"{table}.{name}" for table in ("person", "import_row") for name in names}
    columns = {f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.c}
    assert {column for column in columns if column.endswith("_index")} == indexes
    assert {field for field, how in stored().items() if how == "blind index"} == indexes


def test_values_are_masked_as_the_privacy_page_shows() -> None:
    examples = [row[:2] for row in rows(PRIVACY.split("## Masking")[1].split("## ")[0])[2:]]
    assert len(examples) == 6
    for value, shown in examples:
        digits = sum(character.isdigit() for character in value)
        mask = {0: mask_name, 11: mask_phone}.get(digits, mask_document)
        assert mask(value) == shown


def test_every_constraint_that_the_architecture_page_names_is_in_the_models() -> None:
    named = set(re.findall(r"`((?:ck|uq|pk|fk|ix)_\w+)`", ARCHITECTURE))
    tables = Base.metadata.tables.values()
    # Names that the convention makes are known only to the compiler of the DDL.
    ddl = "\n".join(str(CreateTable(table).compile(dialect=dialect())) for table in tables)
    known = {str(index.name) for table in tables for index in table.indexes}
    known |= set(re.findall(r"CONSTRAINT (\w+)", ddl))
    assert named
    assert named <= known, named - known


def test_every_file_that_a_page_names_exists() -> None:
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        for path in re.findall(
            r"`((?:app|tests|migrations|docs)/[\w./-]+)`", page.read_text(encoding="utf-8")
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
