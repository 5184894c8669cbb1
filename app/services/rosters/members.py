"""Who is on a roster, in which capacity and since when."""

import uuid
from collections import defaultdict
from datetime import date
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, lies_in, visible, within
from app.crypto import mask_name, mask_phone
from app.errors import Invalid, WrongState
from app.models.households import Person
from app.models.regions import Region
from app.models.rosters import RosterKind, RosterMember, TrainingCertificate
from app.models.staff import StaffAccount
from app.services import audit, idempotency, regions
from app.services.idempotency import Key
from app.services.plain import Body, Day, Line, RegionCode, example, require_past

SHOWN: dict[str, Any] = {
    "kind": "volunteer",
    "name": "马秀兰",
    "phone": "13900000001",
    "region_code": "640104001000",
    "post": "巷长",
    "person_id": None,
    "staff_account_id": None,
    "joined_on": "2026-03-01",
}


class RosterEntry(Body):
    model_config = example(**SHOWN)

    kind: RosterKind
    name: Line
    phone: Annotated[str, Field(pattern=r"^[0-9+ -]{5,30}$")] | None = None
    region_code: RegionCode
    post: Line | None = None
    person_id: Annotated[uuid.UUID | None, Field(description="Who it is in the registry, if known there")] = (
        None
    )
    staff_account_id: Annotated[
        uuid.UUID | None, Field(description="The account that this person works with")
    ] = None
    joined_on: Day


async def enter(db: AsyncSession, actor: Actor, *, key: Key, new: RosterEntry) -> RosterMember:
    """Somebody in one capacity, in the worker's own region."""
    if await idempotency.claim(db, actor, key):
        await _check(db, actor, new)
        row = RosterMember(id=key.id, created_at=clock.now())
        _fill(row, new)
        db.add(row)
        await db.flush()  # so that an id already taken is refused here
        await record(db, actor, "enter", row)
    return await fetch(db, actor, RosterMember, key.id)


async def revise(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, new: RosterEntry
) -> RosterMember:
    """Replaces what is known of somebody who is still on the roster."""
    row = await _present(db, actor, id, version)
    await _check(db, actor, new, before=row)
    _fill(row, new)
    await record(db, actor, "revise", row)
    await db.flush()  # raises the version
    return row


async def leave(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, on: date) -> RosterMember:
    row = await _present(db, actor, id, version)
    if not row.joined_on <= on <= clock.today():
        raise Invalid.at("/left_on", "须在加入之后且不晚于今天", "must follow the joining, and not lie ahead")
    row.left_on = on
    await record(db, actor, "leave", row)
    await db.flush()  # raises the version
    return row


async def _present(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int) -> RosterMember:
    row = await fetch_version(db, actor, RosterMember, id, version)
    if row.left_on is not None:
        raise WrongState(status_now="left")
    return row


async def _check(
    db: AsyncSession, actor: Actor, new: RosterEntry, *, before: RosterMember | None = None
) -> None:
    if before is None or new.region_code != before.region_code:
        await regions.require_own_region(db, actor, new.region_code)
    require_past("/joined_on", new.joined_on)
    if new.person_id is not None and (before is None or new.person_id != before.person_id):
        await fetch(db, actor, Person, new.person_id)
    if new.staff_account_id is not None:
        # Workers see no account but their own; that one of the region exists is all that is asked here.
        account = select(StaffAccount.id).where(
            StaffAccount.id == new.staff_account_id, within(StaffAccount.region_code, actor.region_code)
        )
        if await db.scalar(account) is None:
            raise Invalid.at("/staff_account_id", "本辖区没有此账号", "no account of the own region")


def _fill(row: RosterMember, new: RosterEntry) -> None:
    for name, value in new.model_dump().items():
        setattr(row, name, value)


async def record(
    db: AsyncSession, actor: Actor, action: str, row: RosterMember, purpose: str | None = None
) -> None:
    """A look or a change, in the trail of the person too."""
    await audit.record(db, actor, action, "roster_member", row.id, people=[row.person_id], purpose=purpose)


def masked(row: RosterMember, *, unmasked: bool = False) -> dict[str, Any]:
    phone = row.phone
    return {
        "id": row.id, "kind": row.kind, "name": row.name if unmasked else mask_name(row.name),
        "phone": phone if unmasked or phone is None else mask_phone(phone), "region_code": row.region_code,
        "post": row.post, "person_id": row.person_id, "staff_account_id": row.staff_account_id,
        "joined_on": row.joined_on, "left_on": row.left_on, "version": row.version,
    }  # fmt: skip


async def listing(
    db: AsyncSession, actor: Actor, *, region_code: str | None, kind: RosterKind | None, left: bool,
    after: tuple[str, uuid.UUID] | None, limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Those of the worker's region, or of a part of it, by village; names and phones masked."""
    query = select(RosterMember).where(
        visible(actor, RosterMember), RosterMember.left_on.is_not(None) == left
    )
    if region_code is not None:
        query = query.where(within(RosterMember.region_code, region_code))
    if kind is not None:
        query = query.where(RosterMember.kind == kind)
    if after is not None:
        query = query.where(func.row(RosterMember.region_code, RosterMember.id) > func.row(*after))
    query = query.order_by(RosterMember.region_code, RosterMember.id).limit(limit)
    return [masked(row) for row in await db.scalars(query)]


async def detail(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str, unmasked: bool = False
) -> dict[str, Any]:
    """One of the roster with the certificates. The look is recorded, with its purpose."""
    row = await fetch(db, actor, RosterMember, id)
    await record(db, actor, "read_unmasked" if unmasked else "read", row, purpose)
    query = select(TrainingCertificate).where(TrainingCertificate.member_id == id)
    certificates = list(
        await db.scalars(query.order_by(TrainingCertificate.issued_on, TrainingCertificate.id))
    )
    return {"member": masked(row, unmasked=unmasked), "certificates": certificates}


async def counts(db: AsyncSession, actor: Actor, *, region_code: str) -> list[dict[str, Any]]:
    """How many of each kind are on the roster, for the region's own and for each division directly below it: they sum
    to the whole."""
    tally = (
        select(RosterMember.region_code, RosterMember.kind, func.count())
        .where(visible(actor, RosterMember), within(RosterMember.region_code, region_code))
        .where(RosterMember.left_on.is_(None))
        .group_by(RosterMember.region_code, RosterMember.kind)
    )
    below = select(Region).where(Region.parent_code == region_code).order_by(Region.code)
    divisions = [await regions.get(db, region_code), *await db.scalars(below)]
    sums: dict[str, dict[RosterKind, int]] = defaultdict(lambda: dict.fromkeys(RosterKind, 0))
    for code, kind, count in await db.execute(tally):
        sums[_division_of(code, divisions)][kind] += count
    return [
        {"region_code": region.code, "region_name": region.name, "counts": sums[region.code]}
        for region in divisions
        if region.code in sums or region.valid_to is None
    ]


def _division_of(code: str, divisions: list[Region]) -> str:
    """The last that holds it: the whole comes first, its parts after it."""
    return [region.code for region in divisions if lies_in(code, region.code)][-1]
