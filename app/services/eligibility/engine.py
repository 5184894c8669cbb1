"""One compiled condition, two readings: `explain` for one person, `sweep` for all who live in a region."""

import operator
import uuid
from collections.abc import Callable, Iterator
from typing import Any as Anything
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, and_, false, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, visible, within
from app.models.households import Person
from app.services.eligibility.facts import FACTS, Context, Home, cycle_key, population, spouse_id, subject_id
from app.services.eligibility.rules import (
    All,
    Any,
    Leaf,
    Not,
    Op,
    Rule,
    Scalar,
    Value,
    children,
    leaves,
    walk,
)

_COMPARE: dict[Op, Callable[[ColumnElement[Anything], Anything], ColumnElement[bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "in": lambda fact, choices: fact.in_(choices),
}

UNVERIFIED = Leaf(
    fact="household_verified",
    op="eq",
    value=True,
    clause_zh="家庭信息经核实后方可享受服务",
    clause_en="The household must be verified first",
)


class Criterion(BaseModel):
    """One criterion as met or not. `blocking`: the refusal rests on it; one that did not pass but whose
    alternative did is not blocking."""

    model_config = ConfigDict(frozen=True)

    fact: str
    zh: str
    en: str
    value: Scalar | None
    unit: str | None
    op: Op
    expected: Value
    clause_zh: str
    clause_en: str
    passed: bool
    blocking: bool


class Explanation(BaseModel):
    model_config = ConfigDict(frozen=True)

    eligible: bool
    criteria: list[Criterion]

    def failing(self) -> list[dict[str, Anything]]:
        """The criteria that the refusal rests on, as JSON."""
        return [criterion.model_dump(mode="json") for criterion in self.criteria if criterion.blocking]


class Standing(NamedTuple):
    """For whom a service would be booked, and in which cycle."""

    subject_id: uuid.UUID | None
    spouse_id: uuid.UUID | None
    cycle: str
    region_code: str


def compile(rule: Rule, context: Context) -> ColumnElement[bool]:
    """The rule as one SQL condition over `population()`. Two-valued: an unknown fact fails its criterion."""
    match rule:
        case All():
            return and_(*(compile(part, context) for part in rule.all))
        case Any():
            return or_(*(compile(part, context) for part in rule.any))
        case Not():
            return not_(compile(rule.not_, context))
        case Leaf():
            fact = FACTS[rule.fact].expression(context)
            return func.coalesce(_COMPARE[rule.op](fact, rule.value), false())


async def explain(
    db: AsyncSession, actor: Actor, rule: Rule, *, context: Context, person_id: uuid.UUID
) -> Explanation:
    """Why, or why not: each criterion, its value, its clause, and whether it passed. NotFound if the actor
    may not know the person."""
    explanation, _ = await read(db, actor, rule, context=context, person_id=person_id)
    return explanation


def sweep(rule: Rule, context: Context, region_code: str) -> Select[uuid.UUID]:
    """The ids of all in the region, or below it, whom the rule admits, whoever asks."""
    return (
        select(Person.id)
        .select_from(population())
        .where(within(Home.region_code, region_code), compile(rule, context))
    )


async def read(
    db: AsyncSession, actor: Actor, rule: Rule, *, context: Context, person_id: uuid.UUID
) -> tuple[Explanation, Standing | None]:
    """`explain`, and in the same query the standing that a decision would rest on; none if unverified."""
    nodes = list(walk(rule))
    found = leaves(rule)
    query = (
        select(
            subject_id(context), spouse_id(context), cycle_key(context), Home.region_code,
            *(compile(node, context).label(f"passed_{i}") for i, node in enumerate(nodes)),
            *(FACTS[leaf.fact].expression(context).label(f"value_{i}") for i, leaf in enumerate(found)),
        )
        .select_from(population())
        .where(Person.id == person_id, visible(actor, Person))
    )  # fmt: skip
    row = (await db.execute(query)).first()
    if row is None:
        await fetch(db, actor, Person, person_id)
        return _unverified(rule), None
    subject, spouse, cycle, region, *columns = row
    flags: dict[Rule, bool] = dict(zip(nodes, columns, strict=False))
    return _explanation(rule, flags, columns[len(nodes) :]), Standing(subject, spouse, cycle, region)


def _explanation(rule: Rule, flags: dict[Rule, bool], values: list[Scalar | None]) -> Explanation:
    blocking = set(_blocking(rule, flags, wanted=True))
    criteria = [
        _criterion(leaf, value, passed=flags[leaf], blocking=leaf in blocking)
        for leaf, value in zip(leaves(rule), values, strict=True)
    ]
    return Explanation(eligible=flags[rule], criteria=criteria)


def _blocking(rule: Rule, flags: dict[Rule, bool], *, wanted: bool) -> Iterator[Leaf]:
    """The leaves that keep a node from what is wanted of it; every flag was computed by the database."""
    if flags[rule] == wanted:
        return
    if isinstance(rule, Leaf):
        yield rule
    for child in children(rule):
        yield from _blocking(child, flags, wanted=wanted != isinstance(rule, Not))


def _unverified(rule: Rule) -> Explanation:
    own = next((leaf for leaf in leaves(rule) if leaf.fact == UNVERIFIED.fact), UNVERIFIED)
    leaf = own.model_copy(update={"op": "eq", "value": True})
    return Explanation(eligible=False, criteria=[_criterion(leaf, False, passed=False, blocking=True)])


def _criterion(leaf: Leaf, value: Scalar | None, *, passed: bool, blocking: bool) -> Criterion:
    fact = FACTS[leaf.fact]
    return Criterion(
        fact=fact.key, zh=fact.zh, en=fact.en, value=value, unit=fact.unit, op=leaf.op, expected=leaf.value,
        clause_zh=leaf.clause_zh, clause_en=leaf.clause_en, passed=passed, blocking=blocking,
    )  # fmt: skip
