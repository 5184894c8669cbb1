"""A model of booking. Of each step it says whether it is done (why not, is tested beside each service), and what there
is then: who has which place in which state, who waits in which order, how often who was reminded."""

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from app import clock
from app.models.appointments import AppointmentStatus
from app.services.appointments.slots import day

S = AppointmentStatus
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPEN, THERE = {S.HELD, S.BOOKED}, {S.HELD, S.BOOKED, S.ARRIVED}
ACTIVE = THERE | {S.FULFILLED}
# One nobody came to keeps its place, which is past by then; only a cancelled one gives it back.
SEATED = ACTIVE | {S.NO_SHOW}
TO = {
    "accept": S.BOOKED, "decline": S.CANCELLED, "cancel": S.CANCELLED, "move": S.BOOKED, "check_in": S.ARRIVED,
    "fulfil": S.FULFILLED, "no_show": S.NO_SHOW,
}  # fmt: skip


@dataclass(eq=False)
class ModelSlot:
    id: uuid.UUID
    starts: datetime
    opens: datetime
    capacity: int
    course: bool
    closed: bool = False


class Waiter(NamedTuple):
    priority: int
    number: int
    couple: int
    since: date


@dataclass(eq=False)
class ModelAppointment:
    """`until`: of what is, or was, an offer; `called`: from the line. `course`: itself, or all dates of its course."""

    slot: ModelSlot
    couple: int
    course: list["ModelAppointment"]
    status: S = S.BOOKED
    session: int = 1
    until: datetime | None = None
    called: Waiter | None = None
    reminded: dict[ModelSlot, datetime] = field(default_factory=dict)


def on(at: datetime) -> date:
    return at.astimezone(clock.SHANGHAI).date()


