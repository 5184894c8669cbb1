"""Out of the association's region, and back."""

import uuid
from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid
from app.models.households import Household, HouseholdStatus
from app.services import eligibility, regions
from app.services.households import belonging, family_types
from app.services.households.handbook import note
from app.services.households.registration import locked
from app.services.moves.plans import Mover, inside, require_one_head
from app.services.moves.proposing import require_members
from app.services.moves.relocation import found, heir, part
from app.services.plain import require_past


async def move_out(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, left_on: date, to_region_code: str | None,
    members: Sequence[Mover] = (), head_id: uuid.UUID | None = None,
) -> Household:  # fmt: skip
    """The family lives outside of the association's region: it stays a household with its members, who are counted
    nowhere here until they come back. So do those alone who are named, as a household of their own."""
    row = await locked(db, actor, id, version, HouseholdStatus.ACTIVE)
    require_past("/left_on", left_on)
    to_name = await _outside(db, to_region_code) if to_region_code else None
    require_one_head(members, founding=True)
    people = await require_members(db, row, members)
    head_id = heir(people, {one.person_id for one in members} or people, head_id)
    if members:
        named = {one.person_id: one.relation for one in members}
        own = await found(db, actor, row.region_code, HouseholdStatus.MOVED_OUT, None)
        await part(db, actor, row, own, people, named, on=left_on, head_id=head_id, text=to_name)
        await family_types.settle(db, [row.id])
        row = own
    else:
        row.status, row.local_number = HouseholdStatus.MOVED_OUT, None  # the village may give it to another
        await _recount(db, row)
    await note(db, actor, row, "moved_out", to_name, happened_on=left_on)
    return row


async def _outside(db: AsyncSession, region_code: str) -> str:
    """The name of a place that is not the association's."""
    await regions.require(db, {"/to_region_code": region_code})
    if inside(region_code):
        why = "在本会辖区内，请办理迁移", "inside the association: propose a move to it"
        raise Invalid.at("/to_region_code", *why)
    return (await regions.get(db, region_code)).name


async def come_back(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, returned_on: date, address: str | None
) -> Household:
    """To the village that they left, where they are counted again; from there they may move on."""
    row = await locked(db, actor, id, version, HouseholdStatus.MOVED_OUT)
    require_past("/returned_on", returned_on)
    await regions.require(db, {"/region_code": row.region_code})
    row.status = HouseholdStatus.ACTIVE
    before, row.address = row.address, address or row.address
    await _recount(db, row)
    detail = {"old": before, "new": row.address} if address else None
    await note(db, actor, row, "came_back", happened_on=returned_on, detail=detail)
    await family_types.settle(db, [row.id])
    return row


async def _recount(db: AsyncSession, row: Household) -> None:
    people = await belonging.members(db, row)
    for person, _ in people.values():
        person.region_code = belonging.counted_in(row)
    await eligibility.lapse(db, people)
