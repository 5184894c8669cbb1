"""What a family writes about itself, and whether it can be true."""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid, Unfit, place
from app.models.households import CategoryDefinition, DocumentKind, FamilyType, HukouType, Relation, Sex
from app.services import documents, regions
from app.services.plain import Body, Day, Line, Note, RegionCode, Text, example

Phone = Annotated[str, Field(pattern=r"^(1[3-9][0-9]{9}|[+][0-9]{6,15})$")]
Place = Annotated[int, Field(ge=0, le=19)]
Grade = Annotated[int, Field(ge=1, le=4, description="等级 of a disability or complication")]
AGE_OF_MAJORITY = 18


class Member(Body):
    relation: Relation
    name: Line
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30)]
    birth_date: Day | None = None
    sex: Sex | None = None
    hukou_region_code: RegionCode
    hukou_type: HukouType
    resident_since: Day
    phone: Annotated[Phone | None, Field(description="Required for an adult head or spouse")] = None


class Marriage(Body):
    """Positions in `members`."""

    wife: Place
    husband: Place
    since: Day
    plans_pregnancy: bool


class ClaimedCategory(Body):
    """A category of a member, or of the household where `member` is absent, with what proves it."""

    code: Line
    member: Place | None = None
    evidence: Note
    grade: Grade | None = None
    since: Day


class Form(Body):
    """What a family writes about itself."""

    model_config = example(
        region_code="640104001000",
        address="凤凰北街 8 号 2 单元 301",
        family_type="developing",
        members=[
            {
                "relation": "spouse",
                "name": "王小芳",
                "phone": "13900000001",
                "document_number": "11010519491231002X",
                "hukou_region_code": "640104001000",
                "hukou_type": "urban",
                "resident_since": "2020-01-01",
            },
            {
                "relation": "head",
                "name": "李建国",
                "phone": "13900000002",
                "document_number": "440524199001010018",
                "hukou_region_code": "640104001000",
                "hukou_type": "urban",
                "resident_since": "2020-01-01",
            },
        ],
        marriage={"wife": 0, "husband": 1, "since": "2024-05-20", "plans_pregnancy": True},
        categories=[],
    )

    region_code: RegionCode
    address: Annotated[str, Text(200)]
    family_type: Annotated[
        FamilyType | None,
        Field(description="What the family says of itself; at verification the rule decides"),
    ] = None
    members: Annotated[list[Member], Field(min_length=1, max_length=20)]
    marriage: Marriage | None = None
    categories: Annotated[list[ClaimedCategory], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _places_exist(self) -> "Form":
        places = [claimed.member for claimed in self.categories if claimed.member is not None]
        if self.marriage:
            places += [self.marriage.wife, self.marriage.husband]
        if any(place >= len(self.members) for place in places):
            raise Unfit("所指的成员不存在", "a position in members does not exist")
        return self


class Mark(Body):
    """A wrong field of a returned form: a JSON pointer (RFC 6901) into it, and why."""

    pointer: Annotated[str, Text(100)]
    note: Note


def require_places(form: Form, marks: list[Mark]) -> None:
    """Invalid at each mark that points to nothing in the form."""
    document = form.model_dump(mode="json")
    why = "表中没有这个位置", "no such place in the form"
    wrong = [n for n, mark in enumerate(marks) if not _leads_into(document, mark.pointer)]
    if wrong:
        raise Invalid(errors=[place(f"/marks/{number}/pointer", *why) for number in wrong])


def _leads_into(document: Any, pointer: str) -> bool:
    """Whether a JSON pointer (RFC 6901) leads to a member of the document."""
    start, *steps = pointer.split("/")
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and re.fullmatch("0|[1-9][0-9]?", name) and int(name) < len(document):
            document = document[int(name)]
        else:
            return False
    return start == "" and bool(steps)


async def check(db: AsyncSession, form: Form) -> list[documents.Document]:
    """Invalid with every wrong place at once, or the members' documents in order."""
    errors: list[dict[str, str]] = []
    found: list[documents.Document] = []
    for number, member in enumerate(form.members):
        at = f"/members/{number}"
        try:
            document = documents.read(
                member.document_kind, member.document_number, pointer=f"{at}/document_number"
            )
            born, _ = documents.person_facts(
                document, birth_date=member.birth_date, sex=member.sex, pointer=at
            )
            found.append(document)
            adult = born <= clock.years_ago(AGE_OF_MAJORITY)
            if adult and member.relation in {Relation.HEAD, Relation.SPOUSE} and not member.phone:
                errors.append(place(f"{at}/phone", "户主和配偶须填写手机号", "needed of head and spouse"))
        except documents.DocumentNotValid as problem:
            errors += problem.errors or []
    errors += _contradictions(form, found)
    if errors:
        raise Invalid(errors=errors)
    await regions.require(db, {"/region_code": form.region_code}, lowest_level=regions.TOWN)
    await regions.require(
        db, {f"/members/{i}/hukou_region_code": m.hukou_region_code for i, m in enumerate(form.members)}
    )
    await _require_categories(db, form)
    return found


def _contradictions(form: Form, found: list[documents.Document]) -> list[dict[str, str]]:
    errors = []

    def wrong(pointer: str, zh: str, en: str) -> None:
        errors.append(place(pointer, zh, en))

    today = clock.today()
    if sum(member.relation is Relation.HEAD for member in form.members) != 1:
        wrong("/members", "须有且只有一位户主", "exactly one head of household")
    if len({document.index for document in found}) < len(found):
        wrong("/members", "证件号码重复", "a document appears twice")
    for number, member in enumerate(form.members):
        if member.resident_since > today:
            wrong(f"/members/{number}/resident_since", "不能晚于今天", "lies in the future")
    for number, claimed in enumerate(form.categories):
        if claimed.since > today:
            wrong(f"/categories/{number}/since", "不能晚于今天", "lies in the future")
    if form.marriage and len(found) == len(form.members):
        sexes = [d.sex or m.sex for d, m in zip(found, form.members, strict=True)]
        if sexes[form.marriage.wife] is not Sex.FEMALE or sexes[form.marriage.husband] is not Sex.MALE:
            wrong("/marriage", "妻子与丈夫的性别不符", "the sexes of wife and husband do not fit")
        if form.marriage.since > today:
            wrong("/marriage/since", "不能晚于今天", "lies in the future")
    return errors


async def _require_categories(db: AsyncSession, form: Form) -> None:
    codes = [claimed.code for claimed in form.categories]
    query = select(CategoryDefinition.code, CategoryDefinition.holder).where(
        CategoryDefinition.code.in_(codes)
    )
    holders = {row.code: row.holder for row in await db.execute(query)}
    errors = []
    for number, claimed in enumerate(form.categories):
        if holders.get(claimed.code) != ("household" if claimed.member is None else "person"):
            why = "没有这个类别，或适用对象不符", "no such category, or not of such a holder"
            errors.append(place(f"/categories/{number}", *why))
    if errors:
        raise Invalid(errors=errors)
