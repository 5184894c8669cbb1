"""A line of a list as understood, and what is wrong with it."""

from dataclasses import dataclass, field
from datetime import date

from app.models.households import DocumentKind, FamilyType, HukouType, Relation, Sex
from app.services.imports.categories import ImportedCategory


@dataclass(slots=True)
class Wrong:
    """What is wrong with a cell. Fatal: the line is refused; else a warning. `column` is "" for the line itself. The
    texts never repeat the cell."""

    column: str
    code: str
    zh: str
    en: str
    fatal: bool = True


@dataclass(slots=True)
class Row:
    """A line as understood. What is wrong or empty is None; a row without fatal `wrong` has all that a member of a
    household needs: household, region_code, relation, name, document, sex, birth_date."""

    number: int
    cells: dict[str, str]  # column key → as given (after filling down), without blanks around
    given: list[str]  # the line as uploaded and filled down, for the annotated workbook
    household: str | None = None  # equal for the lines of one household of this file
    head_line: int | None = None
    region_code: str | None = None
    local_number: str | None = None
    address: str | None = None
    family_type: FamilyType | None = None
    relation: Relation | None = None
    name: str | None = None
    document_kind: DocumentKind | None = None
    document_number: str | None = None  # normalised, as documents.read leaves it
    sex: Sex | None = None
    birth_date: date | None = None
    hukou_region_code: str | None = None
    hukou_type: HukouType | None = None
    resident_since: date | None = None
    phone: str | None = None
    married_since: date | None = None
    plans_pregnancy: bool | None = None
    categories: list[ImportedCategory] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        return any(wrong.fatal for wrong in self.wrong)

    def note(self, column: str, code: str, zh: str, en: str, *, fatal: bool = True) -> None:
        self.wrong.append(Wrong(column, code, zh, en, fatal))
