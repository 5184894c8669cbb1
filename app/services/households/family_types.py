"""The four family types (发展型 / 稳定型 / 老年型 / 新市民): by rule, unless a worker decided otherwise with a reason.

The rule is one SQL expression with its thresholds in app/data/family_types.json. It is not one of the eligibility
engine's rules: those are about a person and a service, and read a fact for each leaf; here one look at the
members of a household gives all facts at once, for one household as for a million.
"""

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Label,
    Subquery,
    Uuid,
    and_,
    any_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, attributes
from sqlalchemy.orm.util import identity_key

from app import clock
from app.access import Actor, Permission
from app.db import begin
from app.models.handbook import HouseholdEvent
from app.models.households import Couple, FamilyType, Household, HouseholdStatus, Membership, Person, Relation
from app.models.identity import Role
from app.models.imports import KEPT, ImportBatch
from app.services import audit
from app.settings import ROOT

#: The job that settles all households; whoever has changed very many of them queues it.
JOB = "settle_family_types"
CHUNK = 5000
BY_RULE = Actor.system("family type rule")
Home = aliased(Household, name="home")
TYPE = Household.__table__.c.family_type


class Clause(BaseModel):
    zh: str
    en: str


class Rule(BaseModel):
    """Ages in full years, both ends included; the first digits of a region code that make one place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adult_from: int
    elderly_from: int
    childbearing_from: int
    childbearing_to: int
    same_place_digits: int
    clauses: dict[FamilyType, Clause]


@cache
def rule() -> Rule:
    return Rule.model_validate_json((ROOT / "app" / "data" / "family_types.json").read_text(encoding="utf-8"))


def _among(column: Any, ids: Sequence[uuid.UUID]) -> ColumnElement[bool]:
    """As one array: thousands of parameters take longer than what is asked."""
    return column == any_(literal(list(ids), ARRAY(Uuid)))  # type: ignore[no-any-return]


def counted(*, born: Any, wife: Any, relation: Any, lives: Any, belongs: Any) -> list[Label[int]]:
    """What the rule looks at, counted over the members of a household: `born` when, `wife` of a couple or not, the
    `relation` to the head; `lives` and `belongs` are region codes, the second that of the hukou. Who has no `born` and
    no `belongs` is none of them."""
    ages = rule()
    childbearing = and_(
        wife,
        born <= clock.years_ago(ages.childbearing_from),
        born > clock.years_ago(ages.childbearing_to + 1),
    )
    elsewhere = func.left(belongs, ages.same_place_digits) != func.left(lives, ages.same_place_digits)
    among = {
        "minors": born > clock.years_ago(ages.adult_from),
        "elders": born <= clock.years_ago(ages.elderly_from),
        "wives_of_childbearing_age": childbearing,
        "heads_from_elsewhere": and_(relation == Relation.HEAD, elsewhere),
    }
    counts = [func.count().filter(who).label(name) for name, who in among.items()]
    return [func.count(born).label("members"), *counts]


def _facts(household_ids: Sequence[uuid.UUID]) -> Subquery:
    """One row for each household with members."""
    columns = counted(
        born=Person.birth_date, wife=Couple.id.is_not(None), relation=Membership.relation,
        lives=Home.region_code, belongs=Person.hukou_region_code,
    )  # fmt: skip
    return (
        select(Membership.household_id, *columns)
        .join(Home, Home.id == Membership.household_id)
        .join(Person, Person.id == Membership.person_id)
        .outerjoin(Couple, and_(Couple.wife_id == Person.id, Couple.valid_to.is_(None)))
        .where(_among(Membership.household_id, household_ids), Membership.valid_to.is_(None))
        .group_by(Membership.household_id)
        .subquery()
    )


def verdict(facts: Subquery) -> ColumnElement[Any]:
    """Of such counts the type that the rule gives: the first that fits."""
    found = facts.c
    return case(
        (found.heads_from_elsewhere > 0, literal(FamilyType.NEW_CITIZEN, TYPE.type)),
        (found.elders == found.members, literal(FamilyType.ELDERLY, TYPE.type)),
        (found.minors + found.wives_of_childbearing_age > 0, literal(FamilyType.DEVELOPING, TYPE.type)),
        else_=literal(FamilyType.STABLE, TYPE.type),
    )


async def settle(db: AsyncSession, household_ids: Sequence[uuid.UUID]) -> int:
    """Decide the type of these active households anew, but for those where a worker decided; how many changed.
    Whoever changes the members, a marriage or the place of a household calls it last: the rows are locked
    first, so that of two changes at once the later sees both. A few thousand at a time; the version stays, since
    nobody's edit grows stale by it."""
    before = await _hold(db, household_ids)
    if not before:
        return 0
    facts = _facts(list(before))
    statement = (
        update(Household)
        .where(Household.id == facts.c.household_id, TYPE.is_distinct_from(verdict(facts)))
        .values(family_type=verdict(facts))
        .returning(Household.id, Household.family_type)
        .execution_options(synchronize_session=False)
    )
    changed = dict((await db.execute(statement)).all())
    if changed:
        _refresh(db, changed)
        await _note(db, {id: now for id, now in changed.items() if before[id] is not None})
        await audit.record(db, BY_RULE, "settle", "family_type")
    return len(changed)


