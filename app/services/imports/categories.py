"""The cell that names categories: 领证独生子女:2001-05-01; 独生子女伤残(三级):2012-03-01; 低保."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from app.services.imports import cells
from app.services.imports.cells import NotReadable

MOST = 20
NO_EVIDENCE = "按协会名册导入"
#: What lists say instead.
ALIASES = {
    "失独": "only_child_deceased", "双女": "two_daughters", "两女": "two_daughters", "纯二女": "two_daughters",
    "独女领证": "only_child_certificate", "独生子女领证": "only_child_certificate",
    "计生手术并发症": "surgery_complication",
}  # fmt: skip
_GRADES = {
    sign: grade for grade, signs in enumerate(("1一壹", "2二贰", "3三叁", "4四肆"), 1) for sign in signs
}
_GRADE = re.compile(r"\(?([1-4一二三四壹贰叁肆])级\)?$")
_ENDING = re.compile("(?:家庭|户|人员|对象)$")


@dataclass(slots=True)
class ImportedCategory:
    code: str
    holder: str  # household or person, as the catalogue says
    grade: int | None
    since: date
    evidence: str


def category_names(definitions: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """From (code, Chinese name, holder): each way to write a category → (code, holder). What could mean two means
    none."""
    names: dict[str, tuple[str, str]] = {}
    ambiguous = set()
    definitions = list(definitions)
    holders = {code: holder for code, _, holder in definitions}
    ways = [(way, code) for code, zh, _ in definitions for way in _ways(code, zh)]
    for way, code in ways + [(way, code) for way, code in ALIASES.items() if code in holders]:
        if names.setdefault(way, (code, holders[code]))[0] != code:
            ambiguous.add(way)
    return {way: meant for way, meant in names.items() if way not in ambiguous}


def _ways(code: str, zh: str) -> set[str]:
    """特困供养（五保）: also 特困供养 and 五保; 二女户: also 二女."""
    name = cells.plain(zh).replace(" ", "")
    whole = {name, *re.split("[()]", name)} - {""}
    return {code} | whole | {_ENDING.sub("", way) for way in whole}


def claimed(
    text: str, evidence: str, names: Mapping[str, tuple[str, str]], today: date
) -> tuple[list[ImportedCategory], list[tuple[str, str, str]]]:
    """The categories of a cell, and what had to be assumed: (code, zh, en) each. NotReadable where one is unknown:
    categories decide about money."""
    try:
        proof = cells.evidence(evidence) or NO_EVIDENCE
    except NotReadable as error:
        error.column = "evidence"
        raise
    found: list[ImportedCategory] = []
    assumed: list[tuple[str, str, str]] = []
    for item in re.split("[;,、\n]", cells.plain(text)):
        if item.strip():
            category = _one(item, proof, names, today)
            found.append(category)
            if ":" not in item:
                assumed.append(
                    ("category_since", "类别未写起始日期，按今天起算", "no date: counted from today")
                )
    if len(found) > MOST or len({(category.code) for category in found}) < len(found):
        raise NotReadable("category", "类别重复或过多", "a category twice, or too many")
    if not evidence:
        assumed.append(("category_evidence", "类别没有证明材料", "no evidence of the category"))
    return found, assumed[:2]


def _one(item: str, proof: str, names: Mapping[str, tuple[str, str]], today: date) -> ImportedCategory:
    name, _, since = item.replace(" ", "").partition(":")
    grade = _GRADE.search(name)
    name = _GRADE.sub("", name)
    meant = names.get(name) or names.get(_ENDING.sub("", name))
    if meant is None:
        raise NotReadable(
            "category", "有不认识的类别，请按模板中的名称填写", "an unknown category: see the template"
        )
    start = cells.day(since) if since else today
    if start > today:
        raise NotReadable("future", "类别的起始日期不能晚于今天", "a category begins in the future")
    return ImportedCategory(*meant, _GRADES[grade[1]] if grade else None, start, proof)
