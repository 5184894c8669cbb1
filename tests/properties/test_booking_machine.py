"""B1–B6, B8: whatever residents, the hospital and the clock do, in whatever order, the places are counted right,
those who wait are called in their order, and no newcomer takes a place that is held for somebody.

The model predicts the answer to every step; the database is asked after each.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import clock, db, errors
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, Slot
from app.models.closures import ClosureReason
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services.appointments import (
    attendance,
    bookings,
    closures,
    entries,
    offers,
    rescheduling,
    walk_ins,
)
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Hospital, Spouses
from tests.factories.waiting import Place, wish
from tests.properties.booking_model import ACTIVE, HOUR, Model, ModelAppointment, ModelSlot

# Few of each, so that they meet.
COUPLES, MOST_SLOTS = 4, 3
MORNING = datetime(2026, 6, 1, 7, tzinfo=clock.SHANGHAI)
Result = TypeVar("Result")
# Of what there is, the number-th.
some, couples = st.integers(0, 11), st.integers(0, COUPLES - 1)

VERBS = ["cancel", "decline", "accept", "move", "check_in", "fulfil", "no_show"]


class BookingMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.taps: list[tuple[Key, bool, int, ModelSlot]] = []
        self.clock = time_machine.travel(MORNING)
        self.traveller = self.clock.start()
        self.runner = asyncio.Runner()
        self.do(self.open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        """One connection whose outer transaction is rolled back; in it a hospital and a few couples."""
        self.engine = create_async_engine(self.url, poolclass=NullPool)
        self.connection = await self.engine.connect()
        await self.connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        async with db.begin() as session:
            self.hospital: Hospital = await appointments.clinic(session)
            self.service = await appointments.service(session)
            self.couples: list[Spouses] = [await appointments.couple(session) for _ in range(COUPLES)]
            self.worker = await appointments.worker(session)

    def teardown(self) -> None:
        self.do(self.close())
        self.runner.close()
        self.clock.stop()

    async def close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None, join_transaction_mode="conditional_savepoint")

    def said(self, step: Coroutine[Any, Any, object]) -> str:
        async def attempt() -> str:
            try:
                await step
            except Exception as error:
                return errors.to_problem(error).slug()
            return "done"

        return self.do(attempt())

    def actor(self, couple: int, by_wife: bool) -> Actor:
        spouses = self.couples[couple]
        return spouses.wife_actor if by_wife else spouses.husband_actor

    @property
    def now(self) -> datetime:
        return clock.now().astimezone(clock.SHANGHAI)

    @initialize(
        line=st.permutations(range(COUPLES)), closes=st.booleans(),
        days=st.lists(st.integers(0, 4), min_size=COUPLES - 1, max_size=COUPLES - 1),
    )  # fmt: skip
    def a_full_slot_and_a_line(self, line: list[int], closes: bool, days: list[int]) -> None:
        """One has the only place, all others wait; or that one's time is closed, and there is another."""
        self.put(starts_in=70, opens_in=0, capacity=1)
        self.book(0, line[0], True)
        for couple, since in zip(line[1:], days, strict=True):
            self.join(couple, False, since)
        if closes:
            self.close_slot(0)
            self.put(starts_in=70, opens_in=0, capacity=1)
            self.time_passes(0, True)

    @precondition(lambda self: sum(not slot.closed for slot in self.model.slots) < MOST_SLOTS)
    @rule(
        starts_in=st.sampled_from([1, 3, 26, 50]), opens_in=st.sampled_from([0, 0, 2]), capacity=st.integers(1, 2)
    )  # fmt: skip
    def put(self, starts_in: int, opens_in: int, capacity: int) -> None:
        starts, opens = self.now + starts_in * HOUR, self.now + opens_in * HOUR
        while any(abs(starts - slot.starts) < HOUR for slot in self.model.slots):
            starts += HOUR

        async def publish() -> Slot:
            async with db.begin() as session:
                return await appointments.slot(
                    session, place=self.hospital.clinic, service=self.service,
                    starts_at=starts, opens_at=opens, capacity=capacity,
                )  # fmt: skip

        self.model.slots.append(ModelSlot(self.do(publish()).id, starts, opens, capacity))

    async def tap(self, key: Key, actor: Actor, slot: ModelSlot) -> uuid.UUID:
        async with db.statements() as session:
            booked: uuid.UUID = (await bookings.book(session, actor, key=key, slot_id=slot.id)).id
            # By itself on a connection in autocommit; this one has an outer transaction.
            await session.commit()
        return booked

    def slot(self, number: int) -> ModelSlot:
        return self.model.slots[number % len(self.model.slots)]

    @rule(number=some, couple=couples, by_wife=st.booleans())
    def book(self, number: int, couple: int, by_wife: bool) -> None:
        slot, key = self.slot(number), Key(new_id(), b"tap")
        expected = self.model.book(self.now, slot, couple)
        assert self.said(self.tap(key, self.actor(couple, by_wife), slot)) == expected
        if expected == "done":
            self.taps.append((key, by_wife, couple, slot))

    @precondition(lambda self: self.taps)
    @rule(number=some)
    def tap_again(self, number: int) -> None:
        """What was booked is answered again, whatever became of it."""
        key, by_wife, couple, slot = self.taps[number % len(self.taps)]
        actor = self.actor(couple, by_wife)
        assert self.do(self.tap(key, actor, slot)) == key.id
        assert self.said(self.tap(Key(key.id, b"other"), actor, slot)) == "idempotency-key-reused"

    @rule(number=some, couple=couples)
    def walk_in(self, number: int, couple: int) -> None:
        slot, both = self.slot(number), self.couples[couple]
        people = [
            walk_ins.Presented(name=one.name, document_kind=one.document_kind, document_number=one.document_number)
            for one in (both.wife, both.husband)
        ]  # fmt: skip

        async def come() -> None:
            async with db.begin() as session:
                new = walk_ins.NewWalkIn(slot_id=slot.id, people=people)
                await walk_ins.at_desk(session, self.hospital.actor, key=Key(new_id(), b"desk"), new=new)

        expected = self.model.walk_in(self.now, slot, couple)
        assert self.said(come()) == expected

    @rule(couple=couples, by_wife=st.booleans(), since=st.integers(0, 4))
    def join(self, couple: int, by_wife: bool, since: int) -> None:
        async def join() -> None:
            async with db.begin() as session:
                new = wish(Place(self.hospital, self.service), since=since)
                await entries.join(session, self.actor(couple, by_wife), key=Key(new_id(), b"join"), new=new)

        first = clock.today() + timedelta(days=since)
        expected = self.model.join(self.now, couple, first)
        assert self.said(join()) == expected

    async def attend(self, verb: str, a: ModelAppointment, by_wife: bool, slot: ModelSlot) -> None:
        who, desk = self.actor(a.couple, by_wife), self.hospital.actor
        async with db.begin() as session:
            query = select(Appointment).filter_by(
                subject_id=self.couples[a.couple].couple.id, slot_id=a.slot.id, status=a.status
            )
            row = (await session.scalars(query.order_by(Appointment.id).limit(1))).one()
            match verb:
                case "accept":
                    await offers.accept(session, who, id=row.id)
                case "decline":
                    await offers.decline(session, who, id=row.id)
                case "cancel":
                    await bookings.cancel(session, who, id=row.id, reason=None)
                case "move":
                    await rescheduling.reschedule(session, who, id=row.id, slot_id=slot.id)
                case "check_in":
                    await attendance.check_in(session, desk, code=row.code)
                case "fulfil":
                    await attendance.fulfil(session, desk, id=row.id)
                case _:
                    await attendance.no_show(session, desk, id=row.id)

    @precondition(lambda self: self.model.appointments)
    @rule(number=some, by_wife=st.booleans(), other=some, verb=st.sampled_from(VERBS))
    def step(self, number: int, verb: str, by_wife: bool, other: int) -> None:
        """Of the newest: the older ones are mostly over."""
        newest = self.model.appointments[-4:]
        a, slot = newest[number % len(newest)], self.slot(other)
        said, now = self.said(self.attend(verb, a, by_wife, slot)), self.now
        assert said == (self.model.move(now, a, slot) if verb == "move" else self.model.step(now, verb, a))

    @rule(number=some)
    def close_slot(self, number: int) -> None:
        slot = self.slot(number)
        if slot.closed or slot.starts + HOUR <= self.now:
            return

        async def close() -> None:
            async with db.begin() as session:
                new = closures.NewClosure(
                    clinic_id=self.hospital.clinic.id, from_at=slot.starts, to_at=slot.starts + HOUR,
                    reason=ClosureReason.EQUIPMENT,
                )  # fmt: skip
                await closures.close(session, self.worker, key=Key(new_id(), b"close"), new=new)

        self.model.close(self.now, slot)
        assert self.said(close()) == "done"

    @rule(hours=st.sampled_from([0, 1, 3, 12, 24]), jobs=st.booleans())
    def time_passes(self, hours: int, jobs: bool) -> None:
        """Then the jobs run, or are late: places whose offer is over go on, and others that came free are offered."""
        self.traveller.shift(timedelta(hours=hours))
        if jobs:
            self.model.jobs(self.now)
            self.do(offers.expire_due())
            self.do(offers.offer_left())

    @invariant()
    def the_database_agrees(self) -> None:
        slots, rows, line = self.do(self.look())
        couple = {spouses.couple.id: number for number, spouses in enumerate(self.couples)}
        known = Counter((a.slot.id, a.couple, a.status) for a in self.model.appointments)
        assert Counter((slot, couple[subject], status) for slot, subject, status in rows) == known
        assert slots == {slot.id: len(self.model.of(slot)) for slot in self.model.slots}
        assert [couple[subject] for subject in line] == [waiter.couple for waiter in self.model.line]
        self.traveller.shift(timedelta(seconds=1))  # no step is at the very moment at which something ends

    async def look(self) -> tuple[dict[uuid.UUID, int], list[Any], list[uuid.UUID]]:
        """Read apart from any session's memory. No couple has two active appointments of one cycle."""
        async with AsyncSession(self.connection, join_transaction_mode="create_savepoint") as session:
            here = Slot.clinic_id == self.hospital.clinic.id
            counted = await session.execute(select(Slot.id, Slot.booked).where(here))
            mine = Appointment.clinic_id == self.hospital.clinic.id
            columns = Appointment.slot_id, Appointment.subject_id, Appointment.status
            found = list(await session.execute(select(*columns).where(mine)))
            waits = select(WaitlistEntry.subject_id).filter_by(
                clinic_id=self.hospital.clinic.id, status=WaitlistStatus.WAITING
            )
            line = list(await session.scalars(waits.order_by(WaitlistEntry.priority, WaitlistEntry.number)))
            twice = (
                select(Appointment.subject_id)
                .where(mine, Appointment.status.in_(ACTIVE))
                .group_by(Appointment.subject_id, Appointment.service_id, Appointment.cycle)
                .having(func.count() > 1)
            )
            assert list(await session.scalars(twice)) == []
        return {row.id: row.booked for row in counted}, found, line


def test_the_places_are_counted_right_in_every_order_of_events(database: str) -> None:
    BookingMachine.url = db.driver(database)
    run_state_machine_as_test(
        BookingMachine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
            # To make a failure smaller takes minutes; it is told at once, and short enough to read.
            phases=[Phase.generate],
        ),
    )  # fmt: skip
