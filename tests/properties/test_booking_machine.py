"""B1–B9: whatever residents, the hospital and the clock do, in whatever order, and wherever a process dies, the places
are counted right, those who wait are called in their order, no newcomer takes a place that is held for somebody, a
course is booked as a whole, and everybody is reminded once.

The model predicts whether each step is done; the database is asked after each. NUANXIN_SOAK=30 plays thirty times as
many histories, which takes about five minutes.
"""

import os
import uuid
from collections import Counter
from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app import clock, db
from app.access import Actor
from app.db import new_id
from app.models.appointments import Slot
from app.models.closures import ClosureReason
from app.services import messages
from app.services.appointments import (
    attendance,
    bookings,
    closures,
    courses,
    entries,
    offers,
    rescheduling,
    walk_ins,
)
from app.services.idempotency import Key
from tests.factories import appointments
from tests.factories.waiting import Place, wish
from tests.properties.booking_pieces import (
    HOUR,
    THERE,
    TO,
    ModelAppointment,
    ModelSlot,
    S,
    on,
)
from tests.properties.booking_stage import COUPLES, SESSIONS, Died, Played, Stage, Work

SOAK = int(os.environ.get("NUANXIN_SOAK", "1"))
MOST_SLOTS = 3  # of a kind
LIKELY = {
    S.HELD: ("accept", "decline", "move"), S.BOOKED: ("cancel", "move", "check_in"),
    S.ARRIVED: ("fulfil", "check_in", "fulfil"),
}  # fmt: skip
# Of what there is, the number-th.
some, couples = st.integers(0, 11), st.integers(0, COUPLES - 1)
# Before which statement the process dies, if it does.
deaths = st.none() | st.integers(0, 29)


