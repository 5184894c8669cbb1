"""Who waits is moved, merged, renumbered or erased meanwhile; and who may see the line."""

import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import NotFound
from app.models.appointments import AppointmentStatus, Slot
from app.models.households import Sex
from app.models.identity import Role
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import eligibility, moves, regions
from app.services.appointments import entries
from app.services.duplicates import merging, undoing
from app.services.duplicates.obstacles import MergeBlocked
from app.services.idempotency import Key
from app.services.rights.anonymising import anonymise
from app.services.rights.held import HELD, about
from tests.clients import SYSTEM
from tests.factories import appointments as given
from tests.factories.appointments import Spouses
from tests.factories.families import EAST, WEST, villages
from tests.factories.twins import TOWN, home
from tests.factories.waiting import Place, full, join, place

W = WaitlistStatus


async def in_line(session: AsyncSession, count: int) -> tuple[Place, list[Spouses], list[WaitlistEntry]]:
    """Of the village EAST."""
    await villages(session)
    where, _, _, _ = await full(session, 1)
    families = [await given.couple(session, EAST) for _ in range(count)]
    for one in families:
        await eligibility.settle(session, one.wife_actor, service=where.service, person_id=one.wife.id)
    await session.commit()
    ids = [await join(one.wife_actor, where) for one in families]
    return where, families, [await session.get_one(WaitlistEntry, id) for id in ids]


async def seen(session: AsyncSession, actor: Actor, where: Place, **more: object) -> list[dict[str, object]]:
    asked = {
        "clinic_id": where.hospital.clinic.id,
        "service_code": where.service.code,
        "after": None,
        "limit": 9,
    }
    return await entries.in_line(session, actor, **asked | more)  # type: ignore[arg-type]


async def test_workers_see_who_of_their_region_waits_in_order_with_masked_names(
    session: AsyncSession,
) -> None:
    where, _, [first, second, third] = await in_line(session, 3)
    town = await given.worker(session)
    rows = await seen(session, town, where)
    assert [row["id"] for row in rows] == [first.id, second.id, third.id]
    assert (rows[0]["people"], rows[0]["first"]) == (["李*英", "王*军"], False)
    second.priority, third.status = 0, W.WITHDRAWN
    await session.flush()
    rows = await seen(session, town, where)
    assert [(row["id"], row["first"]) for row in rows] == [(second.id, True), (first.id, False)]
    rest = await seen(session, town, where, after=(0, second.number), limit=1)
    assert [row["id"] for row in rest] == [first.id]
    for other in (WEST, "640105000000"):
        assert await seen(session, await given.worker(session, other), where) == []
    assert await seen(session, town, await place(session)) == []
    with pytest.raises(NotFound):
        await seen(session, town, where, service_code="no_such_service")


async def test_who_waits_moves_with_the_household_and_the_village(session: AsyncSession) -> None:
    where, [family], [row] = await in_line(session, 1)
    officer = await given.worker(session, EAST[:9] + "000")
    plan = {"to_region_code": WEST, "address": "西村 5 号", "moved_on": "2026-08-15"}
    proposed = moves.ProposeMove.model_validate(
        {"household_id": family.household.id, "version": family.household.version, **plan}
    )
    await moves.propose(session, officer, key=Key(new_id(), b"move"), plan=proposed)
    await session.refresh(row)
    assert (row.region_code, row.status) == (WEST, W.WAITING)
    renumbered = "640104001299"
    line = f"{WEST},{renumbered},西社区,变更代码,{clock.today().isoformat()},"
    heading = "old_code,new_code,new_name,kind,effective_on,source"
    await regions.record_file(session, SYSTEM, f"{heading}\n{line}".encode(), dry_run=False)
    await regions.apply_due(session, Actor.system("regions"))
    await session.refresh(row)
    assert row.region_code == renumbered
    village = await given.worker(session, renumbered, Role.VILLAGE_WORKER)
    assert [one["id"] for one in await seen(session, village, where)] == [row.id]


async def an_entry(session: AsyncSession, where: Place, row: Slot, person_id: object) -> WaitlistEntry:
    now = clock.now()
    entry = WaitlistEntry(
        id=new_id(), clinic_id=row.clinic_id, service_id=where.service.id, subject_id=person_id, person_id=person_id,
        region_code=EAST, from_on=clock.today(), to_on=clock.today(), places=1, status=W.WAITING, created_at=now,
        changed_at=now,
    )  # fmt: skip
    session.add(entry)
    await session.flush()
    return entry


async def test_who_was_registered_twice_keeps_the_own_place_and_an_open_offer_is_answered_first(
    session: AsyncSession,
) -> None:
    where = Place(await given.clinic(session), await given.service(session, "health_lecture"))
    slot = await where.slot(session)
    pair = [given.person("李秀英", Sex.FEMALE) for _ in range(2)]
    for one in pair:
        await home(session, given.person("马建国", Sex.MALE), one)
    kept, lost = pair
    elsewhere = await where.slot(session, clinic=(await given.clinic(session)).clinic)
    theirs = await an_entry(session, where, slot, lost.id)
    own = await an_entry(session, where, slot, kept.id)
    other = await an_entry(session, where, elsewhere, lost.id)
    county = await given.worker(session)

    async def merge() -> uuid.UUID:
        merged = await merging.people(
            session, county, key=Key(new_id(), b"merge"), kept_id=kept.id, lost_id=lost.id, reason="同一人"
        )
        return merged.id

    attended = await given.attended(session, service_code="health_lecture", status=AppointmentStatus.BOOKED)
    theirs.status, theirs.appointment_id = W.OFFERED, attended.appointment.id
    await session.flush()
    with pytest.raises(MergeBlocked):
        async with session.begin_nested():
            await merge()
    await session.refresh(theirs)
    theirs.status = W.WAITING
    await session.flush()
    merge_id = await merge()
    for row in (own, theirs, other):
        await session.refresh(row)
        assert (row.person_id, row.subject_id, row.region_code) == (
            kept.id,
            kept.id,
            TOWN if row is not theirs else EAST,
        )
    assert [row.status for row in (own, theirs, other)] == [W.WAITING, W.WITHDRAWN, W.WAITING]
    await undoing.undo(session, county, id=merge_id, reason="弄错了")
    for row in (theirs, other):
        await session.refresh(row)
        assert (row.person_id, row.subject_id, row.status) == (lost.id, lost.id, W.WAITING)


async def test_an_entry_is_in_the_copy_of_both_and_ends_with_an_erasure(session: AsyncSession) -> None:
    _, [family, _], [row, stays] = await in_line(session, 2)
    [held] = [one for one in HELD if one.model is WaitlistEntry]
    for person in (family.wife, family.husband):
        mine = select(WaitlistEntry.id).where(held.of(await about(session, person.id)))
        assert list(await session.scalars(mine)) == [row.id]
    await anonymise(session, Actor.system("test"), family.husband)
    for one, status in ((row, W.WITHDRAWN), (stays, W.WAITING)):
        await session.refresh(one)
        assert one.status is status
