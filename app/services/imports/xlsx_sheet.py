"""One sheet of an xlsx: events of the XML parser become lines. The hot path of every import."""

from datetime import date, timedelta
from string import ascii_uppercase
from xml.parsers import expat

from app.services.imports.lines import MOST_COLUMNS, NO_RESULT, Line
from app.services.imports.xlsx_strings import MOST_IN_ONE_READ, Strings, text_of

COLUMNS = {
    letters: position
    for position, letters in enumerate(
        [*ascii_uppercase, *(a + b for a in ascii_uppercase for b in ascii_uppercase)][:MOST_COLUMNS]
    )
}
DIGITS = "0123456789"
DEEPEST = 30
LAST_SERIAL = 2_958_465  # 9999-12-31
DAYS_OF_1904 = 1462
DIGITS_KEPT = 15


class SheetParser:
    """Lines are taken after each block of XML, so that no more than a block of them is ever held."""

    __slots__ = (
        "_before", "_cells", "_dates", "_depth", "_formula", "_kind", "_lines", "_number", "_offset", "_parts",
        "_phonetic", "_position", "_prefix", "_strings", "_style", "_value", "_warnings",
    )  # fmt: skip

    def __init__(self, strings: Strings, dates: list[bool], *, date1904: bool) -> None:
        self._strings, self._dates = strings, dates
        self._offset = DAYS_OF_1904 if date1904 else 0
        self._lines: list[Line] = []
        self._parts: list[str] = []  # of the text being read
        self._value: list[str] = []  # of the cell
        self._cells: list[str] = []
        self._warnings: tuple[str, ...] = ()
        self._number = self._before = self._depth = self._phonetic = 0
        self._position = -1
        self._kind = self._style = ""
        self._formula = False
        self._prefix: int | None = None

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._parts.append

    def take(self) -> list[Line]:
        lines, self._lines = self._lines, []
        return lines

    def check(self) -> None:
        """Between blocks: nothing waits that is longer than Excel allows."""
        if sum(map(len, self._parts)) + sum(map(len, self._value)) > MOST_IN_ONE_READ:
            raise ValueError("too long")

    def _start(self, name: str, attributes: list[str]) -> None:
        if self._prefix is None:
            self._prefix = name.find(":") + 1
        if self._prefix:
            name = name[self._prefix :]
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("too deep")
        if name in {"v", "t"}:
            self._parts.clear()
        elif name == "c":
            self._start_cell(attributes)
        elif name == "row":
            self._start_row(attributes)
        elif name == "f":
            self._formula = True
        elif name == "rPh":
            self._phonetic += 1

    def _end(self, name: str) -> None:
        if self._prefix:
            name = name[self._prefix :]
        self._depth -= 1
        if name in {"v", "t"}:
            if not self._phonetic:
                self._value += self._parts
        elif name == "c":
            if self._value or self._formula:
                self._put(self._text())
        elif name == "row":
            if self._cells:
                self._lines.append(Line(self._number, self._cells, self._warnings))
        elif name == "rPh":
            self._phonetic -= 1
        self._parts.clear()  # blanks between elements are no text

    def _start_row(self, attributes: list[str]) -> None:
        self._number = self._before + 1
        for place in range(0, len(attributes), 2):
            if attributes[place] == "r":
                self._number = int(attributes[place + 1][:10])
        if self._number <= self._before:
            raise ValueError("lines out of order")
        self._before = self._number
        self._cells, self._warnings, self._position = [], (), -1

    def _start_cell(self, attributes: list[str]) -> None:
        self._position += 1
        self._kind = self._style = ""
        self._formula = False
        self._value.clear()
        for place in range(0, len(attributes), 2):
            key = attributes[place]
            if key == "r":
                self._position = COLUMNS.get(attributes[place + 1].rstrip(DIGITS), MOST_COLUMNS)
            elif key == "t":
                self._kind = attributes[place + 1]
            elif key == "s":
                self._style = attributes[place + 1]

    def _put(self, text: str) -> None:
        if self._formula and "formula" not in self._warnings:
            self._warnings += ("formula",)
        if self._position >= MOST_COLUMNS:
            if text and "beyond" not in self._warnings:
                self._warnings += ("beyond",)
            return
        cells = self._cells
        missing = self._position - len(cells)
        if missing == 0:
            cells.append(text)
        elif missing > 0:
            if text:
                cells.extend([""] * missing)
                cells.append(text)
        else:
            cells[self._position] = text

    def _text(self) -> str:
        kind = self._kind
        if kind == "s":
            return self._strings[int("".join(self._value))]
        text = text_of(self._value) if self._value else ""
        if not text:
            return NO_RESULT if self._formula and kind != "str" else ""
        if not kind or kind == "n":
            return self._numeric(text)
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        return text[:10] if kind == "d" else text

    def _numeric(self, text: str) -> str:
        """A date as 2001-05-01, a number without an exponent as far as its digits are known: Excel keeps fifteen, and
        has rounded what is longer."""
        if self._style and self._dates and self._is_date():
            return as_date(text, self._offset)
        if text.isdecimal():
            return text if len(text) <= DIGITS_KEPT else f"{text[0]}.{text[1:6]}E+{len(text) - 1}"
        try:
            value = float(text)
        except ValueError:
            return text
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else text

    def _is_date(self) -> bool:
        style = int(self._style)
        return 0 <= style < len(self._dates) and self._dates[style]


def as_date(serial: str, offset: int = 0) -> str:
    """Excel counts days from 1899-12-31 and believes in a 29 February 1900."""
    try:
        days = int(float(serial)) + offset
    except (ValueError, OverflowError):
        return serial
    if not 1 <= days <= LAST_SERIAL:
        return serial
    return str(date(1899, 12, 30) + timedelta(days=days + (days < 60)))
