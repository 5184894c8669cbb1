"""Counts of so few people that neighbours would know who they are."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

#: Fewer are not shown.
SMALLEST = 5
Key = TypeVar("Key", bound=Hashable)


def few(people: Mapping[Key, int]) -> set[Key]:
    """Parts of a sum that are not shown: those of too few, and the next smallest until they are two and together not
    few, so that no difference to the sum tells."""
    ordered = sorted(people, key=lambda key: (people[key], str(key)))
    hidden = [key for key in ordered if people[key] < SMALLEST]
    for key in ordered[len(hidden) :] if hidden else ():
        if len(hidden) > 1 and sum(people[one] for one in hidden) >= SMALLEST:
            break
        hidden.append(key)
    return set(hidden)
