"""Out of the association's region, and back."""

import uuid
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Invalid
from app.models.households import Household, HouseholdStatus
from app.services import eligibility, regions
from app.services.households import belonging
from app.services.households.handbook import note
from app.services.households.registration import locked


async def move_out(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, left_on: date, to_region_code: str | None
) -> Household:
    """The family lives outside of the association's region: it stays a household with its members, who are counted
    nowhere here until they come back."""
    row = await locked(db, actor, id, version, HouseholdStatus.ACTIVE)
    _not_in_future("/left_on", left_on)
    if to_region_code is not None:
        await regions.require(db, {"/to_region_code": to_region_code})
    row.status, row.local_number = HouseholdStatus.MOVED_OUT, None  # the village may give it to another
    to_name = (await regions.get(db, to_region_code)).name if to_region_code else None
    await _recount(db, row)
    await note(db, actor, row, "moved_out", to_name, happened_on=left_on)
    return row


async def come_back(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, returned_on: date, address: str | None
) -> Household:
    """To the village that they left, where they are counted again; from there they may move on."""
    row = await locked(db, actor, id, version, HouseholdStatus.MOVED_OUT)
    _not_in_future("/returned_on", returned_on)
    await regions.require(db, {"/region_code": row.region_code})
    row.status = HouseholdStatus.ACTIVE
    before, row.address = row.address, address or row.address
    await _recount(db, row)
    detail = {"old": before, "new": row.address} if address else None
    await note(db, actor, row, "came_back", happened_on=returned_on, detail=detail)
    return row


async def _recount(db: AsyncSession, row: Household) -> None:
    people = await belonging.members(db, row)
    for person, _ in people.values():
        person.region_code = belonging.counted_in(row)
    await eligibility.lapse(db, people)


def _not_in_future(pointer: str, day: date) -> None:
    if day > clock.today():
        raise Invalid.at(pointer, "不能晚于今天", "lies in the future")
