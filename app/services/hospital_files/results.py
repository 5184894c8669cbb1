"""Results as a file, one line for each person and item: they become reports, and take the way of every report."""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid, Problem, place, to_problem
from app.models.catalogue import AppliesTo, ObservationDefinition, ValueType
from app.models.results import Interpretation, ReportStatus, RiskClass
from app.services import audit
from app.services.hospital_files import sheets_out
from app.services.hospital_files.attendance import appointment_of
from app.services.hospital_files.judging import (
    Column,
    File,
    Judgement,
    LineVerdict,
    Row,
    read,
    refused,
    too_many,
)
from app.services.results import catalogue, reports
from app.services.results.posted import PostedReport

WHO = {"妻子": AppliesTo.WIFE, "丈夫": AppliesTo.HUSBAND}
STATUS = {
    "初步": ReportStatus.PRELIMINARY, "最终": ReportStatus.FINAL, "更正": ReportStatus.CORRECTED,
    "作废": ReportStatus.ENTERED_IN_ERROR,
}  # fmt: skip
MEANS = {
    "正常": Interpretation.NORMAL, "偏低": Interpretation.LOW, "偏高": Interpretation.HIGH,
    "异常": Interpretation.ABNORMAL,
}  # fmt: skip
COLUMNS = (
    Column("number", "报告编号", needed=True, width=22),
    Column("version", "版本", width=6),
    Column("id", "预约编号", width=38),
    Column("code", "签到码"),
    Column("status", "报告状态", choices=tuple(STATUS)),
    Column("issued", "签发时间", needed=True, width=18),
    Column("who", "受检者", needed=True, choices=tuple(WHO), width=8),
    Column("item", "项目", needed=True, width=24),
    Column("value", "结果值", needed=True),
    Column("unit", "单位"),
    Column("low", "参考下限"),
    Column("high", "参考上限"),
    Column("means", "判断", choices=tuple(MEANS), width=8),
    Column("risk", "风险等级", choices=tuple(RiskClass), width=8),
    Column("conclusion", "结论", width=40),
)
#: What holds for a report as a whole stands on its first line, or on each alike.
OF_REPORT = ("version", "id", "code", "status", "issued", "risk", "conclusion")
MOST_LINES, MOST_REPORTS = 5_000, 300
COLUMN_OF = {
    "version": "version", "issued_at": "issued", "stated_risk": "risk", "conclusion": "conclusion", "code": "item",
    "value": "value", "unit": "unit", "range_low": "low", "range_high": "high", "interpretation": "means",
}  # fmt: skip
POINTER = re.compile(r"/(wife|husband)/(\d+)")


async def result_template(
    db: AsyncSession, hospital: Actor, *, service_id: uuid.UUID, clinic_id: uuid.UUID
) -> bytes:
    """With the items that the clinic may report to choose from."""
    items = await catalogue.of_clinic(db, hospital, service_id=service_id, clinic_id=clinic_id)
    names = list(dict.fromkeys(one.zh for item in items for one in item.observations))
    return await asyncio.to_thread(
        sheets_out.written, "结果登记表：每人每项一行", COLUMNS, [], room=2000, options={"item": names}
    )


async def take_results(
    db: AsyncSession, actor: Actor, hospital: Actor, *, data: bytes, name: str, commit: bool
) -> tuple[File, list[Judgement]]:
    """A verdict for each line; a report is taken whole or not at all. Without `commit` all of it is undone again."""
    file = await read(data, name, COLUMNS, most=MOST_LINES)
    by_report: dict[str, list[Row]] = {}
    for row in file.rows:
        by_report.setdefault(row["number"], []).append(row)
    if len(by_report) > MOST_REPORTS:
        raise too_many(f"{MOST_REPORTS} 份报告", f"{MOST_REPORTS} reports")
    judged: list[Judgement] = []
    async with db.begin_nested() as attempt:
        for rows in by_report.values():
            judged += await _report(db, actor, hospital, rows, file.sha256)
        if not commit:
            await attempt.rollback()
    await audit.record(db, actor, "upload" if commit else "check", "result_file", hospital.id)
    return file, sorted(judged, key=lambda one: one.line)


async def _report(
    db: AsyncSession, actor: Actor, hospital: Actor, rows: Sequence[Row], sha256: str
) -> list[Judgement]:
    lines = Lines()
    try:
        async with db.begin_nested():
            posted, lines = await _posted(db, hospital, rows)
            # The same lines make the same bytes, so that a file may be sent again.
            raw = json.dumps(posted, ensure_ascii=False, sort_keys=True).encode()
            answer = await reports.accept(
                db, actor, report=_shaped(posted), raw=raw, hospital=hospital,
                signature=f"file {sha256} lines {rows[0].number}-{rows[-1].number}",
            )  # fmt: skip
    except _OfLine as wrong:
        return _beside(rows, {wrong.row.number: refused(wrong.row, wrong.problem, wrong.key)})
    except (Problem, IntegrityError) as error:
        return _placed(rows, to_problem(error), lines)
    if isinstance(answer, Problem):
        return [refused(row, answer, "number") for row in rows]
    verdict = LineVerdict.KNOWN if answer.state == "replayed" else LineVerdict.READY
    return [Judgement(row.number, verdict, []) for row in rows]


