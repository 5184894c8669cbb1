"""Of whom a rotation is: everybody in its region whom the rule of the service admits, whatever they had before."""

from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, case, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import within
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.models.households import Person
from app.models.rotations import OPEN_TURNS, Rotation, RotationStatus, RotationTurn
from app.services.eligibility import All, Context, Leaf, Not, Rule, population, rule_in_force
from app.services.eligibility import Any as AnyOf
from app.services.eligibility import compile as condition
from app.services.eligibility.facts import Home

HAD_BEFORE = "services_this_cycle"


def whatever_had_before(rule: Rule, *, met: bool = True) -> Rule:
    """The rule with what it asks about earlier services taken as met: when it is whose turn, the plan says itself."""
    match rule:
        case All():
            return All(all=tuple(whatever_had_before(part, met=met) for part in rule.all))
        case AnyOf():
            return AnyOf(any=tuple(whatever_had_before(part, met=met) for part in rule.any))
        case Not():
            return Not.model_validate({"not": whatever_had_before(rule.not_, met=not met)})
        case Leaf() if rule.fact == HAD_BEFORE:
            # True of everybody in population().
            return rule.model_copy(update={"fact": "household_verified", "op": "eq", "value": met})
        case _:
            return rule


def years_of(rotation: Rotation) -> list[int]:
    """Those that are not over."""
    last = rotation.first_year + rotation.years
    return [year for year in range(rotation.first_year, last) if year >= clock.today().year]


async def found(db: AsyncSession, rotation: Rotation) -> CTE:
    """Each person with village, year of the last check and the years in which the turn may lie: `years` after that
    check at the earliest, and only while the rule will admit the person until the year's end."""
    service = await db.get_one(HealthcareService, rotation.service_id)
    _, rule = await rule_in_force(db, service)
    rule = whatever_had_before(rule)
    years = years_of(rotation)
    begin = max(clock.today(), date(years[0], 1, 1))
    checked = _last_check(rotation)
    last: Any = literal(years[-1], BigInteger)
    for year in reversed(years):
        last = case((~_of_group(rule, service, date(year, 12, 31)), max(years[0], year - 1)), else_=last)
    people = (
        select(
            Person.id.label("person_id"),
            Home.region_code,
            checked.label("checked_year"),
            last.label("last_year"),
        )
        .select_from(population())
        .where(within(Home.region_code, rotation.region_code), _of_group(rule, service, begin))
        .where(Person.restricted_at.is_(None))
        .cte("people")
    )
    return _with_first_year(people, rotation, years)


def _with_first_year(people: CTE, rotation: Rotation, years: list[int]) -> CTE:
    after = func.coalesce(people.c.checked_year + rotation.years, years[0])
    first = func.greatest(after, years[0])
    columns = people.c.person_id, people.c.region_code, people.c.checked_year
    # Whoever will be of the group no more by then comes in the last year that is left.
    return select(
        *columns, first.label("first_year"), func.greatest(people.c.last_year, first).label("last_year")
    ).cte("found")


def _of_group(rule: Rule, service: HealthcareService, day: date) -> ColumnElement[bool]:
    return condition(rule, replace(Context.of(service), today=day))


def comes_by_another(rotation: Rotation) -> ColumnElement[bool]:
    """Whether somebody of this rotation has a month in the one before it, which still goes on."""
    turn = aliased(RotationTurn)
    before = select(Rotation.id).where(
        Rotation.service_id == rotation.service_id, Rotation.status == RotationStatus.PUBLISHED,
        Rotation.first_year < rotation.first_year,
    )  # fmt: skip
    coming = turn.status.in_(OPEN_TURNS) & turn.month.is_not(None) & turn.rotation_id.in_(before)
    return select(turn.id).where(turn.person_id == RotationTurn.person_id, coming).exists()


def _last_check(rotation: Rotation) -> Any:
    """By the service itself, at any clinic, or elsewhere as it was told."""
    here = select(func.max(cast(Appointment.cycle, Integer))).where(
        Appointment.subject_id == Person.id,
        Appointment.service_id == rotation.service_id,
        Appointment.status == AppointmentStatus.FULFILLED,
    )
    elsewhere = (
        select(func.max(cast(func.date_part("year", RotationTurn.checked_on), Integer)))
        .join(Rotation, Rotation.id == RotationTurn.rotation_id)
        .where(RotationTurn.person_id == Person.id, Rotation.service_id == rotation.service_id)
    )
    return func.greatest(
        here.correlate(Person).scalar_subquery(), elsewhere.correlate(Person).scalar_subquery()
    )
