"""One line, one person: what the cells of a list say, judged without the database.

What is written must be readable: a line that is not is refused, corrected and uploaded again, so that nothing is lost
in silence. Only the four columns of LENIENT are left out with a warning."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app import clock
from app.models.households import DocumentKind, Relation
from app.services import documents
from app.services.households.forms import AGE_OF_MAJORITY
from app.services.imports import cells as read
from app.services.imports.categories import claimed
from app.services.imports.cells import NotReadable
from app.services.imports.columns import ABOVE, BY_KEY, Layout
from app.services.imports.grouping import Grouping
from app.services.imports.lines import NOTICED, Line
from app.services.imports.places import AMBIGUOUS, ELSEWHERE, Bounds, Regions
from app.services.imports.row import Row
from app.services.regions import TOWN

LENIENT = frozenset({"phone", "hukou_region", "hukou_type", "family_type"})
# What clerks write into a cell that they leave empty.
NOTHING = frozenset(("无", "暂无", "没有", "不详", "/", "\\", "-", "--", "—", "——", "－", "／"))


@dataclass(frozen=True, slots=True)
class Known:
    """What a list is judged against. `bounds` are access.region_bounds of the worker's region; `categories` those of
    category_names()."""

    regions: Regions
    bounds: Bounds
    categories: Mapping[str, tuple[str, str]]


def read_rows(lines: Iterator[Line], layout: Layout, known: Known) -> Iterator[Row]:
    """A Row of each line below the headings that is not blank."""
    reading = _Reading(layout, known)
    for line in lines:
        row = reading.row(line)
        if row is not None:
            yield row


PARSERS: dict[str, Callable[[str], Any]] = {
    "local_number": read.local_number, "address": read.address, "family_type": read.family_type,
    "relation": read.relation, "name": read.name, "document_kind": read.document_kind,
    "document_number": read.document_number, "sex": read.sex, "birth_date": read.day,
    "hukou_type": read.hukou_type, "resident_since": read.day, "phone": read.phone, "married_since": read.day,
    "plans_pregnancy": read.yes,
}  # fmt: skip
OF_1904 = {key: read.day_of_1904 for key, parse in PARSERS.items() if parse is read.day}


class _Reading:
    def __init__(self, layout: Layout, known: Known) -> None:
        self._layout, self._known = layout, known
        self._pick, self._width = itemgetter(*layout.places.values()), max(layout.places.values()) + 1
        parsers = PARSERS | OF_1904 if layout.date1904 else PARSERS
        self._simple = [(key, parsers[key]) for key in layout.places if key in parsers]
        self._above = [key for key in ABOVE if key in layout.places]
        self._today, self._majority = clock.today(), clock.years_ago(AGE_OF_MAJORITY)
        self._needed = [column for column in BY_KEY.values() if column.needed]
        self._grouping = Grouping(layout.places)

    def row(self, line: Line) -> Row | None:
        given = line.cells
        given.extend([""] * (self._width - len(given)))
        cells = dict(zip(self._layout.places, map(str.strip, self._pick(given)), strict=True))
        if not NOTHING.isdisjoint(cells.values()):
            cells = {key: "" if text in NOTHING else text for key, text in cells.items()}
        if not any(cells.values()):
            return None
        row = Row(line.number, cells, given)
        for key in line.warnings:
            row.note("", key, *NOTICED[key], fatal=False)
        self._set_aside_errors(row)
        new = self._grouping.begins(row)
        for key in self._grouping.fill_down(row, new=new):
            given[self._layout.places[key]] = cells[key]
        self._parse(row)
        self._find_regions(row)
        self._document(row)
        self._judge(row)
        self._grouping.join(row, new=new)
        return row

    def _set_aside_errors(self, row: Row) -> None:
        """#N/A and its like, and characters that could not be read, are no values."""
        together = "".join(row.cells.values())
        if "#" not in together and "\ufffd" not in together:
            return
        for key, text in row.cells.items():
            if text[:1] == "#" and text in read.ERRORS:
                row.note(key, "cell_error", *read.ERRORS[text])
            elif "\ufffd" in text:
                row.note(key, "unreadable", "含有乱码，请重新输入", "unreadable characters: type it again")
            else:
                continue
            row.cells[key] = ""

    def _parse(self, row: Row) -> None:
        cells = row.cells
        for key, parse in self._simple:
            text = cells[key]
            if text:
                try:
                    setattr(row, key, parse(text))
                except NotReadable as error:
                    zh = error.zh
                    if error.code == "choice":
                        zh += f"，请填：{'、'.join(BY_KEY[key].choices)}"
                    row.note(key, error.code, zh, error.en, fatal=key not in LENIENT)
        if text := cells.get("categories", ""):
            try:
                row.categories, guessed = claimed(
                    text, cells.get("evidence", ""), self._known.categories, self._today
                )
                for key, zh, en in guessed:
                    row.note("categories", key, zh, en, fatal=False)
            except NotReadable as error:
                row.note(error.column or "categories", error.code, error.zh, error.en)

    def _find_regions(self, row: Row) -> None:
        regions, bounds = self._known.regions, self._known.bounds
        if text := row.cells["region"]:
            above = tuple(name for key in self._above if (name := row.cells[key])) if self._above else ()
            code = regions.find(text, bounds, above)
            if code and bounds[0] <= code <= bounds[1] and regions.level(code) >= TOWN:
                row.region_code = code
            else:
                row.note("region", *_region_problem(code, bounds))
        if text := row.cells.get("hukou_region", ""):
            row.hukou_region_code = regions.find(text, bounds) or None
            if row.hukou_region_code is None:
                zh, en = (
                    "没有找到唯一的户籍地，未录入；可填 12 位区划代码",
                    "no such division, or several: left out",
                )
                row.note("hukou_region", "hukou_region", zh, en, fatal=False)

    def _document(self, row: Row) -> None:
        number = row.document_number
        if number is None:
            return
        kind = row.document_kind or read.document_kind_of(number)
        if kind is DocumentKind.RESIDENT_ID and documents.FIFTEEN.fullmatch(number):
            number = documents.upgrade(number)
            zh, en = "15 位号码已换算为 18 位，请核对", "15 digits were turned into 18: check them"
            row.note("document_number", "fifteen_digits", zh, en, fatal=False)
        try:
            document = documents.read(kind, number)
            row.document_kind, row.document_number = kind, document.number
            born, sex = row.birth_date, row.sex
            row.birth_date, row.sex = documents.person_facts(document, birth_date=born, sex=sex)
        except documents.DocumentNotValid as problem:
            self._refuse_document(row, problem)
        else:
            # One rounded number in eleven passes the check.
            if document.birth_date and number.endswith("000"):
                zh, en = (
                    "末三位为 000，可能已被 Excel 改坏，请核对",
                    "it ends in 000, as if rounded by Excel: check it",
                )
                row.note("document_number", "maybe_spoilt", zh, en, fatal=False)

    def _refuse_document(self, row: Row, problem: documents.DocumentNotValid) -> None:
        first = (problem.errors or [])[0]
        column = first["pointer"].removeprefix("/")
        zh, en = first["zh"], first["en"]
        if column == "document_number" and row.document_number and row.document_number.endswith("000"):
            zh += "；末三位为 000，可能已被 Excel 改坏，请设为“文本”后重新输入"
            en += "; it ends in 000: Excel may have rounded it"
        row.note(column, column, zh, en)

    def _judge(self, row: Row) -> None:
        """What is missing, and what lies in the future."""
        noted = {wrong.column for wrong in row.wrong}
        for column in self._needed:
            if not row.cells[column.key] and column.key not in noted:
                row.note(column.key, "missing", f"必填：{column.zh}", "required")
        for key, day in (("resident_since", row.resident_since), ("married_since", row.married_since)):
            if day is not None and day > self._today:
                row.note(key, "future", "不能晚于今天", "lies in the future")
        adult = row.birth_date is not None and row.birth_date <= self._majority
        if adult and not row.phone and row.relation in {Relation.HEAD, Relation.SPOUSE}:
            zh, en = "成年户主和配偶应填写手机号，可后补", "an adult head or spouse should have a phone"
            row.note("phone", "phone_missing", zh, en, fatal=False)


def _region_problem(code: str | None, bounds: Bounds) -> tuple[str, str, str]:
    if code is None:
        return (
            "region",
            "没有找到这个村（社区），请填全称或 12 位区划代码",
            "no such village: full name or code",
        )
    if code == ELSEWHERE:
        return (
            "region_elsewhere",
            "所填的省、市、县、乡镇内没有这个村（社区），请核对",
            "no such village in the province, city, county and town given: check them",
        )
    if code == AMBIGUOUS:
        return "region_ambiguous", "有同名的村（社区），请写明乡镇", "several have this name: add the town"
    if not bounds[0] <= code <= bounds[1]:
        return "region_outside", "不在您的管辖区域内", "outside your own region"
    return "region", "请填到乡镇、街道或村（社区）", "a town or village is needed"
