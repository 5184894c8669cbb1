"""Merges at once with other merges, bookings, verifications and undoings: on real commits, nothing left behind."""

import asyncio
import uuid
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app import db, errors
from app.access import Actor
from app.db import new_id
from app.journey import couple
from app.models.appointments import Appointment
from app.models.households import Membership, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.services import eligibility
from app.services.duplicates import deciding, finding, merging, undoing
from app.services.duplicates.references import moved
from app.services.idempotency import Key
from tests.database import WAITING
from tests.factories import appointments as given
from tests.factories.twins import home, somebody
from tests.races.test_booking_races import a_submitted_form, book, outcomes, verify

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS = 6


async def merge(actor: Actor, kept: uuid.UUID, lost: uuid.UUID, key: Key | None = None) -> None:
    async with db.begin() as session:
        await merging.people(
            session, actor, key=key or Key(new_id(), b"m"), kept_id=kept, lost_id=lost, reason="同一人"
        )


async def undo(actor: Actor, id: uuid.UUID) -> None:
    async with db.begin() as session:
        await undoing.undo(session, actor, id=id, reason="弄错了")


async def dismiss(actor: Actor, id: uuid.UUID) -> None:
    async with db.begin() as session:
        await deciding.dismiss(session, actor, id=id, reason="两个人")


async def confirm(actor: Actor, id: uuid.UUID, keep: uuid.UUID) -> None:
    async with db.begin() as session:
        await deciding.confirm(session, actor, key=Key(new_id(), b"c"), id=id, keep=keep, reason="同一人")


async def patient(call: Any, *args: Any) -> None:
    """Tries again while it is told to."""
    for _ in range(10):
        try:
            await call(*args)
        except Exception as error:
            if errors.to_problem(error).status != 503:
                raise
        else:
            return


async def left_behind() -> dict[str, int]:
    """What still refers to somebody who was merged."""
    found = {}
    async with db.begin() as session:
        gone = select(Person.id).where(Person.merged_into.is_not(None))
        for place, name in moved("person"):
            rows = select(func.count()).select_from(place).where(place.c[name].in_(gone))
            if count := await session.scalar(rows):
                found[f"{place.name}.{name}"] = count
        twice = (
            select(Membership.person_id).where(Membership.valid_to.is_(None)).group_by(Membership.person_id)
        )
        assert list(await session.scalars(twice.having(func.count() > 1))) == []
    return found


async def three() -> tuple[Actor, list[Person]]:
    async with db.begin() as session:
        people = [await somebody(session) for _ in range(3)]
        return await given.worker(session), people


async def test_overlapping_merges_end_as_one_after_the_other() -> None:
    for _ in range(ROUNDS):
        county, (a, b, c) = await three()
        said = await outcomes(merge(county, a.id, b.id), merge(county, b.id, c.id), merge(county, c.id, a.id))
        assert set(said) <= {"done", "wrong-state", "not-found", "unavailable"}
        assert 1 <= said.count("done") <= 2
        async with db.begin() as session:
            rows = {row.id: row.merged_into for row in await session.scalars(select(Person))}
        # Always in one step: whoever somebody was merged into was merged into nobody.
        assert all(rows[kept] is None for kept in rows.values() if kept)
        assert await left_behind() == {}


async def test_one_pair_merged_both_ways_and_twice_under_one_key_is_merged_once() -> None:
    for _ in range(ROUNDS):
        county, (a, b, _) = await three()
        key = Key(new_id(), b"m")
        said = await outcomes(
            merge(county, a.id, b.id, key), merge(county, a.id, b.id, key), merge(county, b.id, a.id)
        )
        assert said.count("done") in {1, 2}
        async with db.begin() as session:
            gone = (
                select(func.count())
                .select_from(Person)
                .where(Person.id.in_([a.id, b.id]), Person.merged_into.is_not(None))
            )
            assert await session.scalar(gone) == 1


async def test_of_dismissing_and_confirming_at_once_one_wins() -> None:
    for _ in range(ROUNDS):
        county, (a, b, _) = await three()
        async with db.begin() as session:
            await finding.compare(session, [a.id])
            rows = await deciding.listing(session, county, after=None, limit=100)
        [row] = [row for row in rows if {one["id"] for one in row["people"]} == {a.id, b.id}]

        assert sorted(await outcomes(dismiss(county, row["id"]), confirm(county, row["id"], a.id))) == [
            "done",
            "wrong-state",
        ]


