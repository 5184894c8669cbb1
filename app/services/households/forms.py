"""What a family writes about itself, and whether it can be true."""

from typing import Annotated

from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid
from app.models.households import CategoryDefinition, DocumentKind, FamilyType, HukouType, Relation, Sex
from app.services import documents, regions
from app.services.plain import Body, Day, Line, Note, RegionCode, Text, example

Phone = Annotated[str, Field(pattern=r"^1[3-9][0-9]{9}$")]
Place = Annotated[int, Field(ge=0, le=19)]


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
    phone: Phone | None = None


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
                "document_number": "11010519491231002X",
                "hukou_region_code": "640104001000",
                "hukou_type": "urban",
                "resident_since": "2020-01-01",
            },
            {
                "relation": "head",
                "name": "李建国",
                "document_number": "440524199001010015",
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
    family_type: FamilyType | None = None
    members: Annotated[list[Member], Field(min_length=1, max_length=20)]
    marriage: Marriage | None = None
    categories: Annotated[list[ClaimedCategory], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _places_exist(self) -> "Form":
        places = [claimed.member for claimed in self.categories if claimed.member is not None]
        if self.marriage:
            places += [self.marriage.wife, self.marriage.husband]
        if any(place >= len(self.members) for place in places):
            raise ValueError("a position in members does not exist")
        return self


class Mark(Body):
    """A wrong field of a returned form."""

    pointer: Annotated[str, Text(100)]
    note: Note


async def check(db: AsyncSession, form: Form) -> list[documents.Document]:
    """Invalid with every wrong place at once, or the members' documents in order."""
    errors: list[dict[str, str]] = []
    found: list[documents.Document] = []
    for place, member in enumerate(form.members):
        at = f"/members/{place}"
        try:
            document = documents.read(
                member.document_kind, member.document_number, pointer=f"{at}/document_number"
            )
            documents.person_facts(document, birth_date=member.birth_date, sex=member.sex, pointer=at)
            found.append(document)
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
        errors.append({"pointer": pointer, "detail": f"{zh} / {en}"})

    today = clock.today()
    if sum(member.relation is Relation.HEAD for member in form.members) != 1:
        wrong("/members", "须有且只有一位户主", "exactly one head of household")
    if len({document.index for document in found}) < len(found):
        wrong("/members", "证件号码重复", "a document appears twice")
    for place, member in enumerate(form.members):
        if member.resident_since > today:
            wrong(f"/members/{place}/resident_since", "不能晚于今天", "lies in the future")
    for place, claimed in enumerate(form.categories):
        if claimed.since > today:
            wrong(f"/categories/{place}/since", "不能晚于今天", "lies in the future")
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
    for place, claimed in enumerate(form.categories):
        if holders.get(claimed.code) != ("household" if claimed.member is None else "person"):
            detail = "没有这个类别,或适用对象不符 / no such category, or not of such a holder"
            errors.append({"pointer": f"/categories/{place}", "detail": detail})
    if errors:
        raise Invalid(errors=errors)
