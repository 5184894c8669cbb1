"""What every kind of spreadsheet becomes: lines of text, within bounds."""

import re
from dataclasses import dataclass
from typing import Self

from app.errors import Invalid, place

MOST_LINES = 1_000_010  # a million rows, and the headings with what stands above them
MOST_COLUMNS = 100
LONGEST_CELL = 2_000  # cut there; each column has its own, shorter bound
LONGEST_IN_EXCEL = 32_767

# Stands for a formula of which the file does not hold the result.
NO_RESULT = "#FORMULA!"


class FileRefused(Invalid):
    """The file as a whole cannot be taken in; `errors` says why and what to do."""

    zh, en = "无法读取该文件", "This file cannot be read"
    do_zh, do_en = "请按说明处理后重新上传", "Follow the advice, then upload again"

    @classmethod
    def because(cls, zh: str, en: str) -> Self:
        return cls(errors=[place("", zh, en)])

    @property
    def why(self) -> tuple[str, str]:
        first = (self.errors or [{}])[0]
        return first.get("zh", self.zh), first.get("en", self.en)


def too_many() -> FileRefused:
    return FileRefused.because(
        "行数超过 100 万，请拆分成几个文件分别上传", "more than 1,000,000 rows: split the file"
    )


@dataclass(frozen=True, slots=True)
class About:
    """What holds for the whole file. `date1904`: its plain numbers count the days from 1904. `remarks` (zh, en) are
    about what was not read."""

    date1904: bool = False
    remarks: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Line:
    """A line of the sheet, numbered as Excel shows it. Dates of an xlsx come as 2001-05-01; an error value comes as
    Excel shows it (#N/A), a formula without its result as #FORMULA!. `warnings` are keys of NOTICED. The first line
    carries what is `about` the file."""

    number: int
    cells: list[str]
    warnings: tuple[str, ...] = ()
    about: About | None = None


NOTICED = {
    "formula": (
        "本行有公式，已采用表中保存的计算结果，请核对",
        "this line has formulas: the results kept in the file were taken",
    ),
    "beyond": ("第 100 列以后的内容未读取", "what stands beyond column 100 was not read"),
}

# What no name and no address holds: control characters, halves of surrogate pairs, non-characters.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_BREAKS = re.compile("[\t\n\r]+")


def readable(text: str) -> str:
    """Breaks within a cell become blanks; what cannot be read becomes U+FFFD, which the row then names."""
    if not text.isprintable():
        text = _UNREADABLE.sub("\ufffd", _BREAKS.sub(" ", text))
    return text[:LONGEST_CELL]
