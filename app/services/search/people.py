"""Finding people of one's own region: by document, phone, name as written or as it sounds, by what they are."""

import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from sqlalchemy import CTE, ColumnElement, Select, func, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, visible, within
from app.crypto import mask_document, mask_name, mask_phone
from app.errors import Invalid, Unfit, place
from app.models.households import Category, DocumentKind, Household, Membership, Person, Sex
from app.models.regions import Region
from app.services import audit, documents, identity
from app.services.households.forms import Phone
from app.services.plain import Line, Text, example
from app.services.search import matching, spelling
from app.services.search.matching import SharedCriteria, prefixed
from app.services.search.spelling import Written

Age = Annotated[int, Field(ge=0, le=150, description="Full years, today")]
# The sound as it is indexed: "zhang xiao" and "zhangxiao" are typed for the same.
PLACES: dict[Written, Any] = {
    Written.AS_NAME: Person.name,
    Written.AS_SOUND: func.replace(Person.pinyin, " ", ""),
    Written.AS_INITIALS: Person.initials,
    Written.AS_EITHER: func.replace(Person.pinyin, " ", ""),
}
COUNTY_DIGITS = 6


class PeopleCriteria(SharedCriteria):
    model_config = example(kind="people", name="wxf", category="minimum_income", age_from=60)

    kind: Literal["people"] = "people"
    household_number: Annotated[int, Field(ge=1, le=2**53)] | None = None
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30)] | None = None
    phone: Phone | None = None
    name: Annotated[
        Line | None,
        Field(description="Its beginning as written, as it sounds (zhangxiao), or initials (zxl)"),
    ] = None
    age_from: Age | None = None
    age_to: Age | None = None
    sex: Sex | None = None
    migrant: Annotated[bool | None, Field(description="Hukou in another county than where they live")] = None

    @model_validator(mode="after")
    def _ages_in_order(self) -> Self:
        if self.age_from is not None and self.age_to is not None and self.age_from > self.age_to:
            raise Unfit("起始年龄不能大于截止年龄", "age_from must not be above age_to")
        return self


