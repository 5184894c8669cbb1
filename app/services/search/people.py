"""Finding people of one's own region: by document, phone, name as written or as it sounds, by what they are."""

import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible, within
from app.crypto import mask_document, mask_name, mask_phone
from app.errors import Invalid, Unfit
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
    """A page of the people found, masked, by name where one is sought, by age, by household
    of a category, else by village. `after` is the last person of
    the page before. Whom a document or a phone finds has that look in the own file."""
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
    identified = criteria.document_number is not None or criteria.phone is not None
    people = [row["id"] for row in rows] if identified else []
    await audit.record(db, actor, "search", "person", people=people)
    return rows


async def count(db: AsyncSession, actor: Actor, criteria: PeopleCriteria) -> dict[str, Any]:
    number = await matching.count(db, await matches(db, actor, criteria))
    await audit.record(db, actor, "count", "person")
    return number


async def matches(db: AsyncSession, actor: Actor, criteria: PeopleCriteria) -> Select[Any]:
    """The living people of the actor's region who meet the criteria, as the columns to sort them by, the id last. The
    dead are counted nowhere."""
    holder = await matching.prepare(db, actor, criteria)
    query = select(*_key(criteria, holder)).select_from(Person)
    query = query.where(visible(actor, Person), Person.died_on.is_(None), *_own(criteria))
    of_household = _of_household(criteria)
    if of_household or holder == "household":
        home = (Membership.person_id == Person.id) & Membership.valid_to.is_(None)
        query = query.join(Membership, home).join(Household, Household.id == Membership.household_id)
        # The same region once more: whichever side the planner begins with, it begins with a part.
        query = query.where(visible(actor, Household), *of_household)
    if holder is None:
        return query
    of = (
        Membership.household_id == Category.household_id
        if holder == "household"
        else Person.id == Category.person_id
    )
    held = of & (Category.code == criteria.category) & Category.valid_to.is_(None)
    return query.join(Category, held).distinct()


def _key(criteria: PeopleCriteria, holder: str | None) -> list[Any]:
    """The order in which an index finds what is sought, so that a page is read and not sorted."""
    if criteria.name is not None:
        return [_sought(criteria)[0], Person.region_code, Person.id]
    if holder is not None:
        return [Membership.household_id, Person.id] if holder == "household" else [Person.id]
    if criteria.age_from is not None or criteria.age_to is not None:
        return [Person.birth_date, Person.region_code, Person.id]
    return [Person.region_code, Person.id]


def _own(criteria: PeopleCriteria) -> list[ColumnElement[bool]]:
    """What must hold of the person alone."""
    conditions = [prefixed(*_sought(criteria))] if criteria.name is not None else []
    if criteria.region_code is not None:
        conditions.append(within(Person.region_code, criteria.region_code))  # type: ignore[arg-type]
    if criteria.document_number is not None:
        document = documents.read(criteria.document_kind, criteria.document_number)
        conditions.append(identity.bears(document))
    if criteria.phone is not None:
        conditions.append(Person.phone_index == identity.phone_index(criteria.phone))
    if criteria.age_from is not None:
        conditions.append(Person.birth_date <= clock.years_ago(criteria.age_from))
    if criteria.age_to is not None:
        conditions.append(Person.birth_date > clock.years_ago(criteria.age_to + 1))
    if criteria.sex is not None:
        conditions.append(Person.sex == criteria.sex)
    if criteria.migrant is not None:
        conditions.append(migrant() if criteria.migrant else func.coalesce(~migrant(), True))
    return conditions


def migrant() -> ColumnElement[bool]:
    """Registered in one county, living in another. Spelled as the partial index is."""
    hukou, home = (func.left(code, COUNTY_DIGITS) for code in (Person.hukou_region_code, Person.region_code))
    return hukou != home


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


def _sought(criteria: PeopleCriteria) -> tuple[Any, ...]:
    """Where to look for a name, and for what; nothing without a name."""
    if criteria.name is None:
        return ()
    written, sought = spelling.read(criteria.name)
    return PLACES[written], sought


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