async def test_a_booking_at_the_moment_of_a_merge_belongs_to_the_one_who_is_kept() -> None:
    """It comes before and moves, or after and is asked to try again: never to somebody who is no more."""
    for _ in range(ROUNDS):
        async with db.begin() as session:
            family, hospital = await given.couple(session), await given.clinic(session)
            twin = given.person("李秀英", Sex.FEMALE)
            await home(session, given.person("马建国", Sex.MALE), twin)
            service = await given.service(session)
            await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
            slot = await given.slot(session, place=hospital.clinic, service=service)
            county = await given.worker(session)
        said = await outcomes(
            book(family.wife_actor, slot.id),
            book(family.husband_actor, slot.id),
            merge(county, twin.id, family.wife.id),
        )
        assert said[2] in {"done", "unavailable"}
        assert set(said[:2]) <= {"done", "unavailable", "already-booked", "not-eligible", "consent-required"}
        assert await left_behind() == {}
        async with db.begin() as session:
            rows = list(await session.scalars(select(Appointment).filter_by(slot_id=slot.id)))
        assert len(rows) == said[:2].count("done") <= 1


async def test_a_booking_that_waited_for_a_merge_is_asked_to_try_again() -> None:
    """It has read who qualifies before, and would be written to somebody who is no more."""
    async with db.begin() as session:
        family, hospital = await given.couple(session), await given.clinic(session)
        twin = given.person("李秀英", Sex.FEMALE)
        await home(session, given.person("马建国", Sex.MALE), twin)
        service = await given.service(session)
        await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
        slot = await given.slot(session, place=hospital.clinic, service=service)
        county = await given.worker(session)
    async with db.begin() as session:
        await merging.people(
            session, county, key=Key(new_id(), b"m"), kept_id=twin.id, lost_id=family.wife.id, reason="同一人"
        )
        booking = asyncio.create_task(outcomes(book(family.wife_actor, slot.id)))
        waiting = text(WAITING)
        async with db.begin() as other:
            for _ in range(500):
                if await other.scalar(waiting):
                    break
                await asyncio.sleep(0.01)
    assert await booking == ["unavailable"]
    assert await left_behind() == {}
    assert await outcomes(book(family.wife_actor, slot.id)) == ["done"]
    async with db.begin() as session:
        row = (await session.scalars(select(Appointment))).one()
    assert {row.person_id, row.spouse_id} == {twin.id, family.husband.id}


async def test_a_verification_at_the_moment_of_a_merge_finds_one_person() -> None:
    """The document of the other is in the form: whichever comes first, she belongs to one household."""
    async with db.begin() as session:
        county = await given.worker(session, role=Role.TOWNSHIP_OFFICER)
    for _ in range(ROUNDS):
        wife, husband = couple()
        form = await a_submitted_form(wife, husband)
        async with db.begin() as session:
            known = (await session.scalars(select(Person).order_by(Person.created_at.desc()).limit(1))).one()
            known.region_code = (
                given.REGION
            )  # known from a binding alone, and seen by the county for this once
            twin = given.person(wife.name, Sex.FEMALE)
            await home(session, given.person("马建国", Sex.MALE), twin)
            await session.execute(
                ResidentAccount.__table__.update()
                .where(ResidentAccount.person_id == known.id)
                .values(person_id=None)
            )
        said = await outcomes(verify(county, form), merge(county, twin.id, known.id))
        assert "done" in said
        assert set(said) <= {
            "done",
            "already-in-household",
            "merge-blocked",
            "invalid",
            "unavailable",
        }
        assert await left_behind() == {}


async def test_undoing_twice_at_once_undoes_once() -> None:
    for _ in range(ROUNDS):
        county, (a, b, _) = await three()
        key = Key(new_id(), b"m")
        await merge(county, a.id, b.id, key)
        assert sorted(await outcomes(undo(county, key.id), undo(county, key.id))) == ["done", "wrong-state"]


async def test_many_merges_and_undoings_around_one_person_leave_nothing_behind() -> None:
    async with db.begin() as session:
        people = [await somebody(session) for _ in range(6)]
        county = await given.worker(session)
    hub, *others = people
    keys = [Key(new_id(), b"m") for _ in others]
    merges: list[Awaitable[None]] = [
        patient(merge, county, hub.id, one.id, key) for one, key in zip(others, keys, strict=True)
    ]
    await asyncio.gather(*merges)
    assert await left_behind() == {}
    # Of those that stand the newest is undone each time, and others that had their turn after it.
    for _ in keys:
        await outcomes(*(patient(undo, county, key.id) for key in keys))
    async with db.begin() as session:
        rows = list(await session.scalars(select(Person)))
    assert {(row.merged_into, row.region_code) for row in rows} == {(None, given.REGION)}
