"""What stands where in an xlsx: its sheets, their strings, and which styles are dates."""

import re
from dataclasses import dataclass

from app.services.imports.lines import readable
from app.services.imports.xlsx_package import Package

MOST_STYLES = 70_000
MOST_SHEETS = 1_000
LONGEST_NAME = 31  # as Excel allows
DATE_FORMATS = frozenset({*range(14, 18), 22, *range(27, 37), *range(50, 59)})


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    path: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Book:
    """`strings` and `styles` are "" where there are none."""

    sheets: list[Sheet]
    strings: str
    styles: str
    date1904: bool


def book(package: Package) -> Book:
    root = _related(package, "").values()
    path = next((part for kind, part in root if kind == "officeDocument"), "xl/workbook.xml")
    parts = _related(package, path)
    sheets: list[Sheet] = []
    properties: dict[str, str] = {}

    def see(name: str, attributes: dict[str, str]) -> None:
        if name == "sheet" and len(sheets) < MOST_SHEETS:
            kind, part = parts.get(attributes.get("id", ""), ("", ""))
            if kind == "worksheet":  # no chart
                shown = attributes.get("state", "visible") == "visible"
                sheets.append(Sheet(readable(attributes.get("name", ""))[:LONGEST_NAME], part, shown))
        elif name == "workbookPr":
            properties.update(attributes)

    package.elements(path, see)
    kinds = dict(parts.values())
    date1904 = properties.get("date1904") in {"1", "true"}
    return Book(sheets, kinds.get("sharedStrings", ""), kinds.get("styles", ""), date1904)


def _related(package: Package, path: str) -> dict[str, tuple[str, str]]:
    """What a part refers to: id → kind and path."""
    folder, _, file = path.rpartition("/")
    found: dict[str, tuple[str, str]] = {}

    def see(name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External" and len(found) < 10_000:
            target = attributes.get("Target", "")
            whole = target.lstrip("/") if target.startswith("/") else f"{folder}/{target}".lstrip("/")
            kind = attributes.get("Type", "").rpartition("/")[2]
            found[attributes.get("Id", "")] = kind, whole.replace("/./", "/").removeprefix("./").lower()

    package.elements(f"{folder}/_rels/{file}.rels".lstrip("/").lower(), see)
    return found


def date_styles(package: Package, path: str) -> list[bool]:
    """Of each cell style, whether its number format is a date."""
    formats: dict[str, bool] = {}
    styles: list[bool] = []
    within = ""

    def see(name: str, attributes: dict[str, str]) -> None:
        nonlocal within
        if name in {"cellXfs", "cellStyleXfs"}:
            within = name
        elif name == "numFmt" and len(formats) < MOST_STYLES:
            formats[attributes.get("numFmtId", "")] = is_date_format(attributes.get("formatCode", ""))
        elif name == "xf" and within == "cellXfs" and len(styles) < MOST_STYLES:
            number = attributes.get("numFmtId", "0")
            styles.append(formats.get(number, number.isdecimal() and int(number[:5]) in DATE_FORMATS))

    package.elements(path, see)
    return styles


def is_date_format(code: str) -> bool:
    """yyyy-m-d, yyyy"年"m"月", [$-804]d: what is quoted, escaped or in brackets says nothing."""
    return bool(re.search("[ydYD]", re.sub(r'"[^"]*"|\\.|_.|\[[^\]]*\]', "", code[:255])))
