"""The tables, one file per domain. Importing this package fills `Base.metadata`."""

from app.models import (
    appointments,
    audit,
    consents,
    follow_ups,
    households,
    identity,
    messages,
    partners,
    regions,
    results,
    rules,
    staff,
)

__all__ = [
    "appointments",
    "audit",
    "consents",
    "follow_ups",
    "households",
    "identity",
    "messages",
    "partners",
    "regions",
    "results",
    "rules",
    "staff",
]
