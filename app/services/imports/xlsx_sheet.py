"""One sheet of an xlsx: events of the XML parser become lines. The hot path of every import."""

from datetime import date, timedelta
from string import ascii_uppercase

from app.services.imports.lines import MOST_COLUMNS, NO_RESULT, Line
from app.services.imports.xlsx_strings import BLOCK, SHIFT, Strings
from app.services.imports.xlsx_xml import DEEPEST, Texts, text_of

COLUMNS = {
    letters: position
    for position, letters in enumerate(
        [*ascii_uppercase, *(a + b for a in ascii_uppercase for b in ascii_uppercase)][:MOST_COLUMNS]
    )
}
TEXT = frozenset({"v", "t"})
DIGITS = "0123456789"
LAST_SERIAL = 2_958_465  # 9999-12-31
DAYS_OF_1904 = 1462
DIGITS_KEPT = 15


class SheetParser(Texts):
    """Lines are taken after each block of XML, so that no more than a block of them is ever held."""

    __slots__ = (
        "_before", "_block", "_cells", "_dates", "_formula", "_kind", "_lines", "_number", "_offset", "_position",
        "_style", "_warnings",
    )  # fmt: skip

    def __init__(self, strings: Strings, dates: list[bool], *, date1904: bool) -> None:
        super().__init__()
        self._block, self._dates = strings.block, dates
        self._offset = DAYS_OF_1904 if date1904 else 0
        self._lines: list[Line] = []
        self._cells: list[str] = []
        self._warnings: tuple[str, ...] = ()
        self._number = self._before = 0
        self._position = -1
        self._kind: str | None = None
        self._style: str | None = None
        self._formula = False

    def take(self) -> list[Line]:
        lines, self._lines = self._lines, []
        return lines

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        self.depth += 1
        if name == "c":
            self._position += 1
            if place := attributes.get("r"):
                self._position = COLUMNS.get(place.rstrip(DIGITS), MOST_COLUMNS)
            self._kind, self._style = attributes.get("t"), attributes.get("s")
        elif name in TEXT:
            self.parts.clear()
        elif name == "row":
            self._start_row(attributes)
        elif name == "f":
            self._formula = True
        elif name == "rPh":
            self.phonetic += 1
        if self.depth > DEEPEST:
            raise ValueError("too deep")

    def end(self, name: str, /) -> None:
        self.depth -= 1
        if name in TEXT:
            if not self.phonetic:
                self.value += self.parts
        elif name == "c":
            if self.value or self._formula:
                self._end_cell()
        elif name == "row":
            if self._cells:
                self._lines.append(Line(self._number, self._cells, self._warnings))
        elif name == "rPh":
            self.phonetic -= 1

    def _end_cell(self) -> None:
        value, cells = self.value, self._cells
        if self._kind == "s":
            number = int(value[0] if len(value) == 1 else "".join(value))
            text = self._block(number >> SHIFT)[number % BLOCK]
        else:
            text = self._text()
        value.clear()
        if self._formula:
            self._formula = False
            self._warn("formula")
        if self._position == len(cells) < MOST_COLUMNS:
            cells.append(text)
        else:
            self._put(text)

    def _start_row(self, attributes: dict[str, str]) -> None:
        self._number = int(attributes["r"][:10]) if "r" in attributes else self._before + 1
        if self._number <= self._before:
            raise ValueError("lines out of order")
        self._before = self._number
        self._cells, self._warnings, self._position = [], (), -1
        self.parts.clear()  # blanks between elements
        self.value.clear()

    def _warn(self, key: str) -> None:
        if key not in self._warnings:
            self._warnings += (key,)

    def _put(self, text: str) -> None:
        """Not in the next place: cells were left out, or go back."""
        cells, missing = self._cells, self._position - len(self._cells)
        if self._position >= MOST_COLUMNS:
            if text:
                self._warn("beyond")
        elif missing < 0:
            cells[self._position] = text
        elif text:
            cells.extend([""] * missing)
            cells.append(text)

    def _text(self) -> str:
        kind, text = self._kind, text_of(self.value) if self.value else ""
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
        style = int(self._style or 0)
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
