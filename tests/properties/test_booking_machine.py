"""B1–B4, B8: whatever residents, the hospital and the clock do, in whatever order, the places are counted right.

The model predicts the answer to every step; the database is asked after each.
"""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import clock, db, errors
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus, Slot, SlotStatus
from app.services.appointments import bookings
from app.services.appointments.slots import day
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Hospital, Spouses

S = AppointmentStatus
ACTIVE = {S.BOOKED, S.ARRIVED, S.FULFILLED}
# One nobody came to keeps its place, which is past by then; only a cancelled one gives it back.
SEATED = ACTIVE | {S.NO_SHOW}
MORNING = datetime(2026, 6, 1, 7, tzinfo=clock.SHANGHAI)
Result = TypeVar("Result")


@dataclass
class ModelSlot:
    starts: datetime
    opens: datetime
    capacity: int
    closed: bool = False


@dataclass
class ModelAppointment:
    slot: uuid.UUID
    couple: int
    status: S = S.BOOKED


class Model:
    """What must happen. `said` is the name of the problem, or "done"."""

    def __init__(self) -> None:
        self.slots: dict[uuid.UUID, ModelSlot] = {}
        self.appointments: dict[uuid.UUID, ModelAppointment] = {}

    def taken(self, slot: uuid.UUID) -> int:
        return sum(a.slot == slot and a.status in SEATED for a in self.appointments.values())

    def is_active(self, couple: int) -> bool:
        return any(a.couple == couple and a.status in ACTIVE for a in self.appointments.values())

    def book(self, now: datetime, id: uuid.UUID, slot_id: uuid.UUID, couple: int) -> str:
        slot = self.slots[slot_id]
        if slot.closed:
            return "slot-closed"
        if slot.opens > now:
            return "slot-not-open-yet"
        if slot.starts <= now:
            return "slot-closed"
        if self.taken(slot_id) >= slot.capacity:
            return "slot-full"
        if self.is_active(couple):
            return "already-booked"
        self.appointments[id] = ModelAppointment(slot_id, couple)
        return "done"

    def cancel(self, now: datetime, id: uuid.UUID) -> str:
        if self.slots[self.appointments[id].slot].starts <= now:
            return "slot-closed"
        return self._step(id, {S.BOOKED}, S.CANCELLED)

    def check_in(self, now: datetime, id: uuid.UUID) -> str:
        appointment = self.appointments[id]
        starts = self.slots[appointment.slot].starts
        first, end = day(starts.astimezone(clock.SHANGHAI).date())
        if not min(first, starts - timedelta(hours=2)) <= now < end:
            return "not-today"
        if appointment.status is S.ARRIVED:
            return "done"
        if appointment.status is S.NO_SHOW and self.is_active(appointment.couple):
            return "already-booked"
        return self._step(id, {S.BOOKED, S.NO_SHOW}, S.ARRIVED)

    def fulfil(self, _: datetime, id: uuid.UUID) -> str:
        return self._step(id, {S.ARRIVED}, S.FULFILLED)

    def no_show(self, now: datetime, id: uuid.UUID) -> str:
        if self.slots[self.appointments[id].slot].starts + timedelta(hours=1) > now:
            return "wrong-state"
        return self._step(id, {S.BOOKED}, S.NO_SHOW)

    def _step(self, id: uuid.UUID, before: set[S], to: S) -> str:
        if self.appointments[id].status not in before:
            return "wrong-state"
        self.appointments[id].status = to
        return "done"


