"""A rule is a JSON tree of all / any / not over named facts, each leaf with its policy clause."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.services.eligibility.facts import FACTS, Fact, FactType

MAX_DEPTH = 8
MAX_NODES = 100
MAX_CHOICES = 50
MAX_NUMBER = 1_000_000

Op: TypeAlias = Literal["eq", "ne", "lt", "le", "gt", "ge", "in"]
Scalar: TypeAlias = bool | int | str | date
Value: TypeAlias = Scalar | tuple[Scalar, ...]
Clause: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]

_ORDERED = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "in"})
_OPS: dict[FactType, frozenset[str]] = {
    FactType.INT: _ORDERED,
    FactType.DATE: _ORDERED,
    FactType.CODE: frozenset({"eq", "ne", "in"}),
    FactType.BOOL: frozenset({"eq", "ne"}),
}


def _scalar(fact: Fact, value: object) -> Scalar:
    """The value as the fact's type. Nothing is converted but a date from its ISO 8601 text."""
    match fact.type, value:
        case FactType.BOOL, bool():
            return value
        case FactType.INT, int() if not isinstance(value, bool) and abs(value) <= MAX_NUMBER:
            return value
        case FactType.CODE, str() if value in fact.codes:
            return value
        case FactType.DATE, date():
            return value
        case FactType.DATE, str():
            return date.fromisoformat(value)
    allowed = f" of {', '.join(fact.codes)}" if fact.codes else ""
    raise ValueError(f"fact '{fact.key}' needs a value of type {fact.type.value}{allowed}")


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Leaf(_Node):
    """One criterion: a fact, a comparison, and the clause of the policy that asks for it."""

    fact: str
    op: Op
    value: Value
    clause_zh: Clause
    clause_en: Clause

    @field_validator("fact")
    @classmethod
    def _known(cls, fact: str) -> str:
        if fact not in FACTS:
            raise ValueError(f"unknown fact '{fact[:60]}'; known facts: {', '.join(FACTS)}")
        return fact

    @field_validator("value", mode="before")
    @classmethod
    def _typed(cls, value: object, info: ValidationInfo) -> Value:
        if not {"fact", "op"} <= info.data.keys():
            raise ValueError("cannot be checked until fact and op are valid")
        fact, op = FACTS[info.data["fact"]], info.data["op"]
        if op not in _OPS[fact.type]:
            raise ValueError(f"fact '{fact.key}' of type {fact.type.value} cannot be compared with '{op}'")
        if op != "in":
            return _scalar(fact, value)
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_CHOICES:
            raise ValueError(f"'in' needs a list of 1 to {MAX_CHOICES} values")
        return tuple(_scalar(fact, choice) for choice in value)


class All(_Node):
    all: tuple["Rule", ...] = Field(min_length=1, max_length=MAX_NODES, strict=False)


class Any(_Node):
    any: tuple["Rule", ...] = Field(min_length=1, max_length=MAX_NODES, strict=False)


class Not(_Node):
    not_: "Rule" = Field(alias="not")


def _kind(node: object) -> str | None:
    if isinstance(node, Mapping):
        return next((key for key in ("fact", "all", "any", "not") if key in node), None)
    kinds: dict[type[object], str] = {Leaf: "fact", All: "all", Any: "any", Not: "not"}
    return kinds.get(type(node))


Rule: TypeAlias = Annotated[
    Annotated[Leaf, Tag("fact")]
    | Annotated[All, Tag("all")]
    | Annotated[Any, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _kind,
        custom_error_type="rule_node",
        custom_error_message="a rule is one of {all: […]}, {any: […]}, {not: …} or a criterion with a fact",
    ),
]


class RuleBody(RootModel[Rule]):
    """The whole tree, bounded before anything recurses into it."""

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, body: object) -> object:
        stack, nodes = [(body, 1)], 0
        while stack:
            node, depth = stack.pop()
            nodes += 1
            if depth > MAX_DEPTH or nodes > MAX_NODES:
                raise ValueError(f"a rule has at most {MAX_DEPTH} levels and {MAX_NODES} nodes")
            if isinstance(node, Mapping):
                for key in ("all", "any", "not"):
                    parts = node.get(key, ())
                    stack += [(p, depth + 1) for p in (parts if isinstance(parts, list | tuple) else [parts])]
        return body


def parse(body: Mapping[str, object]) -> Rule:
    """The rule that a stored body states; pydantic's ValidationError says where it does not state one."""
    return RuleBody.model_validate(body).root


def children(rule: Rule) -> tuple[Rule, ...]:
    match rule:
        case All():
            return rule.all
        case Any():
            return rule.any
        case Not():
            return (rule.not_,)
        case _:
            return ()


def walk(rule: Rule) -> Iterator[Rule]:
    """Every node, a parent before its children, in the order written."""
    yield rule
    for child in children(rule):
        yield from walk(child)


def leaves(rule: Rule) -> list[Leaf]:
    return [node for node in walk(rule) if isinstance(node, Leaf)]
