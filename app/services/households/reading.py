"""What residents and workers see of households: masked, unless the look is audited with its purpose."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, Permission, fetch, unrestricted, visible
from app.crypto import mask_document, mask_name, mask_phone
from app.models.households import (
    Category,
    CategoryDefinition,
    Couple,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
)
from app.models.identity import ResidentAccount
from app.models.regions import Region
from app.services import audit
from app.services.households import family_types
from app.services.households.forms import Form
from app.services.households.handbook import people_of


async def listing(
    db: AsyncSession,
    actor: Actor,
    *,
    status: HouseholdStatus,
    after: tuple[str, uuid.UUID] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Households of the worker's region in one state, by village; names masked."""
    query = (
        select(Household, Region.name.label("region_name"), Person.name.label("registrant"))
        .join(Region, Region.code == Household.region_code)
        .outerjoin(ResidentAccount, ResidentAccount.id == Household.account_id)
        .outerjoin(Person, and_(Person.id == ResidentAccount.person_id, unrestricted(actor)))
        .where(visible(actor, Household), Household.status == status)
        .order_by(Household.region_code, Household.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(func.row(Household.region_code, Household.id) > func.row(*after))
    return [
        {
            "id": row.id, "number": row.number, "status": row.status, "region_code": row.region_code,
            "region_name": region, "registrant": mask_name(name) if name else None,
            "submitted_at": row.submitted_at, "version": row.version,
        }
        for row, region, name in await db.execute(query)
    ]  # fmt: skip


async def mine(db: AsyncSession, actor: Actor) -> list[Household]:
    """The resident's household and the registrations under way."""
    return list(
        await db.scalars(select(Household).where(visible(actor, Household)).order_by(Household.id).limit(20))
    )


async def detail(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str | None = None, unmasked: bool = False
) -> dict[str, Any]:
    """One household with its people, or with its form before verification. Every look is recorded in the file
    of each person; what identifies them is masked unless the caller's permission and purpose open it."""
    row = await fetch(db, actor, Household, id)
    form = Form.model_validate_json(row.form) if row.form else None
    marks = row.marks
    if row.account_id != actor.id:  # who wrote it corrects it
        form = form if form is None or unmasked else masked_form(form)
        # Free text of a worker, for those who verify.
        marks = marks if actor.may(Permission.HOUSEHOLD_VERIFY) else [mark | {"note": ""} for mark in marks]
    members = await _members(db, actor, row, unmasked=unmasked)
    ids = [member["id"] for member in members]
    action = "read_unmasked" if unmasked else "read"
    await audit.record(db, actor, action, "household", id, people=await people_of(db, row), purpose=purpose)
    return {
        "id": row.id, "number": row.number, "status": row.status, "region_code": row.region_code,
        "family_type": row.family_type, "family_type_basis": await family_types.basis(db, actor, row),
        "version": row.version, "marks": marks, "form": form,
        "address": row.address if unmasked else None, "members": members,
        "couple": await _couple(db, ids), "categories": await _categories(db, row, ids),
    }  # fmt: skip


def masked_form(form: Form) -> Form:
    members = [
        member.model_copy(
            update={
                "name": mask_name(member.name),
                "document_number": mask_document(member.document_number),
                "phone": mask_phone(member.phone) if member.phone else None,
                "birth_date": None,
            }
        )
        for member in form.members
    ]
    categories = [claimed.model_copy(update={"evidence": "***"}) for claimed in form.categories]
    return form.model_copy(update={"members": members, "categories": categories, "address": "***"})


async def _members(db: AsyncSession, actor: Actor, row: Household, *, unmasked: bool) -> list[dict[str, Any]]:
    """Head, spouse, children by age, others."""
    query = (
        select(Person, Membership.relation)
        .join(Membership, Membership.person_id == Person.id)
        .where(Membership.household_id == row.id, Membership.valid_to.is_(None), unrestricted(actor))
    )
    order = list(Relation)
    members = sorted(await db.execute(query), key=lambda found: (order.index(found[1]), found[0].birth_date))
    return [person_view(person, unmasked=unmasked) | {"relation": relation} for person, relation in members]


def person_view(person: Person, *, unmasked: bool) -> dict[str, Any]:
    number, phone = person.document_number, person.phone
    return {
        "id": person.id,
        "name": person.name if unmasked else mask_name(person.name),
        "sex": person.sex,
        "birth_date": person.birth_date if unmasked else None,
        "birth_year": person.birth_date.year,
        "document_kind": person.document_kind,
        "document_number": number if unmasked else mask_document(number),
        "phone": phone if unmasked or phone is None else mask_phone(phone),
    }


async def _couple(db: AsyncSession, members: Collection[uuid.UUID]) -> Couple | None:
    query = select(Couple).where(
        Couple.wife_id.in_(members), Couple.husband_id.in_(members), Couple.valid_to.is_(None)
    )
    return await db.scalar(query.limit(1))


async def _categories(db: AsyncSession, row: Household, members: Collection[uuid.UUID]) -> list[Category]:
    # Values: beside an OR a subquery has the whole table read.
    query = select(Category).where((Category.household_id == row.id) | Category.person_id.in_(members))
    return list(await db.scalars(query.order_by(Category.valid_from, Category.id)))


async def categories(db: AsyncSession) -> list[CategoryDefinition]:
    """The catalogue that a family claims from."""
    return list(await db.scalars(select(CategoryDefinition).order_by(CategoryDefinition.code)))