async def search(
    db: AsyncSession, actor: Actor, criteria: PeopleCriteria, *, after: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """A page of the people found, masked, by village and household where a number of one is sought, by name, by age,
    by household of a category, else by village. `after` is the last person of the page before. Whose document or
    phone is sought has that look in the own file, found or not."""
    found = await matches(db, actor, criteria)
    key = list(found.selected_columns)
    if after is not None:
        found = found.where(tuple_(*key) > tuple_(*await _key_of(db, found, after)))
    page = found.order_by(*key).limit(limit).subquery()
    rows = [
        _view(*row)
        for row in await db.execute(
            select(Person, Membership.relation, Household.id, Household.number, Region.name)
            .join(page, page.c.id == Person.id)
            .outerjoin(Membership, (Membership.person_id == Person.id) & Membership.valid_to.is_(None))
            .outerjoin(Household, Household.id == Membership.household_id)
            .outerjoin(Region, Region.code == Person.region_code)
            .order_by(*page.c)
        )
    ]
    await audit.record(db, actor, "search", "person", people=await sought(db, actor, criteria))
    return rows


async def sought(db: AsyncSession, actor: Actor, criteria: PeopleCriteria) -> list[uuid.UUID]:
    """Whom a document or a phone is of, whatever else must hold: that somebody known is not found with all the other
    criteria says something about that person too."""
    bearers = [select(Person.id).where(visible(actor, Person), borne) for borne in _borne(criteria)]
    return list(await db.scalars(union(*bearers))) if bearers else []


async def count(db: AsyncSession, actor: Actor, criteria: PeopleCriteria) -> dict[str, Any]:
    """Of many. Whoever has a document or a phone is looked for by `search`, which leaves that in the file."""
    identifying = [name for name in ("document_number", "phone") if getattr(criteria, name) is not None]
    if identifying:
        zh, en = "计数不能使用证件号码或电话，请改用查询", "not for counts: search instead"
        raise Invalid(errors=[place(f"/{name}", zh, en) for name in identifying])
    number = await matching.count(db, await matches(db, actor, criteria))
    await audit.record(db, actor, "count", "person")
    return number


async def matches(db: AsyncSession, actor: Actor, criteria: PeopleCriteria) -> Select[Any]:
    """The living people of the actor's region who meet the criteria, as the columns to sort them by, the id last. The
    dead are counted nowhere."""
    holder = await matching.prepare(db, actor, criteria)
    homes = _homes(actor, criteria)
    query = select(*_key(criteria, holder, homes)).select_from(Person)
    query = query.where(visible(actor, Person), Person.died_on.is_(None), *_own(criteria))
    if _of_household(criteria) or holder == "household":
        home = (Membership.person_id == Person.id) & Membership.valid_to.is_(None)
        query = query.join(Membership, home).join(homes, homes.c.household_id == Membership.household_id)
    if holder is None:
        return query
    of = (
        Membership.household_id == Category.household_id
        if holder == "household"
        else Person.id == Category.person_id
    )
    held = of & (Category.code == criteria.category) & Category.valid_to.is_(None)
    return query.join(Category, held).distinct()


def _homes(actor: Actor, criteria: PeopleCriteria) -> CTE:
    """The same region once more: whichever side the planner begins with, it begins with a part."""
    columns = Household.region_code, Household.id.label("household_id")
    query = select(*columns).where(visible(actor, Household), *_of_household(criteria))
    if not _by_number(criteria):
        return query.cte("homes")
    # Found first, and once: they are few, or none. In the order of their index, so that a page ends it early.
    ordered = query.order_by(Household.region_code, Household.id)
    return ordered.cte("homes").prefix_with("MATERIALIZED")


def _key(criteria: PeopleCriteria, holder: str | None, homes: CTE) -> list[Any]:
    """The order in which an index finds what is sought, so that a page is read and not sorted."""
    if _by_number(criteria):
        return [homes.c.region_code, homes.c.household_id, Person.id]
    if criteria.name is not None:
        return [PLACES[spelling.read(criteria.name)[0]], Person.region_code, Person.id]
    if holder is not None:
        return [Membership.household_id, Person.id] if holder == "household" else [Person.id]
    if criteria.age_from is not None or criteria.age_to is not None:
        return [Person.birth_date, Person.region_code, Person.id]
    return [Person.region_code, Person.id]


def _own(criteria: PeopleCriteria) -> list[ColumnElement[bool]]:
    """What must hold of the person alone."""
    conditions = [_named(criteria.name)] if criteria.name is not None else []
    if criteria.region_code is not None:
        conditions.append(within(Person.region_code, criteria.region_code))  # type: ignore[arg-type]
    conditions += _borne(criteria)
    if criteria.age_from is not None:
        conditions.append(Person.birth_date <= clock.years_ago(criteria.age_from))
    if criteria.age_to is not None:
        conditions.append(Person.birth_date > clock.years_ago(criteria.age_to + 1))
    if criteria.sex is not None:
        conditions.append(Person.sex == criteria.sex)
    if criteria.migrant is not None:
        conditions.append(migrant() if criteria.migrant else func.coalesce(~migrant(), True))
    return conditions


def _borne(criteria: PeopleCriteria) -> list[ColumnElement[bool]]:
    """What identifies somebody."""
    conditions = []
    if criteria.document_number is not None:
        document = documents.read(criteria.document_kind, criteria.document_number)
        conditions.append(identity.bears(document))
    if criteria.phone is not None:
        conditions.append(Person.phone_index == identity.phone_index(criteria.phone))
    return conditions


def migrant() -> ColumnElement[bool]:
    """Registered in one county, living in another. Spelled as the partial index is."""
    hukou, home = (func.left(code, COUNTY_DIGITS) for code in (Person.hukou_region_code, Person.region_code))
    return hukou != home


def _by_number(criteria: PeopleCriteria) -> bool:
    return criteria.household_number is not None or criteria.local_number is not None


def _of_household(criteria: PeopleCriteria) -> list[ColumnElement[bool]]:
    """What must hold of the household."""
    conditions: list[ColumnElement[bool]] = []
    if criteria.household_number is not None:
        conditions.append(Household.number == criteria.household_number)
    if criteria.local_number is not None:
        conditions += matching.numbered(criteria.local_number)
    if criteria.family_type is not None:
        conditions.append(Household.family_type == criteria.family_type)
    return conditions


def _named(name: str) -> ColumnElement[bool]:
    written, letters = spelling.read(name)
    if written is not Written.AS_EITHER:
        return prefixed(PLACES[written], letters)
    sounding = aliased(Person)
    sound: ColumnElement[str] = func.replace(sounding.pinyin, " ", "")
    begun = (prefixed(sound, letters), prefixed(sounding.initials, letters))  # type: ignore[arg-type]
    found = [select(sounding.id).where(one) for one in begun]
    return Person.id.in_(union(*found))  # an index each, and few: no such syllables begin a Chinese name


async def _key_of(db: AsyncSession, found: Select[Any], after: uuid.UUID) -> Any:
    """The cursor names a person and not a name: it travels in addresses, which are logged."""
    last = (await db.execute(found.where(Person.id == after))).first()
    if last is None:
        raise Invalid.at("#query/cursor", "请从第一页重新查询", "start again from the first page")
    return last


def _view(person: Person, relation: Any, household_id: Any, number: Any, region_name: Any) -> dict[str, Any]:
    phone = person.phone
    return {
        "id": person.id, "name": mask_name(person.name), "sex": person.sex, "birth_year": person.birth_date.year,
        "document_kind": person.document_kind, "document_number": mask_document(person.document_number),
        "phone": mask_phone(phone) if phone else None, "region_code": person.region_code,
        "region_name": region_name, "household_id": household_id, "household_number": number,
        "relation": relation,
    }  # fmt: skip
