"""Which office exercises the rights of whom: where somebody is, or was last served."""

import uuid

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, unrestricted, visible, within
from app.errors import NotFound
from app.models.households import Household, Membership, Person
from app.settings import settings


def office_of() -> ColumnElement[str]:
    """Of a Person in the query: where the person is or was last served; the association itself for who never was."""
    newest = (
        select(Household.region_code)
        .join(Membership, Membership.household_id == Household.id)
        .where(Membership.person_id == Person.id)
        .order_by(Membership.valid_from.desc(), Membership.id.desc())
        .limit(1)
    )
    return func.coalesce(Person.region_code, newest.scalar_subquery(), settings().region_code)


async def at_the_office(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Person:
    """Somebody of the worker's region; or who is counted nowhere, having died or left, and was last served there.
    NotFound for everybody else."""
    gone = and_(
        Person.region_code.is_(None), Person.erased_at.is_(None), Person.merged_into.is_(None), unrestricted(actor),
        within(office_of(), actor.region_code),
    )  # fmt: skip
    person = await db.scalar(select(Person).where(Person.id == id, or_(visible(actor, Person), gone)))
    if person is None:
        raise NotFound
    return person