async def _hold(db: AsyncSession, household_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, FamilyType | None]:
    """The rows that the rule decides, locked in one order, with their types so far."""
    decided = select(Household.id, Household.family_type).where(
        _among(Household.id, household_ids),
        Household.status == HouseholdStatus.ACTIVE,
        Household.family_type_overridden_by.is_(None),
    )
    rows = await db.execute(decided.order_by(Household.id).with_for_update(key_share=True))
    return dict(rows.all())


def _refresh(db: AsyncSession, changed: dict[uuid.UUID, FamilyType | None]) -> None:
    """What this transaction holds in memory says so too."""
    for id, now in changed.items():
        row = db.identity_map.get(identity_key(Household, id))
        if row is not None:
            attributes.set_committed_value(row, "family_type", now)


async def _note(db: AsyncSession, changed: dict[uuid.UUID, FamilyType | None]) -> None:
    """A step in each handbook; a household's first type is part of its verification. None while the household may go
    again with its import: a step stays for ever, so that a birthday would make the undo impossible."""
    committed = ImportBatch.committed_at
    passing = select(Household.id).join(ImportBatch, ImportBatch.id == Household.import_batch_id)
    passing = passing.where(
        Household.id.in_(changed), or_(committed.is_(None), committed > clock.now() - KEPT)
    )
    kept = changed.keys() - set(await db.scalars(passing)) if changed else ()
    step = {"at": clock.now(), "kind": "family_type_settled", "actor_role": BY_RULE.role}
    steps = [{**step, "household_id": id, "note": changed[id]} for id in kept]
    if steps:
        await db.execute(insert(HouseholdEvent), steps)


async def settle_all() -> int:
    """For birthdays, every night: all active households, a few thousand in a transaction; how many changed."""
    last, changed = uuid.UUID(int=0), 0
    while True:
        async with begin() as db:
            active = select(Household.id).where(
                Household.id > last, Household.status == HouseholdStatus.ACTIVE
            )
            ids = list(await db.scalars(active.order_by(Household.id).limit(CHUNK)))
            if not ids:
                return changed
            last = ids[-1]
            # Only those are locked that seem to change.
            facts = _facts(ids)
            stale = select(Household.id).join(facts, facts.c.household_id == Household.id)
            stale = stale.where(TYPE.is_distinct_from(verdict(facts)))
            changed += await settle(db, list(await db.scalars(stale)))


async def basis(db: AsyncSession, actor: Actor, row: Household) -> dict[str, Any] | None:
    """Why an active household is of its type: the rule's verdict with its clause and what it looked at, and a
    worker's reason for another, for those who verify and for the family itself."""
    if row.status is not HouseholdStatus.ACTIVE:
        return None
    facts = _facts([row.id])
    found = (await db.execute(select(facts, verdict(facts).label("verdict")))).mappings().first()
    if found is None:
        return None
    seen = dict(found)
    given = seen.pop("verdict")
    del seen["household_id"]
    told = actor.role is Role.RESIDENT or actor.may(Permission.HOUSEHOLD_VERIFY)
    return {
        "by_rule": row.family_type_overridden_by is None,
        "verdict": given,
        "clause_zh": rule().clauses[given].zh,
        "clause_en": rule().clauses[given].en,
        "facts": seen,
        "reason": row.family_type_reason if told else None,
    }
