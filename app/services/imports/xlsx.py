"""Reading xlsx as a stream. A library would hold the whole sheet (300 MB at 200,000 rows); here memory does not grow
with the file, and nothing that the file says about its own size is believed."""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast
from xml.parsers import expat

from app.services.imports.lines import FileRefused, Line
from app.services.imports.xlsx_sheet import SheetParser
from app.services.imports.xlsx_strings import Strings, StringsParser

BLOCK = 1 << 16
LONGEST_DIRECTORY = 1 << 20
MOST_INFLATED = 2 << 30
# Deflate reaches 1032:1 on purpose; lists of people reach 30:1.
HIGHEST_RATIO, RATIO_COUNTS_FROM = 200, 16 << 20
DEEPEST = 100
LONGEST_TOKEN = 1 << 20
MOST_STYLES = 70_000
MOST_SHEETS = 1_000
MACROS = ("vbaproject.bin", "macrosheets/")
DATE_FORMATS = frozenset({*range(14, 18), 22, *range(27, 37), *range(50, 59)})
# Our own workbooks have these beside the sheet to be filled in.
OUR_OTHER_SHEETS = frozenset({"填写说明", "选项", "全部"})


def damaged() -> FileRefused:
    return FileRefused.because(
        "文件已损坏或不是 Excel 文件，请用 Excel 或 WPS 打开后重新另存为 xlsx",
        "damaged, or no Excel file: open it and save it again as xlsx",
    )


def too_large() -> FileRefused:
    return FileRefused.because(
        "文件解压后过大，请只保留名册内容，或拆分成几个文件",
        "too large when inflated: keep the list only, or split it",
    )


def read_xlsx(file: BinaryIO, name: str) -> Iterator[Line]:
    """The lines of the first sheet that is not hidden."""
    with _Package(file) as package:
        package.refuse_macros(name)
        book = _workbook(package)
        with Strings() as strings:
            if book.strings in package.names:
                package.parse(book.strings, StringsParser(strings))
                strings.seal()
            parser = SheetParser(strings, _date_styles(package, book.styles), date1904=book.date1904)
            warnings = book.warnings
            for _ in package.steps(book.sheet, parser):
                for line in parser.take():
                    yield Line(line.number, line.cells, line.warnings + warnings) if warnings else line
                    warnings = ()


class _Guarded:
    """A file of which a reader may ask no more at once than a directory of honest size has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, LONGEST_DIRECTORY + 1) if size >= 0 else LONGEST_DIRECTORY + 1)
        if len(data) > LONGEST_DIRECTORY:
            raise too_large()
        return data


@contextmanager
def _as_refusal() -> Iterator[None]:
    """Whatever a damaged file breaks in the reading."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, OSError, RuntimeError, NotImplementedError,
            ValueError, IndexError, OverflowError) as error:  # fmt: skip
        raise damaged() from error


class _Package:
    """The zip: its members, inflated and parsed with an eye on how much comes out."""

    def __init__(self, file: BinaryIO) -> None:
        self._inflated = 0
        self._size = file.seek(0, 2)
        with _as_refusal():
            self._zip = zipfile.ZipFile(cast(IO[bytes], _Guarded(file)))
        self._members = {info.filename.lstrip("/").lower(): info for info in self._zip.infolist()}
        self.names = frozenset(self._members)

    def __enter__(self) -> "_Package":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def refuse_macros(self, name: str) -> None:
        macros = any(part in member for member in self.names for part in MACROS)
        if macros or name.lower().endswith((".xlsm", ".xltm", ".xlam")):
            raise FileRefused.because(
                "文件含有宏，不能导入，请另存为不含宏的 xlsx",
                "the file has macros: save it as xlsx without them",
            )
        if "xl/workbook.bin" in self.names:
            raise FileRefused.because("不支持 xlsb 文件，请另存为 xlsx", "xlsb is not read: save as xlsx")

    def blocks(self, member: str) -> Iterator[bytes]:
        info = self._members.get(member)
        if info is None or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise damaged()
        with self._zip.open(info) as stream:
            while block := stream.read(BLOCK):
                self._inflated += len(block)
                if self._inflated > MOST_INFLATED or self._inflated > max(
                    RATIO_COUNTS_FROM, HIGHEST_RATIO * self._size
                ):
                    raise too_large()
                yield block

    def steps(self, member: str, handler: "Any") -> Iterator[None]:
        """Parse a member block by block, with a pause after each in which the handler's harvest is taken."""
        parser = _parser(handler)
        fed = 0
        with _as_refusal():
            for block in self.blocks(member):
                parser.Parse(block, False)
                fed += len(block)
                if fed - parser.CurrentByteIndex > LONGEST_TOKEN:
                    raise too_large()
                handler.check()
                yield
            parser.Parse(b"", True)
            yield

    def parse(self, member: str, handler: "Any") -> None:
        for _ in self.steps(member, handler):
            pass

    def elements(self, member: str, see: Callable[[str, dict[str, str]], None]) -> None:
        if member in self.names:
            self.parse(member, _Elements(see))


