"""Reading xlsx as a stream. A library would hold the whole sheet (300 MB at 200,000 rows); here memory does not grow
with the file. Which of its sheets is the list is known by the headings."""

from collections.abc import Generator, Iterator
from functools import cached_property
from itertools import islice
from typing import BinaryIO

from app.services.imports.columns import HEADINGS_WITHIN, known_keys, lacking
from app.services.imports.lines import About, FileRefused, Line
from app.services.imports.xlsx_book import Book, Sheet, book, date_styles
from app.services.imports.xlsx_package import Package
from app.services.imports.xlsx_sheet import SheetParser
from app.services.imports.xlsx_strings import Strings, StringsParser

# Beside the list in workbooks of ours. Of the first two the second repeats what the first has to be corrected of.
TO_CORRECT, EVERY_LINE = "需修改", "全部"
EXPLAINED, OPTIONS = "填写说明", "选项"
A_LIST, WITH_ROWS = 100, 101


def read_xlsx(file: BinaryIO, name: str) -> Iterator[Line]:
    """The lines of the sheet that is the list: of those not hidden the one with all the headings needed, or else the
    one that comes nearest. FileRefused where several are lists."""
    with Package(file) as package:
        package.refuse_macros(name)
        parts = book(package)
        with Strings() as strings:
            if parts.strings in package.names:
                package.parse(parts.strings, StringsParser(strings))
                strings.seal()
            dates = date_styles(package, parts.styles)

            def lines(sheet: Sheet) -> Generator[Line, None, None]:
                parser = SheetParser(strings, dates, date1904=parts.date1904)
                for _ in package.steps(sheet.path, parser):
                    yield from parser.take()

            table, remarks = _list_of(parts, [_Table(sheet.name, lines(sheet)) for sheet in _shown(parts)])
            about: About | None = About(parts.date1904, remarks)
            for line in table.all():
                line.about, about = about, None
                yield line


def _shown(parts: Book) -> list[Sheet]:
    shown = [sheet for sheet in parts.sheets if sheet.shown]
    if not shown:
        raise FileRefused.because(
            "文件中没有可读取的工作表，请确认是 Excel 名册且工作表未隐藏",
            "no sheet to read: is it a list, and not hidden?",
        )
    if any(sheet.name == TO_CORRECT for sheet in shown):
        return [sheet for sheet in shown if sheet.name != EVERY_LINE]
    return shown


class _Table:
    """A sheet, read as far as is needed to tell what it is."""

    def __init__(self, name: str, lines: Generator[Line, None, None]) -> None:
        self.name, self._lines = name, lines
        self._seen: list[Line] = []

    @cached_property
    def worth(self) -> int:
        """0: nothing stands there; WITH_ROWS and A_LIST: all the headings needed, with rows below or without; between:
        the more headings the more."""
        worth = 0
        for line in islice(self._lines, HEADINGS_WITHIN):
            self._seen.append(line)
            keys = known_keys(line.cells)
            if keys and not lacking(keys):
                return WITH_ROWS if self._has_rows() else A_LIST
            worth = max(worth, 1 + len(keys))
        return worth

    def _has_rows(self) -> bool:
        for line in self._lines:
            if any(cell.strip() for cell in line.cells):
                self._seen.append(line)
                return True
        return False

    def all(self) -> Iterator[Line]:
        yield from self._seen
        yield from self._lines

    def close(self) -> None:
        self._lines.close()


def _list_of(parts: Book, tables: list[_Table]) -> tuple[_Table, tuple[tuple[str, str], ...]]:
    """The list, and what is to be said of the sheets that are not read: who forgets them would miss their people."""
    taken, unread = tables[0], list[str]()
    for table in tables[1:]:
        if taken.worth == table.worth == WITH_ROWS:
            raise _two_lists(taken.name, table.name)
        taken, other = (table, taken) if table.worth > taken.worth else (taken, table)
        other.close()
        if other.worth not in {0, A_LIST} and other.name not in {EXPLAINED, OPTIONS}:
            unread.append(other.name)
    hidden = [sheet.name for sheet in parts.sheets if not sheet.shown]
    return taken, (*_unread(taken.name, unread), *_hidden(hidden))


def _two_lists(*names: str) -> FileRefused:
    return FileRefused.because(
        f"{_quoted(names)}两个工作表都有名册，请合并到一个工作表，或分别保存后上传",
        f"several sheets are lists ({', '.join(names)}): join them, or save and upload each",
    )


def _quoted(names: "list[str] | tuple[str, ...]") -> str:
    return "".join(f"“{name}”" for name in names[:10]) + "等" * (len(names) > 10)


def _unread(taken: str, names: list[str]) -> Iterator[tuple[str, str]]:
    if names:
        yield (
            f"已读取工作表“{taken}”；{_quoted(names)}未读取，如有名册请分别保存后上传",
            f"read: {taken}; not read: {', '.join(names[:10])}: upload apart what lists they hold",
        )


def _hidden(names: list[str]) -> Iterator[tuple[str, str]]:
    if names:
        yield (
            f"隐藏的工作表{_quoted(names)}未读取；如需导入，请取消隐藏并单独保存",
            f"hidden sheets were not read ({', '.join(names[:10])}): unhide and save them apart if wanted",
        )
