"""Who may do what, and who sees which rows: the whole policy.

At the door a route names the permission it needs (`permissions`; 401, 403). In a query rows are reached only through
`fetch` or `visible` (`people`, `clinics`, `money`, `office`): what an actor cannot see does not exist for that actor
(404).
"""

import uuid
from typing import TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import clinics, money, office, people
from app.access.permissions import GRANTS, Actor, Permission
from app.access.regions import at_or_above, lies_in, region_bounds, within
from app.access.rules import (
    AGE_OF_OWN_CONSENT,
    Scope,
    own_household,
    own_person,
    under_guardian,
    unrestricted,
)
from app.db import Base
from app.errors import NotFound, StaleVersion

__all__ = [
    "AGE_OF_OWN_CONSENT", "GRANTS", "Actor", "Permission", "at_or_above", "fetch", "fetch_version", "lies_in",
    "own_household", "own_person", "region_bounds", "under_guardian", "unrestricted", "visible", "within",
]  # fmt: skip

SCOPE: dict[type[Base], Scope] = people.SCOPE | clinics.SCOPE | money.SCOPE | office.SCOPE


def visible(actor: Actor, model: type[Base]) -> ColumnElement[bool]:
    """The rows of a model that this actor may know of, as a WHERE condition."""
    return SCOPE[model](actor)


Row = TypeVar("Row", bound=Base)


async def fetch(
    db: AsyncSession, actor: Actor, model: type[Row], id: uuid.UUID, *, lock: bool = False
) -> Row:
    """One visible row, or NotFound. `lock` holds it until the transaction ends."""
    query = select(model).where(model.id == id, visible(actor, model))  # type: ignore[attr-defined]
    row = await db.scalar(query.with_for_update(of=model) if lock else query)
    if row is None:
        raise NotFound
    return row


async def fetch_version(db: AsyncSession, actor: Actor, model: type[Row], id: uuid.UUID, version: int) -> Row:
    """Locked for a change, at the version that the actor saw; else StaleVersion, with the one it has now."""
    row = await fetch(db, actor, model, id, lock=True)
    current: int = row.version  # type: ignore[attr-defined]
    if current != version:
        raise StaleVersion(current_version=current)
    return row
