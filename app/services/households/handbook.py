"""The family handbook (家庭手册): each step of a household, written by every verb that touches it."""

import json
import uuid
from datetime import date
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import Household, Membership, Person
from app.models.identity import ResidentAccount
from app.services import audit, documents
from app.services.households.forms import Form


async def note(
    db: AsyncSession,
    actor: Actor,
    row: Household,
    kind: str,
    text: str | None = None,
    *,
    person_id: uuid.UUID | None = None,
    happened_on: date | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """A step in the handbook, and its audit. `text` says nothing personal: it stays for ever. What is personal goes
    into `detail`, which is sealed and can be erased: {"evidence": …, "old": …, "new": …}. The household's row
    must be in the database."""
    detail_id = None
    if detail is not None:
        detail_id = new_id()
        content = HandbookDetail(id=detail_id, person_id=person_id)
        content.content = json.dumps(detail, ensure_ascii=False, default=str)
        db.add(content)
    event = HouseholdEvent(
        household_id=row.id, at=clock.now(), kind=kind, actor_role=actor.role, actor_id=actor.id, note=text,
        person_id=person_id, happened_on=happened_on, detail_id=detail_id,
    )  # fmt: skip
    db.add(event)
    await audit.record(db, actor, kind, "household", row.id, people=[person_id, *await people_of(db, row)])


def members_of(row: Household) -> Select[uuid.UUID]:
    """The ids of those who belong to it now."""
    return select(Membership.person_id).where(
        Membership.household_id == row.id, Membership.valid_to.is_(None)
    )


async def people_of(db: AsyncSession, row: Household) -> list[uuid.UUID]:
    """Whose files a household is: its members and its registrant, before verification all in its form who are
    known."""
    form = Form.model_validate_json(row.form) if row.form else None
    written = [
        documents.read(member.document_kind, member.document_number).index
        for member in (form.members if form else ())
    ]
    known = select(func.coalesce(Person.merged_into, Person.id)).where(Person.document_index.in_(written))
    registrant = select(ResidentAccount.person_id).where(ResidentAccount.id == row.account_id)
    found = await db.scalars(members_of(row).union(registrant, known))
    return [person for person in found if person is not None]
