"""Who may have which service, and why: rules are data, facts are SQL, and there is one evaluator."""

from app.services.eligibility.engine import Criterion, Explanation, compile, explain, sweep
from app.services.eligibility.facts import FACTS, Context, Fact, FactType, cycle_key, population
from app.services.eligibility.rules import All, Any, Leaf, Not, Rule, parse
from app.services.eligibility.settlement import (
    NoRuleInForce,
    NotEligible,
    explain_service,
    lapse,
    rule_in_force,
    settle,
    settle_standing,
    spouse_of,
)

__all__ = [
    "FACTS",
    "All",
    "Any",
    "Context",
    "Criterion",
    "Explanation",
    "Fact",
    "FactType",
    "Leaf",
    "NoRuleInForce",
    "Not",
    "NotEligible",
    "Rule",
    "compile",
    "cycle_key",
    "explain",
    "explain_service",
    "lapse",
    "parse",
    "population",
    "rule_in_force",
    "settle",
    "settle_standing",
    "spouse_of",
    "sweep",
]
