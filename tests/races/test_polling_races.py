"""A hospital that polls misses nothing, whoever is writing meanwhile; and many processes count its requests as one."""

import asyncio

import pytest
import time_machine
from sqlalchemy import text, update

from app import db
from app.access import Actor
from app.models.appointments import Appointment, AppointmentStatus
from app.services import allowances, settlements
from app.services.appointments import changes
from app.services.appointments.changes import BEGINNING, Change, Place
from tests.clients import a_hospital
from tests.factories import appointments as given
from tests.services.test_settlements import LATER, NOVEMBER, OCTOBER, came, confirm, county, price

S = AppointmentStatus


async def poll(actor: Actor, after: Place, limit: int = 100) -> list[Change]:
    async with db.begin() as session:
        return await changes.since(session, actor, after=after, limit=limit)


def place(change: Change) -> Place:
    return change.changed_in, change.id


async def told(actor: Actor, after: Place, wanted: int, limit: int = 100) -> list[Change]:
    """As soon as so many are told: a transaction of another test of this cluster may hold the list back."""
    for _ in range(300):
        found = await poll(actor, after, limit)
        if len(found) >= wanted:
            return found
        await asyncio.sleep(0.2)
    return found


async def test_what_commits_late_is_not_overtaken(committed: str) -> None:
    async with db.begin() as session:
        hospital = await given.clinic(session)
        slow, quick = [
            (await given.attended(session, hospital=hospital, status=S.BOOKED)).appointment.id for _ in "12"
        ]
    seen = await told(hospital.actor, BEGINNING, 2)
    assert {change.id for change in seen} == {slow, quick}
    last = place(seen[-1])

    async with db.sessions() as writer:
        # The slow one writes first, and the quick one commits first.
        await writer.execute(update(Appointment).where(Appointment.id == slow).values(status=S.ARRIVED))
        async with db.begin() as other:
            await other.execute(update(Appointment).where(Appointment.id == quick).values(status=S.CANCELLED))
        assert await poll(hospital.actor, last) == []
        await writer.commit()

    first = await told(hospital.actor, last, 1, limit=1)
    second = await told(hospital.actor, place(first[0]), 1)
    assert [(one.id, one.appointment and one.appointment.status) for one in (*first, *second)] == [
        (slow, S.ARRIVED), (quick, S.CANCELLED),
    ]  # fmt: skip
    assert await poll(hospital.actor, place(second[-1])) == []


async def test_nothing_is_missed_under_many_writers(committed: str) -> None:
    async with db.begin() as session:
        hospital = await given.clinic(session)
        ids = [
            (await given.attended(session, hospital=hospital, status=S.BOOKED)).appointment.id
            for _ in range(8)
        ]
    done = asyncio.Event()

    async def write(id: object, pause: float) -> None:
        async with db.begin() as session:
            await session.execute(update(Appointment).where(Appointment.id == id).values(status=S.FULFILLED))
            await asyncio.sleep(pause)  # who began later commits earlier

    heard: dict[object, S] = {}
    after = BEGINNING

    async def listen() -> None:
        nonlocal after
        until = asyncio.get_running_loop().time() + 60  # another test's transaction may hold the list back
        while not (done.is_set() and heard == dict.fromkeys(ids, S.FULFILLED)):
            assert asyncio.get_running_loop().time() < until
            while found := await poll(hospital.actor, after, limit=2):
                after = place(found[-1])
                heard.update({one.id: one.appointment.status for one in found if one.appointment})
            await asyncio.sleep(0.002)

    listening = asyncio.create_task(listen())
    await asyncio.gather(*(write(id, 0.01 * (8 - n)) for n, id in enumerate(ids)))
    done.set()
    await listening
    assert heard == dict.fromkeys(ids, S.FULFILLED)


async def test_an_idle_poll_is_a_read_of_the_index(committed: str) -> None:
    async with db.begin() as session:
        hospital = await given.clinic(session)
        await given.attended(session, hospital=hospital)
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        query = changes._changed(hospital.actor, (10**12, BEGINNING[1]), 100)
        rendered = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(await session.scalars(text(f"EXPLAIN {rendered}")))
    assert "ix_appointment_clinic_id_changed_in" in plan
    condition = plan[plan.index("ix_appointment_clinic_id_changed_in") :].splitlines()[1]
    assert "Index Cond" in condition
    assert "ROW(" in condition
    assert "pg_current_snapshot" in condition


async def test_two_processes_spend_one_allowance(committed: str) -> None:
    async with db.begin() as session:
        organization, _ = await a_hospital(session)
    organization.requests_per_minute, organization.burst = 6, 20

    async def send() -> int:
        async with db.statements() as session:
            try:
                await allowances.spend(session, organization, reading=False)
            except allowances.TooManyRequests:
                return 0
            await session.commit()
            return 1

    assert sum(await asyncio.gather(*(send() for _ in range(60)))) == 20


async def test_a_month_is_not_returned_while_a_later_one_builds_upon_it(committed: str) -> None:
    with time_machine.travel(LATER, tick=True):
        async with db.begin() as session:
            hospital, worker = await given.clinic(session), await county(session)
            await price(session, 10_000, "2026-01-01")
            wrong = await came(session, hospital, "2026-10-05")
            october = await confirm(session, hospital, OCTOBER, 10_000)
            wrong.appointment.status = S.ENTERED_IN_ERROR
        assert october.id is not None

        async def november() -> None:
            async with db.begin() as session:
                await confirm(session, hospital, NOVEMBER, -10_000)

        async with db.begin() as session:
            await settlements.give_back(session, worker, id=october.id, version=1, reason="请核对")
            confirming = asyncio.create_task(november())
            await asyncio.sleep(0.3)
            assert not confirming.done()
        with pytest.raises(settlements.SettlementChanged):  # nothing was paid, nothing is taken back
            await confirming
