"""What the booking machine plays on: a connection, a hospital and a few couples, and a process that dies between two
statements."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import time_machine
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import Row, event, func, select, text, union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import clock, db, errors
from app.access import Actor
from app.models.appointments import Appointment, AppointmentEvent, Slot, SlotEvent
from app.models.audit import IdempotencyKey
from app.models.closures import Closure, ClosureMove
from app.models.messages import InboxMessage, NoticeKind
from app.models.waitlist import WaitlistEntry, WaitlistStatus
from app.services import eligibility
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.appointments import Hospital, Spouses
from tests.properties.booking_model import Model
from tests.properties.booking_pieces import ACTIVE, SEATED, ModelAppointment, ModelSlot

MORNING = datetime(2026, 6, 1, 7, tzinfo=clock.SHANGHAI)
TREATMENT = "reproductive_health_treatment"
# Few, so that they meet.
COUPLES, SESSIONS = 4, 2
Result = TypeVar("Result")
Work = Callable[[AsyncSession], Awaitable[object]]


class Died(Exception):
    """The process, between two statements."""


class Seen(NamedTuple):
    """`rest`: how many rows there are of what each step leaves behind."""

    booked: dict[uuid.UUID, int]
    appointments: list[Any]
    line: list[uuid.UUID]
    rest: list[int]


class Stage:
    """One connection whose outer transaction is rolled back; in it a hospital and a few couples."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.engine = create_async_engine(url, poolclass=NullPool)
        self.statements_left: int | None = None
        event.listen(self.engine.sync_engine, "before_cursor_execute", self.before)
        with time_machine.travel(MORNING):
            self.do(self.open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def before(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self.statements_left is not None and not statement.startswith(
            ("SAVEPOINT", "RELEASE", "ROLLBACK")
        ):
            self.statements_left -= 1
            if self.statements_left < 0:
                self.statements_left = None
                raise Died

    async def open(self) -> None:
        self.connection = await self.engine.connect()
        await self.connection.begin()
        # As on a connection that was used for long.
        await self.connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        for maker in (db.sessions, db.statements):
            maker.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        async with db.begin() as session:
            self.hospital: Hospital = await appointments.clinic(session)
            self.check = await appointments.service(session)
            self.treatment = await appointments.service(session, TREATMENT)
            self.treatment.sessions = SESSIONS
            self.couples: list[Spouses] = [await appointments.couple(session) for _ in range(COUPLES)]
            self.worker = await appointments.worker(session)
            for one in self.couples:
                await eligibility.settle(session, one.wife_actor, service=self.check, person_id=one.wife.id)
        self.numbers = {id: n for n, one in enumerate(self.couples) for id in (one.couple.id, one.wife.id)}

    async def close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None, join_transaction_mode="conditional_savepoint")

    async def found(self, a: ModelAppointment) -> Row[Any]:
        mine = self.couples[a.couple].wife.id if a.slot.course else self.couples[a.couple].couple.id
        query = select(Appointment.id, Appointment.code, Appointment.course_id).filter_by(
            subject_id=mine, slot_id=a.slot.id, status=a.status
        )
        return (await self.connection.execute(query.order_by(Appointment.id).limit(1))).one()

    async def look(self) -> Seen:
        """Apart from any session's memory."""
        here, read = self.hospital.clinic.id, self.connection.execute
        booked = await read(select(Slot.id, Slot.booked).where(Slot.clinic_id == here))
        reminded = select(func.count()).where(
            InboxMessage.entity_id == Appointment.id, InboxMessage.kind == NoticeKind.APPOINTMENT_REMINDER
        )
        a = Appointment
        columns = (a.slot_id, a.subject_id, a.session, a.status, reminded.scalar_subquery())
        rows = await read(select(*columns).where(a.clinic_id == here).order_by(a.id))
        waits = select(WaitlistEntry.subject_id).filter_by(clinic_id=here, status=WaitlistStatus.WAITING)
        line = await read(waits.order_by(WaitlistEntry.priority, WaitlistEntry.number))
        left = (
            AppointmentEvent,
            SlotEvent,
            IdempotencyKey,
            InboxMessage,
            WaitlistEntry,
            Closure,
            ClosureMove,
        )
        rest = await read(union_all(*(select(func.count()).select_from(one) for one in left)))
        return Seen(
            {row.id: row.booked for row in booked},
            [(slot, self.numbers[subject], *more) for slot, subject, *more in rows],
            [self.numbers[subject] for subject in line.scalars()],
            list(rest.scalars()),
        )


class Played(RuleBasedStateMachine):
    """A history on the stage, beside its model: all of it is rolled back in the end."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(MORNING)
        self.traveller = self.clock.start()
        self.before = self.stage.do(self.stage.connection.begin_nested().start())
        self.model = Model()
        self.taps: list[tuple[Key, Actor, ModelSlot]] = []

    def teardown(self) -> None:
        self.stage.do(self.before.rollback())
        self.clock.stop()

    def done(self, work: Work, dies: int | None = None) -> bool:
        """Whether this transaction is, or is refused. If it dies there is nothing of it, and it is tried again."""

        async def attempt() -> None:
            async with db.begin() as session:
                await work(session)

        return self.tried(attempt, dies)

    def tried(self, attempt: Callable[[], Awaitable[object]], dies: int | None) -> bool:
        before = self.seen() if dies is not None else None
        try:
            return self.stage.do(self.answer(attempt, dies))
        except Died:
            assert self.seen() == before
            return self.stage.do(self.answer(attempt, None))

    async def answer(self, attempt: Callable[[], Awaitable[object]], dies: int | None) -> bool:
        self.stage.statements_left = dies
        try:
            await attempt()
        except (errors.Problem, DBAPIError) as error:
            if errors.to_problem(error).status >= 500:
                raise
            return False
        finally:
            self.stage.statements_left = None
        return True

    def seen(self) -> Seen:
        """B1, B3: the database by itself holds together."""
        seen = self.stage.do(self.stage.look())
        taken = Counter(slot for slot, *_, status, _ in seen.appointments if status in SEATED)
        assert seen.booked == {slot.id: taken[slot.id] for slot in self.model.slots}
        assert all(taken[slot.id] <= slot.capacity for slot in self.model.slots)
        kind = {slot.id: slot.course for slot in self.model.slots}
        active = [(kind[slot], *who) for slot, *who, status, _ in seen.appointments if status in ACTIVE]
        assert len(active) == len(set(active))
        return seen

    def actor(self, couple: int, by_wife: bool) -> Actor:
        spouses = self.stage.couples[couple]
        return spouses.wife_actor if by_wife else spouses.husband_actor

    def slot(self, number: int) -> ModelSlot:
        return self.model.slots[number % len(self.model.slots)]