class BookingMachine(Played):
    @initialize(
        line=st.permutations(range(COUPLES)), days=st.lists(st.integers(0, 4), max_size=COUPLES - 1),
        closes=st.sampled_from(["never", "then another", "another first"]), treated=st.booleans(),
    )  # fmt: skip
    def a_full_slot_and_a_line(self, line: list[int], days: list[int], closes: str, treated: bool) -> None:
        """One has the only place, others wait; or that one's time is closed, and there is another. Or also a course."""
        self.put(course=False, starts_in=70, opens_in=0, capacity=1)
        self.book(number=0, couple=line[0], by_wife=True, dies=None)
        for couple, since in zip(line[1:], days, strict=False):
            self.join(couple, by_wife=False, since=since, dies=None)
        if closes == "another first":
            self.put(course=False, starts_in=90, opens_in=0, capacity=1)
        if closes != "never":
            self.close_slot(0, dies=None)
        if closes == "then another":
            self.put(course=False, starts_in=90, opens_in=0, capacity=1)
            self.time_passes(hours=0, jobs=True, dies=None)
        if treated:
            for starts_in in (26, 50, 74):
                self.put(course=True, starts_in=starts_in, opens_in=0, capacity=1)
            self.book_course(number=0, couple=line[1], dies=None)

    def open_slots(self, course: bool) -> int:
        return sum(slot.course is course and not slot.closed for slot in self.model.slots)

    @precondition(lambda self: min(self.open_slots(True), self.open_slots(False)) < MOST_SLOTS)
    @rule(
        course=st.booleans(), starts_in=st.sampled_from([1, 3, 26, 50, 90]), opens_in=st.sampled_from([0, 0, 2]),
        capacity=st.integers(1, 2),
    )  # fmt: skip
    def put(self, course: bool, starts_in: int, opens_in: int, capacity: int) -> None:
        course = course if self.open_slots(course) < MOST_SLOTS else not course
        alike = [slot for slot in self.model.slots if slot.course is course]
        starts, opens = clock.now() + starts_in * HOUR, clock.now() + opens_in * HOUR
        while any(abs(starts - slot.starts) < HOUR for slot in alike):
            starts += HOUR

        async def publish() -> Slot:
            async with db.begin() as session:
                return await appointments.slot(
                    session, place=self.stage.hospital.clinic, starts_at=starts, opens_at=opens, capacity=capacity,
                    service=self.stage.treatment if course else self.stage.check,
                )  # fmt: skip

        self.model.slots.append(ModelSlot(self.stage.do(publish()).id, starts, opens, capacity, course))

    @rule(number=some, couple=couples, by_wife=st.booleans(), dies=deaths)
    def book(self, number: int, couple: int, by_wife: bool, dies: int | None) -> None:
        slot, key, actor = self.slot(number), Key(new_id(), b"tap"), self.actor(couple, by_wife)
        expected = self.model.book(couple, slot)
        assert self.tried(lambda: self.tap(key, actor, slot), dies) == expected
        if expected:
            self.taps.append((key, actor, slot))

    async def tap(self, key: Key, actor: Actor, slot: ModelSlot) -> uuid.UUID:
        booked: uuid.UUID = (await bookings.book(actor, key=key, slot_id=slot.id)).id
        return booked

    @precondition(lambda self: self.taps)
    @rule(number=some)
    def tap_again(self, number: int) -> None:
        """What was booked is answered again, whatever became of it."""
        key, actor, slot = self.taps[number % len(self.taps)]
        assert self.stage.do(self.tap(key, actor, slot)) == key.id
        assert not self.tried(lambda: self.tap(Key(key.id, b"other"), actor, slot), None)

    @precondition(lambda self: sum(slot.course for slot in self.model.slots) >= SESSIONS)
    @rule(number=some, couple=couples, dies=deaths)
    def book_course(self, number: int, couple: int, dies: int | None) -> None:
        """By the wife alone, of the newest dates; the last of the pairs is in the wrong order."""
        dates = [slot for slot in self.model.slots if slot.course][-MOST_SLOTS:]
        pairs = [*combinations(sorted(dates, key=lambda slot: slot.starts), SESSIONS)]
        pairs.append(pairs[0][::-1])
        chosen, key = pairs[number % len(pairs)], Key(new_id(), b"course")
        new = courses.NewCourse(slot_ids=[slot.id for slot in chosen])
        expected = self.model.book(couple, *chosen)
        book = lambda session: courses.book(session, self.actor(couple, True), key=key, new=new)  # noqa: E731
        assert self.done(book, dies) == expected

    @rule(number=some, couple=couples, dies=deaths)
    def walk_in(self, number: int, couple: int, dies: int | None) -> None:
        """Mostly today."""
        today = [slot for slot in self.model.slots if on(slot.starts) == clock.today()] or self.model.slots
        slot, both, key = today[number % len(today)], self.stage.couples[couple], Key(new_id(), b"desk")
        people = [
            walk_ins.Presented(name=one.name, document_kind=one.document_kind, document_number=one.document_number)
            for one in (both.wife, both.husband)
        ]  # fmt: skip
        new, desk = walk_ins.NewWalkIn(slot_id=slot.id, people=people), self.stage.hospital.actor
        expected = self.model.walk_in(couple, slot)
        assert self.done(lambda session: walk_ins.at_desk(session, desk, key=key, new=new), dies) == expected

    @rule(couple=couples, by_wife=st.booleans(), since=st.integers(0, 4), dies=deaths)
    def join(self, couple: int, by_wife: bool, since: int, dies: int | None) -> None:
        new, key = wish(Place(self.stage.hospital, self.stage.check), since=since), Key(new_id(), b"join")
        actor, expected = self.actor(couple, by_wife), self.model.join(couple, new.from_on)
        assert self.done(lambda session: entries.join(session, actor, key=key, new=new), dies) == expected

    @precondition(lambda self: self.model.appointments)
    @rule(number=some, by_wife=st.booleans(), other=some, verb=st.sampled_from([*TO]), dies=deaths)
    def step(self, number: int, verb: str, by_wife: bool, other: int, dies: int | None) -> None:
        """Of the newest: the older ones are mostly over. What is the wife's alone she does by herself."""
        newest = self.model.appointments[-4:]
        self.play(newest[number % len(newest)], verb, by_wife, other, dies)

    @precondition(lambda self: any(a.status in THERE for a in self.model.appointments))
    @rule(number=some, by_wife=st.booleans(), other=some, way=st.integers(0, 2), dies=deaths)
    def likely_step(self, number: int, way: int, by_wife: bool, other: int, dies: int | None) -> None:
        """Of one that is not over, what often is done."""
        going = [a for a in self.model.appointments if a.status in THERE]
        a = going[number % len(going)]
        self.play(a, LIKELY[a.status][way], by_wife, other, dies)

    def play(self, a: ModelAppointment, verb: str, by_wife: bool, other: int, dies: int | None) -> None:
        alike = [slot for slot in self.model.slots if slot.course is a.slot.course]
        to = alike[other % len(alike)] if other < 9 else self.slot(other)
        who, desk = self.actor(a.couple, by_wife or a.slot.course), self.stage.hospital.actor
        id, code, _ = self.stage.do(self.stage.found(a))
        work: dict[str, Work] = {
            "accept": lambda session: offers.accept(session, who, id=id),
            "decline": lambda session: offers.decline(session, who, id=id),
            "cancel": lambda session: bookings.cancel(session, who, id=id, reason=None),
            "move": lambda session: rescheduling.reschedule(session, who, id=id, slot_id=to.id),
            "check_in": lambda session: attendance.check_in(session, desk, code=code),
            "fulfil": lambda session: attendance.fulfil(session, desk, id=id),
            "no_show": lambda session: attendance.no_show(session, desk, id=id),
        }
        expected = self.model.step(verb, a, to)
        assert self.done(work[verb], dies) == expected

    @precondition(
        lambda self: any(a.slot.course and a.status is S.CANCELLED for a in self.model.appointments)
    )
    @rule(number=some, other=some, dies=deaths)
    def book_again(self, number: int, other: int, dies: int | None) -> None:
        """A date of a course that was given up."""
        given_up = [a for a in self.model.appointments if a.slot.course and a.status is S.CANCELLED]
        a, dates = given_up[number % len(given_up)], [slot for slot in self.model.slots if slot.course]
        to, key = dates[other % len(dates)], Key(new_id(), b"date")
        id, actor = self.stage.do(self.stage.found(a)).course_id, self.actor(a.couple, True)
        new = courses.NewDate(session=a.session, slot_id=to.id)
        expected = self.model.book_again(a, to)
        assert (
            self.done(lambda session: courses.book_again(session, actor, key=key, id=id, new=new), dies)
            == expected
        )

    @rule(number=some, dies=deaths)
    def close_slot(self, number: int, dies: int | None) -> None:
        slot, key = self.slot(number), Key(new_id(), b"close")
        if slot.closed or slot.starts + HOUR <= clock.now():
            return
        new = closures.NewClosure(
            clinic_id=self.stage.hospital.clinic.id, from_at=slot.starts, to_at=slot.starts + HOUR,
            service_code=(self.stage.treatment if slot.course else self.stage.check).code,
            reason=ClosureReason.EQUIPMENT,
        )  # fmt: skip
        self.model.close(slot)
        assert self.done(lambda session: closures.close(session, self.stage.worker, key=key, new=new), dies)

    @rule(hours=st.sampled_from([1, 3, 12, 24]), jobs=st.sampled_from([True, True, False]), dies=deaths)
    def time_passes(self, hours: int, jobs: bool, dies: int | None) -> None:
        """Then the jobs run, or are late. They are several transactions: what one that dies has left, the next does."""
        self.traveller.shift(timedelta(hours=hours))
        if not jobs:
            return
        self.model.jobs()
        try:
            self.stage.do(self.answer(self.jobs, dies))
        except Died:
            self.seen()
        assert self.tried(self.jobs, None)

    async def jobs(self) -> None:
        await offers.expire_due()
        await offers.offer_left()
        async with db.begin() as session:
            await messages.queue_due(session)

    @invariant()
    def the_database_agrees(self) -> None:
        seen = self.seen()
        assert Counter(seen.appointments) == Counter(
            (a.slot.id, a.couple, a.session, a.status, len(a.reminded) * (1 if a.slot.course else 2))
            for a in self.model.appointments
        )
        assert seen.line == [waiter.couple for waiter in self.model.line]
        self.traveller.shift(timedelta(seconds=1))  # no step is at the very moment at which something ends


@pytest.mark.timeout(60 + 60 * SOAK)
def test_the_places_are_counted_right_in_every_order_of_events(database: str) -> None:
    stage = BookingMachine.stage = Stage(db.driver(database))
    try:
        run_state_machine_as_test(
            BookingMachine,
            settings=settings(
                max_examples=10 * SOAK, stateful_step_count=25, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
                # To make a failure smaller takes minutes; it is told at once, and short enough to read.
                phases=[Phase.generate],
            ),
        )  # fmt: skip
    finally:
        stage.do(stage.close())
        stage.runner.close()
