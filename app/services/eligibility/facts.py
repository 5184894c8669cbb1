"""The facts a rule may ask for: each is one SQL expression over a person, the spouse and the household.

A new fact is one entry in FACTS; `explain`, `sweep` and the validation of rules take it from there.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy import type_coerce as coerce
from sqlalchemy.orm import InstrumentedAttribute, aliased, join
from sqlalchemy.sql.expression import FromClause

from app import clock
from app.access import within
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.households import Couple, Household, HouseholdStatus, Membership, Person, Relation, Sex

# Aliased, so that the subqueries of `access.visible` over the same tables keep a FROM of their own.
Member = aliased(Membership, name="member")
Home = aliased(Household, name="home")
Spouse = aliased(Person, name="spouse")

#: An appointment in one of these uses up the cycle: the same list as the unique index on appointments.
COUNTED = (
    AppointmentStatus.HELD,
    AppointmentStatus.BOOKED,
    AppointmentStatus.ARRIVED,
    AppointmentStatus.FULFILLED,
)


class FactType(StrEnum):
    INT = "int"
    BOOL = "bool"
    CODE = "code"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Context:
    """For which service, in which region and on which business date the facts are read. `cycle_years`: once in so
    many calendar years."""

    service_id: uuid.UUID
    subject: Subject
    cycle: Cycle
    region_code: str
    today: date
    cycle_years: int = 1

    @classmethod
    def of(cls, service: HealthcareService) -> Self:
        return cls(
            service.id,
            service.subject,
            service.cycle,
            service.region_code,
            clock.today(),
            service.cycle_years,
        )


@dataclass(frozen=True, slots=True)
class Fact:
    """`unit` is a UCUM code; `codes` are all the values that a code may take."""

    key: str
    zh: str
    en: str
    type: FactType
    unit: str | None
    expression: Callable[[Context], ColumnElement[Any]]
    codes: tuple[str, ...] = ()


def population() -> FromClause:
    """Everyone who lives in a verified household, each once, with the current couple and spouse if any."""
    of_couple = and_(
        Couple.valid_to.is_(None), or_(Couple.wife_id == Person.id, Couple.husband_id == Person.id)
    )
    other = case((Couple.wife_id == Person.id, Couple.husband_id), else_=Couple.wife_id)
    return (
        join(Person, Member, and_(Member.person_id == Person.id, Member.valid_to.is_(None)))
        .join(Home, and_(Home.id == Member.household_id, Home.status == HouseholdStatus.ACTIVE))
        .outerjoin(Couple, of_couple)
        .outerjoin(Spouse, Spouse.id == other)
    )


def subject_id(context: Context) -> ColumnElement[Any]:
    """Whose appointments count: the couple's, or the person's own. NULL: a couple's service, no couple."""
    return (Couple.id if context.subject is Subject.COUPLE else Person.id).expression


def spouse_id(context: Context) -> ColumnElement[Any]:
    """Who takes part beside the person: no one in a service for a single person."""
    return Spouse.id.expression if context.subject is Subject.COUPLE else literal(None, Uuid)


def cycle_key(context: Context) -> ColumnElement[str]:
    """每孩次一次: `child-1` until the first child is registered, then `child-2` …; or the calendar year. Of an
    event each date is a cycle, known when a slot is chosen."""
    if context.cycle is Cycle.YEAR:
        return literal(str(context.today.year), Text)
    if context.cycle is Cycle.EVENT:
        return literal("event", Text)
    return func.concat("child-", _children(context) + 1, type_=Text)


def _cycles(context: Context) -> ColumnElement[bool]:
    """Appointments that count against the cycle: of once in three years those of this year and of the two before."""
    if context.cycle is not Cycle.YEAR:
        return Appointment.cycle == cycle_key(context)
    return Appointment.cycle.in_([str(context.today.year - years) for years in range(context.cycle_years)])


def _children(_: Context) -> ColumnElement[int]:
    # GB/T 4761 relations are to the head: a `child` is this couple's only if one of them heads the household
    # or is married to who does. Else, under a grandparent's roof, the couple would count as the children.
    parent, child = aliased(Membership), aliased(Membership)
    return (
        select(func.count(child.person_id.distinct()))
        .select_from(parent)
        .join(child, child.household_id == parent.household_id)
        .where(
            parent.person_id.in_([Person.id, Spouse.id]),
            parent.relation.in_([Relation.HEAD, Relation.SPOUSE]),
            parent.valid_to.is_(None),
            child.relation == Relation.CHILD,
            child.valid_to.is_(None),
        )
        .correlate(Person, Spouse)
        .scalar_subquery()
    )


