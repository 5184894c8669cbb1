"""What the files of hospitals have in common: reading them, a verdict for each line, the copy that shows it."""

import asyncio
import hashlib
import io
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import NotFound, Problem
from app.models.identity import Role
from app.models.partners import Organization
from app.services.imports import annotated, sheets
from app.services.imports.annotated import Judged
from app.services.imports.columns import HEADINGS_WITHIN, Layout
from app.services.imports.lines import FileRefused, Line

MOST_CHARACTERS = 5_000_000


class LineVerdict(StrEnum):
    """Known: it was so already. Skipped: nothing is filled in."""

    READY = "ready"
    KNOWN = "known"
    SKIPPED = "skipped"
    REFUSED = "refused"


ZH = {
    LineVerdict.READY: "已接受", LineVerdict.KNOWN: "已登记", LineVerdict.SKIPPED: "未填写",
    LineVerdict.REFUSED: "需修改",
}  # fmt: skip
Reason = tuple[str, str, str]  # the key of the column, or ""; zh, en


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    zh: str
    needed: bool = False
    choices: tuple[str, ...] = ()
    width: int = 14


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    given: list[str]
    values: dict[str, str]

    def __getitem__(self, key: str) -> str:
        return self.values.get(key, "")


@dataclass(frozen=True, slots=True)
class File:
    layout: Layout
    rows: list[Row]
    sha256: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one line, as Excel numbers it."""

    line: int
    verdict: LineVerdict
    reasons: list[Reason]


async def hospital_of(db: AsyncSession, actor: Actor, organization_id: uuid.UUID | None) -> Actor:
    """Whose file it is: the hospital's that calls, or of the worker's region. What the file may touch is what that
    hospital sees; every step is recorded as the actor's own."""
    if actor.role is Role.PARTNER and organization_id in (None, actor.id):
        return actor
    if organization_id is None:
        raise NotFound
    row = await fetch(db, actor, Organization, organization_id)
    return Actor(Role.PARTNER, id=row.id, region_code=row.region_code)


async def read(data: bytes, name: str, columns: Sequence[Column], *, most: int) -> File:
    """An xlsx or csv with these headings and no more lines than that, or FileRefused."""
    return await asyncio.to_thread(_read, data, name, columns, most)


def _read(data: bytes, name: str, columns: Sequence[Column], most: int) -> File:
    lines = _bounded(sheets.read(io.BytesIO(data), name), most)
    keys = {_folded(column.zh): column.key for column in columns}
    for line in islice(lines, HEADINGS_WITHIN):
        named = [_folded(cell) for cell in line.cells]
        places = {keys[heading]: place for place, heading in enumerate(named) if heading in keys}
        if all(column.key in places for column in columns if column.needed):
            _refuse_twice([heading for heading in named if heading in keys])
            layout = Layout(line.cells, places, line.number)
            rows = [_row(one.number, one.cells, places) for one in lines]
            return File(layout, rows, hashlib.sha256(data).hexdigest())
    needed = "、".join(column.zh for column in columns if column.needed)
    raise FileRefused.because(
        f"没有找到表头：{needed}；请使用下载的模板", f"headings not found: {needed}; use the template"
    )


def _folded(heading: str) -> str:
    """As people type it and as Excel breaks it: 金额 (元) is 金额（元）."""
    return "".join(unicodedata.normalize("NFKC", heading).split())


def _bounded(lines: Iterator[Line], most: int) -> Iterator[Line]:
    """A small file can unfold to gigabytes; and while one is taken in, everybody's list of changes waits."""
    characters = 0
    for count, line in enumerate(lines, 1):
        characters += sum(map(len, line.cells))
        if count > most + HEADINGS_WITHIN or characters > MOST_CHARACTERS:
            raise too_many(f"{most} 行", f"{most} lines")
        yield line


def too_many(zh: str, en: str) -> FileRefused:
    return FileRefused.because(
        f"超过 {zh}或内容过多，请拆分成几个文件分别上传",
        f"more than {en}, or too much in them: split the file",
    )


def _refuse_twice(headings: Sequence[str]) -> None:
    twice = sorted({heading for heading in headings if headings.count(heading) > 1})
    if twice:
        raise FileRefused.because(f"表头重复：{'、'.join(twice)}", f"headings twice: {', '.join(twice)}")


def _row(number: int, cells: list[str], places: dict[str, int]) -> Row:
    values = {key: cells[place].strip() for key, place in places.items() if place < len(cells)}
    return Row(number, cells, values)


def refused(row: Row, problem: Problem, key: str = "") -> Judgement:
    """In the words of the problem, with every place that it names."""
    wrong = problem.errors or []
    reasons = [(key, one["zh"], one["en"]) for one in wrong]
    return Judgement(row.number, LineVerdict.REFUSED, reasons or [(key, problem.zh, problem.en)])


async def annotated_copy(file: File, judged: Sequence[Judgement]) -> bytes:
    """The file as it came, with the verdict on each line; what is to be corrected stands first."""
    verdicts = {one.line: one for one in judged}
    moment = clock.now().astimezone(clock.SHANGHAI)
    lines = [
        Judged(
            row.number, row.given, ZH[verdicts[row.number].verdict],
            [(key, zh) for key, zh, _ in verdicts[row.number].reasons],
            to_correct=verdicts[row.number].verdict is LineVerdict.REFUSED,
        )
        for row in file.rows
    ]  # fmt: skip

    def write() -> bytes:
        out = io.BytesIO()
        annotated.write(out, file.layout, lines, watermark=f"{moment:%Y-%m-%d %H:%M} 检查结果，请妥善保管")
        return out.getvalue()

    return await asyncio.to_thread(write)
