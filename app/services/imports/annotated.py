"""The list given back: on the first sheet what is to be corrected, and can be uploaded again as it is; on the second
every line with its verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import xlsxwriter

from app.services import files
from app.services.imports.columns import Layout
from app.services.imports.xlsx import EVERY_LINE, TO_CORRECT

ADDED = ("原行号", "结果", "原因")


@dataclass(frozen=True, slots=True)
class Judged:
    """A line with its verdict. `cells` are Row.given; `reasons` are (column key or "", Chinese text). `head_line`: of a
    household without a number, the line of its head."""

    number: int
    cells: list[str]
    verdict: str
    reasons: Sequence[tuple[str, str]] = ()
    to_correct: bool = False
    head_line: int | None = None


def write(out: BinaryIO, layout: Layout, lines: Iterable[Judged], *, watermark: str) -> None:
    """An xlsx, in flat memory. Every cell is written as text: a name that begins with = is no formula."""
    with files.folder() as folder:
        options = {"constant_memory": True, "strings_to_formulas": False, "tmpdir": folder}
        _write(xlsxwriter.Workbook(out, options), layout, lines, watermark)


def _write(book: xlsxwriter.Workbook, layout: Layout, lines: Iterable[Judged], watermark: str) -> None:
    text, marked = (
        book.add_format({"num_format": "@"}),
        book.add_format({"bg_color": "#FFEB9C", "num_format": "@"}),
    )
    bold = book.add_format({"bold": True, "num_format": "@"})
    kept = [place for place, heading in enumerate(layout.headings) if heading.strip() not in ADDED]
    headings = [layout.headings[place] for place in kept]
    correct, every = (
        _Sheet(book.add_worksheet(name), kept, layout, text, marked) for name in (TO_CORRECT, EVERY_LINE)
    )
    for sheet in (correct, every):
        sheet.begin(watermark, headings, bold)
    head: Judged | None = None
    for line in lines:
        every.write(line)
        if line.head_line == line.number:
            head = line
        if line.to_correct:
            # Alone a member would find no household; its head, known by then, shows where it belongs.
            if head is not None and head.number == line.head_line and not head.to_correct:
                correct.write(head)
                head = None
            correct.write(line)
    book.close()


@dataclass(slots=True)
class _Sheet:
    sheet: Any
    kept: list[int]
    layout: Layout
    text: Any
    marked: Any
    row: int = field(default=0)

    def begin(self, watermark: str, headings: list[str], bold: Any) -> None:
        self.sheet.set_column(0, len(self.kept) + 1, 16, self.text)
        self.sheet.set_column(len(self.kept) + 2, len(self.kept) + 2, 60, self.text)
        self.sheet.set_footer(f"&C{watermark.replace('&', '&&')[:200]}")
        self.sheet.freeze_panes(2, 0)
        self._put([watermark], frozenset(), bold)
        self._put([*headings, *ADDED], frozenset(), bold)

    def write(self, line: Judged) -> None:
        wrong = {self.layout.places[key] for key, _ in line.reasons if key in self.layout.places}
        cells = [line.cells[place] if place < len(line.cells) else "" for place in self.kept]
        marks = frozenset(place for place, original in enumerate(self.kept) if original in wrong)
        reasons = "；".join(text for _, text in line.reasons)
        self._put([*cells, str(line.number), line.verdict, reasons], marks, self.text)

    def _put(self, cells: Sequence[str], marks: frozenset[int], usual: Any) -> None:
        for place, cell in enumerate(cells):
            if cell:
                self.sheet.write_string(self.row, place, cell, self.marked if place in marks else usual)
            elif place in marks:
                self.sheet.write_blank(self.row, place, None, self.marked)
        self.row += 1