def _services_this_cycle(context: Context) -> ColumnElement[int]:
    return (
        select(func.count())
        .select_from(Appointment)
        .where(
            Appointment.subject_id == subject_id(context),
            Appointment.service_id == context.service_id,
            _cycles(context),
            Appointment.status.in_(COUNTED),
        )
        .correlate(Person, Spouse, Couple)
        .scalar_subquery()
    )


def _elapsed(context: Context, since: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    # Without a time zone: age() of dates would else go through the session's.
    plain = DateTime(timezone=False)
    return func.age(cast(literal(context.today), plain), cast(since, plain))


def _full_years(context: Context, since: InstrumentedAttribute[Any]) -> ColumnElement[int]:
    return cast(func.date_part("year", _elapsed(context, since)), Integer)


def _full_months(context: Context, since: InstrumentedAttribute[Any]) -> ColumnElement[int]:
    elapsed = _elapsed(context, since)
    return cast(func.date_part("year", elapsed) * 12 + func.date_part("month", elapsed), Integer)


def _months_resident_of_both(context: Context) -> ColumnElement[int]:
    own = _full_months(context, Person.resident_since)
    spouses = _full_months(context, Spouse.resident_since)
    # least() skips NULL: a spouse whose residence is unknown must not pass on the other's months.
    both_known = and_(Person.resident_since.is_not(None), Spouse.resident_since.is_not(None))
    return case((Spouse.id.is_(None), own), (both_known, func.least(own, spouses)))


def _local(context: Context, hukou: InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    return func.coalesce(within(coerce(hukou, Text), context.region_code), False)


def _spouses_with_local_hukou(context: Context) -> ColumnElement[int]:
    return cast(_local(context, Person.hukou_region_code), Integer) + cast(
        _local(context, Spouse.hukou_region_code), Integer
    )


FACTS: dict[str, Fact] = {
    fact.key: fact
    for fact in (
        Fact(
            "household_verified", "家庭信息已核实", "Household verified", FactType.BOOL, None,
            lambda _: Home.status == HouseholdStatus.ACTIVE,
        ),
        Fact(
            "sex", "性别", "Sex", FactType.CODE, None,
            lambda _: cast(Person.sex, Text), codes=tuple(sex.value for sex in Sex),
        ),
        Fact(
            "birth_date", "出生日期", "Date of birth", FactType.DATE, None,
            lambda _: Person.birth_date.expression,
        ),
        Fact("age", "年龄（周岁）", "Age", FactType.INT, "a", lambda c: _full_years(c, Person.birth_date)),
        Fact("married", "已登记夫妻关系", "Married", FactType.BOOL, None, lambda _: Couple.id.is_not(None)),
        Fact(
            "plans_pregnancy", "计划怀孕", "Plans a pregnancy", FactType.BOOL, None,
            lambda _: func.coalesce(Couple.plans_pregnancy, False),
        ),
        Fact(
            "spouses_with_local_hukou", "夫妻中本地户籍人数", "Spouses with local household registration",
            FactType.INT, "{person}", _spouses_with_local_hukou,
        ),
        Fact(
            "months_resident_of_both", "夫妻双方本地居住满月数（取较短者）",
            "Full months both have lived here", FactType.INT, "mo", _months_resident_of_both,
        ),
        Fact(
            "local_hukou", "本人本地户籍", "Own local household registration", FactType.BOOL, None,
            lambda c: _local(c, Person.hukou_region_code),
        ),
        Fact(
            "months_resident", "本人本地居住满月数", "Full months lived here", FactType.INT, "mo",
            lambda c: _full_months(c, Person.resident_since),
        ),
        Fact(
            "services_this_cycle", "本周期内已预约或已享受次数", "Times booked or used in this cycle",
            FactType.INT, "{times}", _services_this_cycle,
        ),
        Fact("children", "子女数", "Children", FactType.INT, "{child}", _children),
    )
}  # fmt: skip
