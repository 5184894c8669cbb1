"""Whatever the rule and whoever lives there: `explain`, `sweep` and the criteria's own flags say the same."""

import operator
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, Clinic, Slot
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.households import Couple, Household, HouseholdStatus, Membership, Person, Relation
from app.models.identity import ResidentAccount
from app.models.partners import Organization
from app.models.regions import Region
from app.services import eligibility
from app.services.eligibility import FACTS, All, Context, Criterion, FactType, Leaf, Not, Rule, rules

TODAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
COUNTY, TOWN, ELSEWHERE = "990101000000", "990101100000", "990202000000"
MADE = {"created_at": NOW}

DATES = st.dates(date(1970, 1, 1), TODAY) | st.sampled_from(
    [date(2006, 3, 1), date(2025, 9, 1), date(2024, 2, 29)]
)
VALUES = {
    FactType.BOOL: st.booleans(),
    FactType.INT: st.sampled_from([0, 1, 2, 6, 20, 50]),
    FactType.CODE: st.sampled_from(["male", "female"]),
    FactType.DATE: DATES.map(date.isoformat),
}
OPS = {
    FactType.BOOL: ["eq", "ne"],
    FactType.CODE: ["eq", "ne", "in"],
    FactType.INT: ["eq", "ne", "lt", "le", "gt", "ge", "in"],
    FactType.DATE: ["eq", "ne", "lt", "le", "gt", "ge", "in"],
}


@st.composite
def criteria(draw: st.DrawFn) -> dict[str, Any]:
    fact = draw(st.sampled_from(list(FACTS.values())))
    op = draw(st.sampled_from(OPS[fact.type]))
    values = VALUES[fact.type]
    value = draw(st.lists(values, min_size=1, max_size=3) if op == "in" else values)
    return {"fact": fact.key, "op": op, "value": value, "clause_zh": "条款", "clause_en": "clause"}


RULES = st.recursive(
    criteria(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
).map(eligibility.parse)


@st.composite
def populations(draw: st.DrawFn) -> dict[type, list[dict[str, Any]]]:
    """Two households and up to five people in them, some married, some with appointments."""
    homes = [
        {"id": new_id(), "number": 9_000_000_000 + i, "region_code": draw(st.sampled_from([TOWN, ELSEWHERE])),
         "status": draw(st.sampled_from([HouseholdStatus.ACTIVE] * 3 + [HouseholdStatus.SUBMITTED])),
         "marks": [], "version": 1, **MADE}
        for i in range(2)
    ]  # fmt: skip
    people = [draw(person(i)) for i in range(draw(st.integers(1, 5)))]
    members = [
        {"id": new_id(), "household_id": draw(st.sampled_from(homes))["id"], "person_id": one["id"],
         "relation": draw(st.sampled_from(Relation)), "valid_from": date(2020, 1, 1),
         "valid_to": draw(st.sampled_from([None] * 4 + [TODAY]))}
        for one in people
    ]  # fmt: skip
    couples = [
        {"id": new_id(), "wife_id": wife["id"], "husband_id": husband["id"], "valid_from": date(2020, 1, 1),
         "plans_pregnancy": draw(st.booleans()), "valid_to": draw(st.sampled_from([None, None, TODAY]))}
        for wife, husband in zip(people[::2], people[1::2], strict=False)
    ]  # fmt: skip
    return {Household: homes, Person: people, Membership: members, Couple: couples}


@st.composite
def person(draw: st.DrawFn, index: int) -> dict[str, Any]:
    return {
        "id": new_id(), "name": "某某", "pinyin": "mou mou", "initials": "mm",
        "sex": "female" if index % 2 == 0 else "male", "birth_date": draw(DATES),
        "document_kind": "resident_id", "document_number_sealed": b"", "document_index": uuid.uuid4().bytes,
        "hukou_region_code": draw(st.sampled_from([None, COUNTY, TOWN, ELSEWHERE])),
        "resident_since": draw(st.none() | DATES), **MADE,
    }  # fmt: skip


CONTEXTS = st.builds(
    Context,
    service_id=st.builds(new_id),
    subject=st.sampled_from(Subject),
    cycle=st.sampled_from(Cycle),
    region_code=st.just(COUNTY),
    today=st.just(TODAY),
)
BOOKINGS = st.lists(
    st.tuples(
        st.integers(0, 9), st.sampled_from(["child-1", "child-2", "2026"]), st.sampled_from(AppointmentStatus)
    ),
    max_size=4,
    unique_by=lambda booking: booking[:2],
)


async def arrange(
    db: AsyncSession, rows: dict[type, list[dict[str, Any]]], context: Context, bookings: list[Any]
) -> None:
    regions = [(COUNTY, 3, None), (TOWN, 4, COUNTY), (ELSEWHERE, 3, None)]
    common = {"valid_from": date(2026, 1, 1), "valid_to": None, "source": "test"}
    await db.execute(
        pg_insert(Region).on_conflict_do_nothing(),
        [{"code": c, "level": level, "parent_code": up, "name": c, **common} for c, level, up in regions],
    )
    for model, values in rows.items():
        if values:
            await db.execute(insert(model), values)
    await book(db, rows, context, bookings)


async def book(
    db: AsyncSession, rows: dict[type, list[dict[str, Any]]], context: Context, bookings: list[Any]
) -> None:
    subjects = [row["id"] for row in rows[Person] + rows[Couple]]
    made = {
        **await place(db, context), "service_id": context.service_id, "person_id": rows[Person][0]["id"],
        "region_code": COUNTY, **MADE,
    }  # fmt: skip
    values = [
        made
        | {"id": new_id(), "subject_id": subjects[i], "cycle": cycle, "code": str(new_id()), "status": status}
        | {"hold_expires_at": NOW if status == AppointmentStatus.HELD else None, **on_day(day)}
        for day, (i, cycle, status) in enumerate(bookings)
        if i < len(subjects)
    ]
    if values:
        await db.execute(insert(Appointment), values)


def on_day(day: int) -> dict[str, datetime]:
    """Nobody is in two places at one time: each appointment has a day of its own."""
    starts_at = NOW + timedelta(days=day)
    return {"starts_at": starts_at, "ends_at": starts_at + timedelta(hours=1)}


async def place(db: AsyncSession, context: Context) -> dict[str, uuid.UUID]:
    """The service, and what an appointment for it must point at."""
    service, hospital, clinic, slot, account = context.service_id, new_id(), new_id(), new_id(), new_id()
    name, here = str(service), {"region_code": COUNTY, **MADE}
    arranged: list[tuple[type, dict[str, Any]]] = [
        (HealthcareService, {
            "id": service, "code": name, "zh": "", "en": "", "preparation_zh": "", "preparation_en": "",
            "subject": context.subject, "cycle": context.cycle, "rule_code": name, "region_code": COUNTY,
            "validity_months": 6, "active": True,
        }),
        (Organization, {"id": hospital, "name": name, "algorithm": "hmac-sm3", **here}),
        (Clinic, {"id": clinic, "organization_id": hospital, "name": "", "address": "", "phone": "", **here}),
        (Slot, {
            "id": slot, "clinic_id": clinic, "service_id": service, "capacity": 9, "booked": 0,
            "opens_at": NOW, "status": "open", **on_day(0), **MADE,
        }),
        (ResidentAccount, {"id": account, "openid": name, **MADE}),
    ]  # fmt: skip
    for model, values in arranged:
        await db.execute(insert(model), [values])
    return {"clinic_id": clinic, "slot_id": slot, "account_id": account}


COMPARE = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}


