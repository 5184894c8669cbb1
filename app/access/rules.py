"""What the rules of rows are made of."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, or_, select, true
from sqlalchemy.orm import aliased

from app import clock
from app.access.permissions import Actor, Permission
from app.access.regions import at_or_above, within
from app.models.appointments import Clinic
from app.models.consents import Consent
from app.models.households import Household, Membership, Person
from app.models.identity import STAFF_ROLES, ResidentAccount, Role

AGE_OF_OWN_CONSENT = 14
Scope = Callable[[Actor], ColumnElement[bool]]


def own_person(actor: Actor) -> Any:
    return select(ResidentAccount.person_id).where(ResidentAccount.id == actor.account_id).scalar_subquery()


def own_household(actor: Actor) -> Any:
    return (
        select(Membership.household_id)
        .where(Membership.person_id == own_person(actor), Membership.valid_to.is_(None))
        .scalar_subquery()
    )


def under_guardian() -> ColumnElement[bool]:
    """Whose consent this is, is still so young that a guardian gives it (PIPL art. 31)."""
    child = aliased(Person)  # a query around it may have people of its own
    return exists().where(
        child.id == Consent.person_id, child.birth_date > clock.years_ago(AGE_OF_OWN_CONSENT)
    )


def rule(
    *, resident: Scope | None = None, worker: Scope | None = None, partner: Scope | None = None,
    system_administrator: Scope | None = None,
) -> Scope:  # fmt: skip
    def condition(actor: Actor) -> ColumnElement[bool]:
        if actor.role is Role.SYSTEM:
            return true()
        if actor.role is Role.SYSTEM_ADMINISTRATOR:
            chosen = system_administrator
        elif actor.role in STAFF_ROLES:
            chosen = worker
        else:
            chosen = {Role.RESIDENT: resident, Role.PARTNER: partner}.get(actor.role)
        return chosen(actor) if chosen else false()

    return condition


def own(person: Any, spouse: Any) -> Scope:
    return lambda actor: or_(person == own_person(actor), spouse == own_person(actor))


def of_region(column: Any) -> Scope:
    return lambda actor: within(column, actor.region_code)


def of_region_or_above(column: Any) -> Scope:
    """What belongs to the own region, to one below it, or to one that it lies in."""
    return lambda actor: or_(within(column, actor.region_code), column.in_(at_or_above(actor.region_code)))


def of_clinic_in_region(clinic_id: Any) -> Scope:
    return lambda actor: clinic_id.in_(select(Clinic.id).where(within(Clinic.region_code, actor.region_code)))


def of_own_clinic(clinic_id: Any) -> Scope:
    return lambda actor: clinic_id.in_(select(Clinic.id).where(Clinic.organization_id == actor.id))


def unrestricted(actor: Actor) -> ColumnElement[bool]:
    """With the data of who is to be erased once a duty to keep has ended nothing is done but storing: workers do not
    see the person meanwhile, but for those who decide about it (PIPL art. 47)."""
    if actor.role is Role.RESIDENT or actor.may(Permission.ERASURE_DECIDE):
        return true()
    return Person.restricted_at.is_(None)


def lies_within(model: type[Person] | type[Household], id: Any, actor: Actor) -> ColumnElement[bool]:
    subject = aliased(model)  # a query around it may have people or households of its own
    return exists().where(subject.id == id, of_region(subject.region_code)(actor))


def nobody_restricted(actor: Actor, *people: Any) -> ColumnElement[bool]:
    """What is about somebody restricted is as unseen as the person."""
    if actor.may(Permission.ERASURE_DECIDE):
        return true()
    hidden = [aliased(Person) for _ in people]
    return and_(
        *(
            ~exists().where(one.id == id, one.restricted_at.is_not(None))
            for one, id in zip(hidden, people, strict=True)
        )
    )
