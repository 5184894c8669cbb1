"""Tables of divisions as offices send them: comma, semicolon or tab, UTF-8 or GB18030, headings in any order."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import Invalid, Place, place

MOST_ROWS = 100_000
MOST_PLACES = 100
LONGEST_NAME = 50
CODE = re.compile("[0-9]{12}")
# How many digits of a code say something, by level: province, prefecture, county, town, village.
DIGITS = (2, 4, 6, 9, 12)

#: A column by the headings that it has been seen under.
Columns = Mapping[str, tuple[str, ...]]


class RegionFileRefused(Invalid):
    zh, en = "区划文件有误，未作任何更改", "The file of divisions is not in order; nothing was changed"
    do_zh, do_en = (
        "请按 errors 中标出的行修改后重新提交整个文件",
        "Correct the lines that errors names and send the whole file again",
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, its cells by our own names of the columns."""

    number: int
    cells: dict[str, str]


@dataclass
class Complaints:
    """Each wrong line and why; of many the first hundred are told."""

    places: list[Place] = field(default_factory=list)
    count: int = 0

    def at(self, line: int, zh: str, en: str) -> None:
        self.count += 1
        if len(self.places) < MOST_PLACES:
            self.places.append(place(f"#line/{line}", zh, en))

    def settle(self) -> None:
        """Refuse the file if there is anything wrong with it."""
        if self.count:
            raise RegionFileRefused(errors=self.places, wrong_lines=self.count)


def refused(zh: str, en: str, line: int = 1) -> RegionFileRefused:
    return RegionFileRefused(errors=[place(f"#line/{line}", zh, en)])


def text_of(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if any(ord(character) < 32 and character not in "\r\n\t" for character in text):
            break
        return text
    raise refused("不是 UTF-8 或 GB18030 编码的文本表格", "not a text table in UTF-8 or GB18030")


def read(data: bytes, columns: Columns, required: tuple[str, ...]) -> list[Line]:
    """The lines below the heading; empty ones are passed over, columns of other names too."""
    text = text_of(data)
    heading = text.partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    lines = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = _names(next(reader, []), columns, required)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append(_line(reader.line_num, cells, names))
            if len(lines) > MOST_ROWS:
                raise refused(f"最多 {MOST_ROWS} 行", f"at most {MOST_ROWS} lines", reader.line_num)
    except csv.Error as error:
        raise refused("引号或分隔符有误", "broken quotes or delimiters", reader.line_num) from error
    if not lines:
        raise refused("文件中没有数据行", "no lines below the heading")
    return lines


def _names(heading: list[str], columns: Columns, required: tuple[str, ...]) -> list[str | None]:
    known = {variant: name for name, variants in columns.items() for variant in (name, *variants)}
    names = [known.get("".join(cell.split()).lower()) for cell in heading]
    for name in columns:
        if name in required and name not in names:
            shown = "、".join(columns[name][:2])
            raise refused(f"表头缺少一列：{shown}", f"the heading lacks a column: {name}")
        if names.count(name) > 1:
            raise refused(f"表头有重复的列：{name}", f"the heading has a column twice: {name}")
    return names


def _line(number: int, cells: list[str], names: list[str | None]) -> Line:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise refused("列数多于表头", "more cells than the heading has", number)
    found = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name}
    return Line(number, {name: found.get(name, "") for name in names if name})


def level_of(code: str) -> int:
    """1 province, 2 prefecture, 3 county, 4 town, 5 village, as the digits tell."""
    return next(level for level, length in enumerate(DIGITS, 1) if not code[length:].strip("0"))


def above(code: str) -> list[str]:
    """The codes of the divisions above, the nearest first, down to the province. What is all zeros at a level has
    none there: a town of 东莞 lies directly below the prefecture."""
    codes = [code[:length].ljust(12, "0") for length in reversed(DIGITS[: level_of(code) - 1])]
    return [one for index, one in enumerate(codes) if one != code and one not in codes[:index]]