def _parser(handler: "Any") -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = BLOCK
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    handler.attach(parser)
    return parser


def _refuse_doctype(*_: object) -> None:
    """No workbook has one; with it come entities that grow without bound or read other files."""
    raise damaged()


class _Elements:
    """Small members: each element with its attributes, without prefixes."""

    def __init__(self, see: Callable[[str, dict[str, str]], None]) -> None:
        self._see = see
        self._depth = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def _start(self, name: str, attributes: list[str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise damaged()
        keys = (key.rpartition(":")[2] for key in attributes[::2])
        self._see(name.rpartition(":")[2], dict(zip(keys, attributes[1::2], strict=True)))

    def _end(self, _: str) -> None:
        self._depth -= 1

    def check(self) -> None:
        pass


@dataclass(slots=True)
class _Book:
    """Where the parts are. `sheet`: the first that is not hidden."""

    sheet: str
    strings: str = ""
    styles: str = ""
    date1904: bool = False
    warnings: tuple[str, ...] = ()


def _workbook(package: _Package) -> _Book:
    root = _related(package, "").values()
    path = next((part for kind, part in root if kind == "officeDocument"), "xl/workbook.xml")
    sheets, properties = _listed(package, path)
    parts = _related(package, path)
    shown = [sheet for sheet in sheets if sheet.get("state", "visible") == "visible"]
    shown = [sheet for sheet in shown if parts.get(sheet.get("id", ""), ("", ""))[0] == "worksheet"]
    if not shown:
        raise FileRefused.because(
            "文件中没有可读取的工作表，请确认是 Excel 名册且工作表未隐藏",
            "no sheet to read: is it a list, and not hidden?",
        )
    kinds = dict(parts.values())
    return _Book(
        parts[shown[0].get("id", "")][1],
        kinds.get("sharedStrings", ""),
        kinds.get("styles", ""),
        properties.get("date1904") in {"1", "true"},
        _unread(sheets, shown),
    )


def _listed(package: _Package, path: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The sheets and the properties of the workbook."""
    sheets: list[dict[str, str]] = []
    properties: dict[str, str] = {}

    def see(name: str, attributes: dict[str, str]) -> None:
        if name == "sheet" and len(sheets) < MOST_SHEETS:
            sheets.append(attributes)
        elif name == "workbookPr":
            properties.update(attributes)

    package.elements(path, see)
    return sheets, properties


def _unread(sheets: list[dict[str, str]], shown: list[dict[str, str]]) -> tuple[str, ...]:
    """What to warn of: who forgets that a second sheet was there would miss its people."""
    unread = [
        sheet for sheet in sheets if sheet is not shown[0] and sheet.get("name") not in OUR_OTHER_SHEETS
    ]
    others, hidden = (any((sheet in shown) is visible for sheet in unread) for visible in (True, False))
    return ("other_sheets",) * others + ("hidden_sheets",) * hidden


def _related(package: _Package, path: str) -> dict[str, tuple[str, str]]:
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


def _date_styles(package: _Package, path: str) -> list[bool]:
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