class _OfLine(Exception):
    def __init__(self, row: Row, key: str, problem: Problem) -> None:
        self.row, self.key, self.problem = row, key, problem


def _wrong(row: Row, key: str, zh: str, en: str) -> _OfLine:
    return _OfLine(row, key, Invalid.at("", zh, en))


Lines = dict[tuple[str, int], Row]


async def _posted(db: AsyncSession, hospital: Actor, rows: Sequence[Row]) -> tuple[dict[str, Any], Lines]:
    """As a hospital would post it, and which line each observation is."""
    first, lines = rows[0], Lines()
    for row in rows[1:]:
        for key in OF_REPORT:
            if row[key] and row[key] != first[key]:
                raise _wrong(row, key, "同一报告各行须一致", "must agree within a report")
    try:
        appointment = await appointment_of(db, hospital, first)
    except Problem as problem:
        raise _OfLine(first, "id" if first["id"] else "code", problem) from problem
    known = await catalogue.reportable(db, appointment)
    posted: dict[str, Any] = {
        "external_id": first["number"], "version": _whole(first), "appointment_id": str(appointment.id),
        "status": _choice(first, "status", STATUS) or ReportStatus.FINAL, "issued_at": _moment(first),
        "stated_risk": first["risk"] or None, "conclusion": first["conclusion"] or None, "wife": [], "husband": [],
    }  # fmt: skip
    for row in rows:
        who = _choice(row, "who", WHO)
        if who is None:
            raise _wrong(row, "who", "应为妻子或丈夫", "not one of the choices")
        lines[who, len(posted[who])] = row
        posted[who].append(_observation(row, known))
    return posted, lines


def _choice(row: Row, key: str, choices: Mapping[str, Any]) -> Any:
    if row[key] and row[key] not in choices:
        raise _wrong(row, key, f"应为{'、'.join(choices)}之一", f"one of {', '.join(choices)}")
    return choices.get(row[key])


def _whole(row: Row) -> int:
    if not re.fullmatch("[0-9]{0,6}", row["version"]):
        raise _wrong(row, "version", "版本应为整数", "a whole number")
    return int(row["version"] or 1)


def _moment(row: Row) -> str:
    """2026-11-24 or 2026-11-24 11:30, of the clock in Shanghai; a day alone is its beginning."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::\d\d)?)?", row["issued"])
    if match is None:
        raise _wrong(row, "issued", "应写作 2026-11-24 11:30", "written 2026-11-24 11:30")
    return f"{match[1]}T{match[2] or '00:00'}:00+08:00"


def _observation(row: Row, known: Mapping[str, ObservationDefinition]) -> dict[str, Any]:
    """By the code or the Chinese name of the item, and of the value."""
    definition = known.get(row["item"]) or next(
        (one for one in known.values() if one.zh == row["item"]), None
    )
    if definition is None:
        raise _wrong(row, "item", "该服务没有此项目", "not an item of this service")
    made: dict[str, Any] = {"code": definition.code, "interpretation": _choice(row, "means", MEANS)}
    if definition.value_type is ValueType.CODE:
        codes = {one["zh"]: one["code"] for one in definition.codes}
        return made | {"value": codes.get(row["value"], row["value"])}
    return made | {
        "value": _number(row, "value"), "unit": row["unit"] or definition.unit,
        "range_low": _number(row, "low"), "range_high": _number(row, "high"),
    }  # fmt: skip


def _number(row: Row, key: str) -> float | None:
    if not row[key] and key != "value":
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", row[key]):
        raise _wrong(row, key, "应为数字", "a number")
    return float(row[key])


def _shaped(posted: Mapping[str, Any]) -> PostedReport:
    try:
        return PostedReport.model_validate(posted)
    except ValidationError as error:
        places = ["/" + "/".join(str(step) for step in one["loc"]) for one in error.errors()]
        wrong = [place(at, f"{_column(at).zh}格式不正确", "not of the expected form") for at in places]
        raise Invalid(errors=wrong) from error


def _column(pointer: str) -> Column:
    """Where the posted form says it, and where the sheet does."""
    key = COLUMN_OF.get(pointer.rpartition("/")[2], "number")
    return next(column for column in COLUMNS if column.key == key)


def _placed(rows: Sequence[Row], problem: Problem, lines: Lines) -> list[Judgement]:
    """What a problem says of an observation stands on its line, the rest on the first."""
    found: dict[int, Judgement] = {}
    for one in problem.errors or [{"pointer": "", "zh": problem.zh, "en": problem.en}]:
        match = POINTER.match(one["pointer"])
        row = lines.get((match[1], int(match[2])), rows[0]) if match else rows[0]
        reasons = found[row.number].reasons if row.number in found else []
        reason = (_column(one["pointer"]).key, one["zh"], one["en"])
        found[row.number] = Judgement(row.number, LineVerdict.REFUSED, [*reasons, reason])
    return _beside(rows, found)


def _beside(rows: Sequence[Row], found: Mapping[int, Judgement]) -> list[Judgement]:
    also = [("", "同一报告的其他行有误", "another line of this report is wrong")]
    return [found.get(row.number, Judgement(row.number, LineVerdict.REFUSED, list(also))) for row in rows]