class Model:
    now = property(lambda self: clock.now())

    def __init__(self) -> None:
        self.slots: list[ModelSlot] = []
        self.appointments: list[ModelAppointment] = []
        self.line: list[Waiter] = []
        self.joined = 0

    def free(self, slot: ModelSlot) -> bool:
        taken = sum(a.slot is slot and a.status in SEATED for a in self.appointments)
        return not slot.closed and taken < slot.capacity

    def bookable(self, slot: ModelSlot) -> bool:
        return slot.opens <= self.now < slot.starts and self.free(slot)

    def clash(self, couple: int, slot: ModelSlot, but: ModelAppointment | None = None) -> bool:
        """They have that service, or that session of the course, or are to be elsewhere then."""
        return any(
            (a.status in THERE and abs(a.slot.starts - slot.starts) < HOUR)
            or (
                a.status in ACTIVE
                and a.slot.course is slot.course
                and (but is None or a.session == but.session)
            )
            for a in self.appointments
            if a.couple == couple and a is not but
        )

    def follows(self, a: ModelAppointment, slot: ModelSlot) -> bool:
        """The dates of a course follow each other."""
        others = [b for b in a.course if b is not a and b.status in SEATED]
        return all((slot.starts - b.slot.starts) * (a.session - b.session) >= HOUR for b in others)

    def make(self, *given: Any, **more: Any) -> None:
        made = ModelAppointment(*given, **more)
        made.course.append(made)
        self.appointments.append(made)

    def book(self, couple: int, *slots: ModelSlot) -> bool:
        """One, or all dates of a course of two."""
        apart = slots[-1].starts - slots[0].starts >= HOUR * (len(slots) - 1)
        done = apart and all(
            self.bookable(one) and one.course is (len(slots) == 2) and not self.clash(couple, one)
            for one in slots
        )
        course: list[ModelAppointment] = []
        for session, slot in enumerate(slots if done else (), start=1):
            self.make(slot, couple, course, session=session)
        return done

    def walk_in(self, couple: int, slot: ModelSlot) -> bool:
        today = on(slot.starts) == on(self.now) and self.now < slot.starts + HOUR
        done = today and self.free(slot) and not slot.course and not self.clash(couple, slot)
        if done:
            self.make(slot, couple, [], S.ARRIVED)
        return done

    def join(self, couple: int, since: date) -> bool:
        had = any(a.couple == couple and not a.slot.course and a.status in ACTIVE for a in self.appointments)
        places = [
            one for one in self.slots if not one.course and on(one.starts) >= since and self.bookable(one)
        ]
        waits = couple in [waiter.couple for waiter in self.line]
        done = not had and not waits and all(self.clash(couple, slot) for slot in places)
        if done:
            self.wait(1, couple, since)
        return done

    def wait(self, priority: int, couple: int, since: date) -> None:
        """Who waits already keeps the number."""
        old = [waiter for waiter in self.line if waiter.couple == couple]
        self.joined += 1
        new = Waiter(priority, old[0].number if old else self.joined, couple, since)
        self.line = sorted({*self.line, new} - {*old})

    def offer(self, slot: ModelSlot) -> None:
        """Its free places are held for the first in line whom it suits."""
        until = min(self.now + DAY, slot.starts - 2 * HOUR)
        for one in self.line if not slot.course and until >= self.now + HOUR else []:
            if self.bookable(slot) and one.since <= on(slot.starts) and not self.clash(one.couple, slot):
                self.line = [waiter for waiter in self.line if waiter is not one]
                self.make(slot, one.couple, [], S.HELD, until=until, called=one)

    def is_over(self, a: ModelAppointment) -> bool:
        return a.status is S.HELD and a.until is not None and a.until <= self.now

    def jobs(self) -> None:
        for a in sorted(filter(self.is_over, self.appointments), key=lambda a: a.until or self.now):
            a.status = S.EXPIRED
            self.offer(a.slot)
        for slot in sorted(self.slots, key=lambda slot: slot.starts):
            self.offer(slot)
        for a in self.appointments:
            first = a.slot.starts - DAY
            due = a.status is S.BOOKED and first <= self.now < a.slot.starts
            if due and all(at < first for at in a.reminded.values()):
                a.reminded.setdefault(a.slot, self.now)

    def close(self, slot: ModelSlot) -> None:
        """Who was called is back in line; others have the nearest free place held, or come first in line."""
        slot.closed = True
        soonest = max(slot.starts, self.now + timedelta(hours=3, minutes=1))
        for a in [a for a in self.appointments if a.slot is slot and a.status in OPEN]:
            called, a.status = a.called if a.status is S.HELD else None, S.CANCELLED
            others = [one for one in self.slots if one.course is slot.course and one.starts >= soonest]
            fit = [
                s for s in others if self.free(s) and self.follows(a, s) and not self.clash(a.couple, s, a)
            ]
            if called:
                self.line = sorted([*self.line, called])
            elif fit:
                near = min(fit, key=lambda one: one.starts)
                until = min(self.now + 3 * DAY, near.starts - 2 * HOUR)
                self.make(near, a.couple, a.course, S.HELD, a.session, until)
            elif not slot.course:
                self.wait(0, a.couple, on(self.now))

    def book_again(self, a: ModelAppointment, to: ModelSlot) -> bool:
        """A date of a course that was cancelled; of one of which something is left."""
        gap = a.slot.course and not any(b.session == a.session and b.status in SEATED for b in a.course)
        left = any(b.status in ACTIVE for b in a.course)
        done = gap and left and to.course and self.bookable(to) and self.follows(a, to)
        done = done and not self.clash(a.couple, to, a)
        if done:
            self.make(to, a.couple, a.course, session=a.session)
        return done

    def step(self, verb: str, a: ModelAppointment, to: ModelSlot) -> bool:
        """An offer is answered; an appointment is moved, given up or attended. What is done is done again."""
        booked, (begin, end) = a.status is S.BOOKED, day(on(a.slot.starts))
        today = min(begin, a.slot.starts - 2 * HOUR) <= self.now < end
        ahead = self.now < a.slot.starts - DAY * (a.slot.course and booked)
        answers = a.status is S.HELD and not self.is_over(a)
        comes_late = a.status is S.NO_SHOW and not self.clash(a.couple, a.slot, a)
        goes = ahead and self.bookable(to) and to.course is a.slot.course and not self.clash(a.couple, to, a)
        done = {
            "accept": answers or (booked and a.until is not None),
            "decline": answers,
            "cancel": a.status in OPEN and ahead,
            "move": (booked or answers) and (to is a.slot or (goes and self.follows(a, to))),
            "check_in": today and (booked or comes_late or a.status is S.ARRIVED),
            "fulfil": a.status is S.ARRIVED,
            "no_show": booked and a.slot.starts + HOUR <= self.now,
        }[verb]
        if done:
            old, a.status = a.slot, TO[verb]
            a.slot = to if verb == "move" else old
            if a.status is S.CANCELLED or a.slot is not old:
                self.offer(old)
        return done