def passes(criterion: Criterion) -> bool:
    if criterion.value is None:
        return False
    if criterion.op == "in":
        return criterion.value in criterion.expected
    return bool(COMPARE[criterion.op](criterion.value, criterion.expected))


def verdict(rule: Rule, flags: Iterator[bool]) -> bool:
    """The tree over its leaves' flags, taken in the order written; none is skipped."""
    if isinstance(rule, Leaf):
        return next(flags)
    parts = [verdict(part, flags) for part in rules.children(rule)]
    if isinstance(rule, Not):
        return not parts[0]
    return all(parts) if isinstance(rule, All) else any(parts)


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # each example fills a database: shrinking takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(rule=RULES, rows=populations(), context=CONTEXTS, bookings=BOOKINGS)
async def test_three_readings_agree(
    session: AsyncSession,
    rule: Rule,
    rows: dict[type, list[dict[str, Any]]],
    context: Context,
    bookings: list[Any],
) -> None:
    async with session.begin_nested() as savepoint:
        await arrange(session, rows, context, bookings)
        swept = [
            person_id
            for region in (COUNTY, ELSEWHERE)
            for person_id in await session.scalars(eligibility.sweep(rule, context, region))
        ]
        assert len(swept) == len(set(swept))
        homes = {home["id"] for home in rows[Household] if home["status"] == HouseholdStatus.ACTIVE}
        for member in rows[Membership]:
            explained = await eligibility.explain(
                session, Actor.system("test"), rule, context=context, person_id=member["person_id"]
            )
            verified = member["household_id"] in homes and member["valid_to"] is None
            assert explained.eligible == (member["person_id"] in swept)
            if not verified:
                assert not explained.eligible
                continue
            flags = [criterion.passed for criterion in explained.criteria]
            assert flags == [passes(criterion) for criterion in explained.criteria]
            assert explained.eligible == verdict(rule, iter(flags))
            assert explained.eligible != any(criterion.blocking for criterion in explained.criteria)
        await savepoint.rollback()
