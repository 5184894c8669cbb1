"""Reading csv: UTF-8, GB18030 (which holds GBK and GB2312) or UTF-16; comma, tab or semicolon."""

import codecs
import csv
from collections.abc import Iterator
from typing import BinaryIO

from app.services.imports.columns import HEADINGS_WITHIN, is_heading
from app.services.imports.lines import LONGEST_CELL, MOST_COLUMNS, FileRefused, Line, readable

BLOCK = 1 << 18
# Of the longest record, quotes and all. A missing quote swallows what follows until here.
LONGEST_RECORD = 100_000
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_csv(file: BinaryIO, *, longest: int = LONGEST_RECORD) -> Iterator[Line]:
    encoding = encoding_of(file)
    file.seek(0)
    start = codecs.getincrementaldecoder(encoding)().decode(file.read(BLOCK))
    physical = _Physical(_blocks(file, encoding), longest)
    rows = csv.reader(physical, delimiter=_delimiter(start), doublequote=True)
    number = 0
    try:
        for row in rows:
            number += 1
            physical.begin()
            if any(row):
                yield _line(number, row)
    except csv.Error as error:
        raise _quotes(number + 1) from error


def _line(number: int, row: list[str]) -> Line:
    if len(row) > MOST_COLUMNS:
        beyond = any(row[MOST_COLUMNS:])
        return Line(number, [readable(cell) for cell in row[:MOST_COLUMNS]], ("beyond",) * beyond)
    together = "".join(row)
    if len(together) <= LONGEST_CELL and together.isprintable() and "=" not in together:
        return Line(number, row)  # almost always
    return Line(number, [readable(_unwrapped(cell) if cell[:1] == "=" else cell) for cell in row])


def _unwrapped(cell: str) -> str:
    """="640104…" is how systems keep Excel from rounding a number."""
    return cell[2:-1] if cell.startswith('="') and cell.endswith('"') else cell


def _quotes(number: int) -> FileRefused:
    return FileRefused.because(
        f"第 {number} 行附近的引号不成对，或单元格过长，请检查后重新上传",
        f"near line {number} a quotation mark is missing, or a cell is too long",
    )


class _Physical:
    """The lines of the text, and how much the present record has taken of them."""

    def __init__(self, blocks: Iterator[str], longest: int) -> None:
        self._lines = self._split(blocks)
        self._longest = longest
        self._taken = self._records = 0

    def begin(self) -> None:
        self._taken = 0
        self._records += 1

    def __iter__(self) -> "_Physical":
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            if self._taken:  # the file ends within quotes
                raise _quotes(self._records + 1)
            raise StopIteration
        self._taken += len(line)
        if self._taken > self._longest:
            raise _quotes(self._records + 1)
        return line

    def _split(self, blocks: Iterator[str]) -> Iterator[str]:
        rest = ""
        for block in blocks:
            *whole, rest = (rest + block).split("\n")
            for line in whole:
                yield line + "\n"
            if len(rest) > self._longest:
                raise _quotes(self._records + 1)
        if rest:
            yield rest


def _blocks(file: BinaryIO, encoding: str) -> Iterator[str]:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    held = ""  # a \r at the end of a block may be half of \r\n
    while data := file.read(BLOCK):
        text = held + decoder.decode(data)
        held = "\r" if text.endswith("\r") else ""
        yield text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
    yield held.replace("\r", "\n") + decoder.decode(b"", True)


def encoding_of(file: BinaryIO) -> str:
    """From the first bytes, else the first that fits the whole file."""
    file.seek(0)
    head = file.read(4096)
    named = next((encoding for bom, encoding in BOMS if head.startswith(bom)), None)
    for encoding in [named] if named else ["utf-8", "gb18030"]:
        if not (named is None and b"\0" in head) and _fits(file, encoding):
            return encoding
    raise FileRefused.because(
        "文字编码无法识别或文件已损坏，请用 Excel 或 WPS 另存为 xlsx，或保存为 UTF-8 编码的 CSV",
        "the encoding is unknown or the file is damaged: save as xlsx, or as csv in UTF-8",
    )


def _fits(file: BinaryIO, encoding: str) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while data := file.read(BLOCK):
            decoder.decode(data)
        decoder.decode(b"", True)
    except UnicodeError:
        return False
    return True


def _delimiter(start: str) -> str:
    """The one that makes most headings known, within the first lines."""
    lines = start.splitlines()[:HEADINGS_WITHIN]

    def headings(delimiter: str) -> int:
        return max(
            (sum(map(is_heading, line.replace('"', "").split(delimiter))) for line in lines), default=0
        )

    return max(",\t;", key=headings)