class BookingMachine(RuleBasedStateMachine):
    url = ""
    slots: Bundle[uuid.UUID] = Bundle("slots")
    taps: Bundle[tuple[Key, Actor, uuid.UUID]] = Bundle("taps")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.clock = time_machine.travel(MORNING, tick=False)
        self.traveller = self.clock.start()
        self.runner = asyncio.Runner()
        self.do(self.open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        """One connection whose outer transaction is rolled back; in it a hospital and two couples."""
        self.engine = create_async_engine(self.url, poolclass=NullPool)
        self.connection = await self.engine.connect()
        await self.connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        async with db.begin() as session:
            self.hospital: Hospital = await appointments.clinic(session)
            self.service = await appointments.service(session)
            self.couples: list[Spouses] = [await appointments.couple(session) for _ in range(2)]

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

    @initialize(target=slots)
    def first_slot(self) -> uuid.UUID:
        return self.put(starts_in=3, opens_in=0, capacity=1)

    @rule(
        target=slots,
        starts_in=st.sampled_from([1, 3, 26]),
        opens_in=st.sampled_from([0, 0, 2]),
        capacity=st.integers(1, 2),
    )
    def publish(self, starts_in: int, opens_in: int, capacity: int) -> uuid.UUID:
        return self.put(starts_in, opens_in, capacity)

    def put(self, starts_in: int, opens_in: int, capacity: int) -> uuid.UUID:
        # No two slots of a clinic begin at one time.
        starts = clock.now() + timedelta(hours=starts_in, seconds=len(self.model.slots))
        opens = clock.now() + timedelta(hours=opens_in)

        async def publish() -> Slot:
            async with db.begin() as session:
                return await appointments.slot(
                    session, place=self.hospital.clinic, service=self.service,
                    starts_at=starts, opens_at=opens, capacity=capacity,
                )  # fmt: skip

        id = self.do(publish()).id
        self.model.slots[id] = ModelSlot(starts, opens, capacity)
        return id

    async def tap(self, key: Key, actor: Actor, slot: uuid.UUID) -> uuid.UUID:
        async with db.statements() as session:
            booked: uuid.UUID = (await bookings.book(session, actor, key=key, slot_id=slot)).id
            await (
                session.commit()
            )  # by itself on a connection in autocommit; this one has an outer transaction
        return booked

    @rule(target=taps, slot=slots, couple=st.integers(0, 1), by_wife=st.booleans())
    def book(self, slot: uuid.UUID, couple: int, by_wife: bool) -> tuple[Key, Actor, uuid.UUID]:
        key, actor = Key(new_id(), b"tap"), self.actor(couple, by_wife)
        expected = self.model.book(clock.now(), key.id, slot, couple)
        assert self.said(self.tap(key, actor, slot)) == expected
        return key, actor, slot

    @rule(tap=taps)
    def tap_again(self, tap: tuple[Key, Actor, uuid.UUID]) -> None:
        """What was booked is answered again, whatever became of it; what was refused is asked anew."""
        key, actor, slot = tap
        if key.id in self.model.appointments:
            assert self.do(self.tap(key, actor, slot)) == key.id
            other = Key(key.id, b"other")
            assert self.said(self.tap(other, actor, slot)) == "idempotency-key-reused"
        else:
            couple = next(i for i, s in enumerate(self.couples) if actor in (s.wife_actor, s.husband_actor))
            expected = self.model.book(clock.now(), key.id, slot, couple)
            assert self.said(self.tap(key, actor, slot)) == expected

    async def attend(self, verb: str, id: uuid.UUID, by_wife: bool) -> None:
        actor = self.hospital.actor
        async with db.begin() as session:
            row = await session.get_one(Appointment, id)
            match verb:
                case "cancel":
                    who = self.actor(self.model.appointments[id].couple, by_wife)
                    await bookings.cancel(session, who, id=id, reason=None)
                case "check_in":
                    await bookings.check_in(session, actor, code=row.code)
                case "fulfil":
                    await bookings.fulfil(session, actor, id=id)
                case _:
                    await bookings.no_show(session, actor, id=id)

    @rule(tap=taps, verb=st.sampled_from(["cancel", "check_in", "fulfil", "no_show"]), by_wife=st.booleans())
    def step(self, tap: tuple[Key, Actor, uuid.UUID], verb: str, by_wife: bool) -> None:
        id = tap[0].id
        if id in self.model.appointments:
            said = self.said(self.attend(verb, id, by_wife))
            assert said == getattr(self.model, verb)(clock.now(), id)

    @rule(slot=consumes(slots))
    def close_slot(self, slot: uuid.UUID) -> None:
        async def close() -> None:
            async with db.begin() as session:
                await session.execute(update(Slot).filter_by(id=slot).values(status=SlotStatus.CLOSED))

        self.do(close())
        self.model.slots[slot].closed = True

    @rule(hours=st.sampled_from([1, 3, 12, 24]))
    def time_passes(self, hours: int) -> None:
        self.traveller.shift(timedelta(hours=hours))

    @invariant()
    def the_database_agrees(self) -> None:
        slots, rows = self.do(self.look())
        assert rows == {id: a.status for id, a in self.model.appointments.items()}
        assert slots == {id: self.model.taken(id) for id in self.model.slots}

    async def look(self) -> tuple[dict[uuid.UUID, int], dict[uuid.UUID, S]]:
        """Read apart from any session's memory. No couple has two active appointments of one cycle."""
        async with AsyncSession(self.connection, join_transaction_mode="create_savepoint") as session:
            here = Slot.clinic_id == self.hospital.clinic.id
            counted = await session.execute(select(Slot.id, Slot.booked).where(here))
            mine = Appointment.clinic_id == self.hospital.clinic.id
            found = await session.execute(select(Appointment.id, Appointment.status).where(mine))
            twice = (
                select(Appointment.subject_id)
                .where(mine, Appointment.status.in_(ACTIVE))
                .group_by(Appointment.subject_id, Appointment.service_id, Appointment.cycle)
                .having(func.count() > 1)
            )
            assert list(await session.scalars(twice)) == []
        return {row.id: row.booked for row in counted}, {row.id: row.status for row in found}


def test_the_places_are_counted_right_in_every_order_of_events(database: str) -> None:
    BookingMachine.url = db.driver(database)
    run_state_machine_as_test(
        BookingMachine,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
