"""The workbook of an export: the columns of an import, so that a full list can be taken in again, under a line that
says who took it, when and why."""

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import IO, Any, Self

import xlsxwriter
from sqlalchemy import case, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, visible
from app.crypto import mask_document, mask_name, mask_phone
from app.models.households import (
    Category,
    CategoryDefinition,
    Couple,
    DocumentKind,
    FamilyType,
    Household,
    HukouType,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.regions import Region
from app.services import files
from app.services.imports import columns

HIDDEN = "***"
ZH: dict[Any, str] = {
    Relation.HEAD: "户主", Relation.SPOUSE: "配偶", Relation.CHILD: "子女", Relation.PARENT: "父母",
    Relation.OTHER: "其他", Sex.MALE: "男", Sex.FEMALE: "女", HukouType.RURAL: "农业", HukouType.URBAN: "非农业",
    FamilyType.DEVELOPING: "发展型", FamilyType.STABLE: "稳定型", FamilyType.ELDERLY: "老年型",
    FamilyType.NEW_CITIZEN: "新市民", DocumentKind.RESIDENT_ID: "居民身份证",
    DocumentKind.RESIDENCE_PERMIT: "港澳台居民居住证", DocumentKind.PERMANENT_RESIDENT: "外国人永久居留身份证",
    DocumentKind.PASSPORT: "护照", DocumentKind.OFFICER: "军官证", DocumentKind.HOUSEHOLD_BOOK: "户口簿",
    True: "是", False: "否", None: "",
}  # fmt: skip
PURPOSE_ZH = {
    "verification": "核实", "registry_upkeep": "档案维护", "appointment": "预约服务", "follow_up": "随访",
    "payment": "付款",
    "complaint": "投诉处理", "rights_request": "个人权利请求", "audit": "审计",
}  # fmt: skip


def order_of(relation: Any) -> Any:
    """Head, spouse, children, parents, others."""
    return case({one.value: place for place, one in enumerate(Relation)}, value=relation)


@dataclass(frozen=True, slots=True)
class Mark:
    """Who took the list, when, why, and how much."""

    title: str
    who: str
    when: datetime
    why: str
    export_id: uuid.UUID
    rows: int
    unmasked: bool

    @property
    def text(self) -> str:
        when = self.when.astimezone(clock.SHANGHAI)
        masked = "未脱敏" if self.unmasked else "已脱敏"
        why = f"{PURPOSE_ZH.get(self.why, '')} {self.why}".strip()
        return (
            f"{self.title}　导出人：{self.who}　导出时间：{when:%Y-%m-%d %H:%M:%S}　用途：{why}　{masked}　"
            f"共 {self.rows} 行　导出编号：{self.export_id}　内部资料，严禁外传"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A person with the household, as they go into the list."""

    person: Person
    relation: Relation
    household: Household
    region_name: str
    couple: Couple | None
    categories: list[tuple[Category, str]]


async def lines(db: AsyncSession, actor: Actor, ids: list[uuid.UUID]) -> list[Line]:
    """These people, in this order, as far as the actor sees them."""
    member = aliased(Membership)
    first = (
        select(member.person_id)
        .where(member.household_id == Household.id, member.valid_to.is_(None))
        .order_by(order_of(member.relation), member.id)
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(Person, Membership.relation, Household, Region.name, first)
        .join(Membership, (Membership.person_id == Person.id) & Membership.valid_to.is_(None))
        .join(Household, Household.id == Membership.household_id)
        .join(Region, Region.code == Household.region_code)
        .where(Person.id.in_(ids), visible(actor, Person))
    )
    found = {row[0].id: row for row in await db.execute(query)}
    married, held = await _couples(db, ids), await _categories(db, ids, [row[2].id for row in found.values()])
    return [
        Line(
            person, relation, household, region, married.get(person.id),
            # What the household holds stands in its first line, that of the head if it has one.
            held[person.id] + (held[household.id] if first_id == person.id else []),
        )
        for person, relation, household, region, first_id in (found[id] for id in ids if id in found)
    ]  # fmt: skip


async def _couples(db: AsyncSession, ids: list[uuid.UUID]) -> dict[uuid.UUID, Couple]:
    married: dict[uuid.UUID, Couple] = {}
    for spouse in (Couple.wife_id, Couple.husband_id):  # an index each
        query = select(spouse, Couple).where(spouse.in_(ids), Couple.valid_to.is_(None))
        married.update(dict((await db.execute(query)).all()))
    return married


async def _categories(
    db: AsyncSession, people: list[uuid.UUID], households: list[uuid.UUID]
) -> dict[uuid.UUID | None, list[tuple[Category, str]]]:
    query = (
        select(Category, CategoryDefinition.zh)
        .join(CategoryDefinition, CategoryDefinition.code == Category.code)
        .where(or_(Category.person_id.in_(people), Category.household_id.in_(households)))
        .where(Category.valid_to.is_(None))
        .order_by(Category.valid_from, Category.id)
    )
    held: dict[uuid.UUID | None, list[tuple[Category, str]]] = defaultdict(list)
    for category, zh in await db.execute(query):
        held[category.person_id or category.household_id].append((category, zh))
    return held


COLUMNS = {column.key: column.zh for column in columns.COLUMNS}
#: For people to read; an import passes over them.
FOR_READERS = ("系统户号", "所在地名称")


def cells(line: Line, *, unmasked: bool) -> list[str]:
    """A line of the list, in the order of the columns."""
    person, home, couple = line.person, line.household, line.couple
    number, phone = person.document_number, person.phone
    evidence = "；".join(dict.fromkeys(category.evidence for category, _ in line.categories))
    values = {
        "region": home.region_code,
        "local_number": home.local_number,
        "address": home.address if unmasked else home.address and HIDDEN,
        "family_type": ZH[home.family_type],
        "relation": ZH[line.relation],
        "name": person.name if unmasked else mask_name(person.name),
        "document_kind": ZH[person.document_kind],
        "document_number": number if unmasked else mask_document(number),
        "sex": ZH[person.sex],
        "birth_date": str(person.birth_date if unmasked else person.birth_date.year),
        "hukou_region": person.hukou_region_code,
        "hukou_type": ZH[person.hukou_type],
        "resident_since": _day(person.resident_since),
        "phone": phone if unmasked or phone is None else mask_phone(phone),
        "married_since": _day(couple.valid_from if couple else None),
        "plans_pregnancy": ZH[couple.plans_pregnancy if couple else None],
        "categories": "；".join(_category(category, zh) for category, zh in line.categories),
        "evidence": evidence if unmasked else evidence and HIDDEN,
    }
    return [values[key] or "" for key in COLUMNS] + [str(home.number), line.region_name]


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


def _category(category: Category, zh: str) -> str:
    grade = f"{category.grade}级" if category.grade else ""
    return f"{zh}{grade}:{category.valid_from.isoformat()}"


class Workbook:
    """Written row by row, in flat memory. It is nothing until it is closed."""

    def __init__(self, out: IO[bytes], mark: Mark) -> None:
        self.rows, self._unmasked = 0, mark.unmasked
        # Of our own, so that nothing stays behind: the library keeps the rows there until it closes.
        self._folder = files.folder()
        self._book = xlsxwriter.Workbook(out, {"constant_memory": True, "tmpdir": self._folder.name})
        self._book.set_properties({"title": mark.title, "author": mark.who, "comments": mark.text})
        when = mark.when.astimezone(clock.SHANGHAI)
        self._sheet = self._book.add_worksheet(f"{_sheet_name(mark.who)} {when:%Y%m%d-%H%M}")
        self._sheet.set_header(f"&L{_plain(mark.title)}&R{_plain(mark.who)} {when:%Y-%m-%d %H:%M}")
        self._sheet.set_footer(f"&L{mark.export_id}&C&P / &N&R{mark.rows}")
        self._sheet.set_column(0, len(COLUMNS) + 1, 16)
        self._sheet.write_string(0, 0, mark.text, self._book.add_format({"bold": True, "font_color": "red"}))
        bold = self._book.add_format({"bold": True, "bg_color": "#DDEBF7"})
        for place, heading in enumerate([*COLUMNS.values(), *FOR_READERS]):
            self._sheet.write_string(1, place, heading, bold)

    def write(self, found: list[Line]) -> None:
        for line in found:
            for place, cell in enumerate(cells(line, unmasked=self._unmasked)):
                if cell:  # as text, so that =1+1 is no formula
                    self._sheet.write_string(self.rows + 2, place, cell)
            self.rows += 1

    def close(self) -> None:
        self._book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._book.fileclosed:
            self._sheet._opt_close()  # the library would write the book in vain
        self._folder.cleanup()


def _sheet_name(who: str) -> str:
    """Without what Excel forbids there."""
    return re.sub(r"[\[\]:*?/\\']", "", who.split("（", maxsplit=1)[0])[:12]


def _plain(text: str) -> str:
    """& begins a code in headers."""
    return text.replace("&", "&&")
