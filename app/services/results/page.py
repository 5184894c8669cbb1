"""The joint sheet to print: Chinese with English beside, on A4."""

import uuid
from collections.abc import Iterator
from html import escape

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.crypto import mask_name
from app.models.catalogue import AppliesTo
from app.models.households import Person, Sex
from app.models.identity import Role
from app.models.results import DiagnosticReport, Interpretation, ReportStatus
from app.services.results.lines import ResultLine
from app.services.results.ranges import InterpretedBy
from app.services.results.reading import Sheet, sheet
from app.services.results.versions import RELEASED, TAKEN_BACK
from app.settings import settings

_STYLE = (
    "@page{size:A4;margin:15mm}body{font:14px/1.5 sans-serif;color:#222;max-width:180mm;margin:auto}"
    "h1{font-size:20px}h2{font-size:16px;margin:16px 0 4px}table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #888;padding:3px 6px;text-align:left}thead{display:table-header-group}"
    "tr{break-inside:avoid}.en{color:#555;font-size:12px}.w{border:2px solid #222;padding:8px}"
)
_ROLES = {AppliesTo.WIFE: ("妻子（女方）", "Wife"), AppliesTo.HUSBAND: ("丈夫（男方）", "Husband")}
_MEANS = {
    Interpretation.NORMAL: ("正常", "Normal"),
    Interpretation.LOW: ("偏低 ↓", "Low"),
    Interpretation.HIGH: ("偏高 ↑", "High"),
    Interpretation.ABNORMAL: ("异常", "Abnormal"),
}
_CHANGED = ("医院已更正或补充本报告，请以本版为准。", "Changed by the hospital: this version counts.")
_PENDING = ("报告尚未发布。", "The report is not released yet.")
_TAKEN_BACK = (
    "医院已撤回本报告，请向出具报告的医院咨询。",
    "The hospital has taken this report back; please ask the hospital.",
)
_UNASSESSED = (
    "本报告未作风险评估，请向出具报告的医院咨询。",
    "Nothing was assessed; please ask the hospital.",
)


async def page(db: AsyncSession, actor: Actor, *, report_id: uuid.UUID, purpose: str | None = None) -> str:
    """As the couple reads it; a worker's copy has masked names. Recorded as a reading of the sheet."""
    content = await sheet(db, actor, report_id=report_id, purpose=purpose)
    return "".join(_html(content, await _names(db, actor, report_id)))


async def _names(db: AsyncSession, actor: Actor, report_id: uuid.UUID) -> dict[AppliesTo, str]:
    query = (
        select(Person.sex, Person.name)
        .join(DiagnosticReport, Person.id.in_([DiagnosticReport.person_id, DiagnosticReport.spouse_id]))
        .where(DiagnosticReport.id == report_id)
    )
    return {
        AppliesTo.WIFE if sex is Sex.FEMALE else AppliesTo.HUSBAND: (
            name if actor.role is Role.RESIDENT else mask_name(name)
        )
        for sex, name in await db.execute(query)
    }


def _both(zh: str | None, en: str | None) -> str:
    return f'{escape(zh or "")} <span class="en" lang="en">{escape(en or "")}</span>'


def _html(one: Sheet, names: dict[AppliesTo, str]) -> Iterator[str]:
    title = f"{one.service_zh}结果告知书"
    yield f'<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f"<style>{_STYLE}</style></head><body><p>{escape(settings().association_name)}</p>"
    yield f"<h1>{_both(title, one.service_en + ', result sheet')}</h1><p>"
    yield "；".join(
        f"{_both(*_ROLES[role])}：{escape(name)}" for role, name in sorted(names.items(), reverse=True)
    )
    issued = clock.day_of(one.issued_at).isoformat()
    yield f"</p><p>{_both('报告日期', 'Issued')}：{issued}；{_both('版本', 'Version')}：{one.version}</p>"
    if one.status in RELEASED - {ReportStatus.FINAL}:
        yield f"<p>{_both(*_CHANGED)}</p>"
    words = (one.wording_zh, one.wording_en) if one.wording else _unsaid(one.status)
    yield f'<p class="w">{_both(*words)}</p>'
    yield from _risk(one)
    for role in (AppliesTo.WIFE, AppliesTo.HUSBAND):
        yield from _values(role, [line for line in one.observations if line.role is role])
    if one.conclusion:
        said = escape(one.conclusion).replace("\n", "<br>")
        yield f"<h2>{_both('医院结论', 'Conclusion of the hospital')}</h2><p>{said}</p>"
    yield "</body></html>"


def _unsaid(status: ReportStatus) -> tuple[str, str]:
    if status in TAKEN_BACK:
        return _TAKEN_BACK
    return _UNASSESSED if status in RELEASED else _PENDING


def _risk(one: Sheet) -> Iterator[str]:
    if one.risk is None:
        return
    yield f"<h2>{_both('评估', 'Assessment')}</h2><p>{_both(one.risk.zh, one.risk.en)}</p><ul>"
    for finding in one.risk.findings:
        yield f"<li>{_both(*_ROLES[finding.role])}：{_both(finding.zh, finding.en)}</li>"
    yield "</ul>"


def _values(role: AppliesTo, lines: list[ResultLine]) -> Iterator[str]:
    if not lines:
        return
    yield f"<h2>{_both(*_ROLES[role])}</h2><table><thead><tr>"
    for head in (("项目", "Item"), ("结果", "Result"), ("参考区间", "Range"), ("提示", "Meaning")):
        yield f'<th scope="col">{_both(*head)}</th>'
    yield "</tr></thead><tbody>"
    for line in lines:
        yield f'<tr><th scope="row">{_both(line.zh, line.en)}</th><td>{_value(line)}</td>'
        yield f"<td>{_range(line)}</td><td>{_meaning(line)}</td></tr>"
    yield "</tbody></table>"


def _value(line: ResultLine) -> str:
    if isinstance(line.value, str):
        return _both(line.value_zh or line.value, line.value_en)
    return escape(f"{line.value:g} {line.unit or ''}")


def _range(line: ResultLine) -> str:
    ours = line.interpreted_by is InterpretedBy.REFERENCE_RANGE
    low, high = (line.reference_low, line.reference_high) if ours else (line.range_low, line.range_high)
    if low is None and high is None:
        return ""
    shown = "–".join("" if limit is None else f"{limit:g}" for limit in (low, high))
    return f"{shown} {_both('通用参考', 'general range, not the laboratory’s')}" if ours else shown


def _meaning(line: ResultLine) -> str:
    return _both(*_MEANS[line.interpretation]) if line.interpretation else ""
