"""What booking should do: of each step whether it is done (why not, is tested beside each service), and what there is
then: who has which place in which state, who waits in which order, when who was reminded."""

from datetime import date, timedelta

from app import clock
from app.services.appointments.slots import day
from tests.properties.booking_pieces import ACTIVE, DAY, HOUR, OPEN, SEATED, THERE, TO, S, Waiter, dates, on
from tests.properties.booking_pieces import ModelAppointment as A
from tests.properties.booking_pieces import ModelSlot as Slot


class Model:
    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.appointments: list[A] = []
        self.line: list[Waiter] = []
        self.joined = 0

    def free(self, slot: Slot) -> bool:
        taken = sum(a.slot is slot and a.status in SEATED for a in self.appointments)
        return not slot.closed and taken < slot.capacity

    def bookable(self, slot: Slot) -> bool:
        return slot.opens <= clock.now() < slot.starts and self.free(slot)

    def suits(self, a: A, slot: Slot) -> bool:
        """Nobody is in two places or has a service twice, and the dates of a course follow each other."""
        others = [b for b in self.appointments if b.couple == a.couple and b is not a]
        there = [b.slot for b in others if b.status in THERE]
        had = [(b.slot.course, b.session) for b in others if b.status in ACTIVE]
        course = [b for b in a.course if b.status in SEATED and b is not a]
        return (
            all(abs(one.starts - slot.starts) >= HOUR for one in there)
            and (slot.course, a.session) not in had
            and all((slot.starts - b.slot.starts) * (a.session - b.session) >= HOUR for b in course)
        )

    def made(self, done: bool, *new: A) -> bool:
        self.appointments += new if done else ()
        return done

    def book(self, couple: int, *slots: Slot) -> bool:
        """One, or both dates of a course."""
        new, course = dates(couple, *slots), len(slots) == 2
        return self.made(
            all(a.slot.course is course and self.bookable(a.slot) and self.suits(a, a.slot) for a in new),
            *new,
        )

    def walk_in(self, couple: int, slot: Slot) -> bool:
        [new], now = dates(couple, slot, status=S.ARRIVED), clock.now()
        today = on(slot.starts) == on(now) and now < slot.starts + HOUR
        return self.made(today and not slot.course and self.free(slot) and self.suits(new, slot), new)

    def join(self, couple: int, since: date) -> bool:
        """Who neither has had it nor waits, where nothing suitable is free."""
        mine = [
            a for a in self.appointments if a.couple == couple and not a.slot.course and a.status in ACTIVE
        ]
        waits = any(waiter.couple == couple for waiter in self.line)
        free = [s for s in self.slots if not s.course and on(s.starts) >= since and self.bookable(s)]
        if done := not mine and not waits and not any(self.suits(*dates(couple, s), s) for s in free):
            self.wait(1, couple, since)
        return done

    def wait(self, priority: int, couple: int, since: date) -> None:
        """Who waits already keeps the number."""
        self.joined += 1
        number = min([waiter.number for waiter in self.line if waiter.couple == couple], default=self.joined)
        others = [waiter for waiter in self.line if waiter.couple != couple]
        self.line = sorted([*others, Waiter(priority, number, couple, since)])

    def offer(self, slot: Slot) -> None:
        """Its free places are held for the first in line whom it suits."""
        until = min(clock.now() + DAY, slot.starts - 2 * HOUR)
        for one in [*self.line] if not slot.course and until >= clock.now() + HOUR else []:
            [new] = dates(one.couple, slot, status=S.HELD, until=until, called=one)
            if self.made(self.bookable(slot) and one.since <= on(slot.starts) and self.suits(new, slot), new):
                self.line.remove(one)

    def jobs(self) -> None:
        for a in sorted(filter(A.is_over, self.appointments), key=lambda a: str(a.until)):
            a.status = S.EXPIRED
            self.offer(a.slot)
        for slot in sorted(self.slots, key=lambda slot: slot.starts):
            self.offer(slot)
        for a in self.appointments:
            first = a.slot.starts - DAY
            due = a.status is S.BOOKED and first <= clock.now() < a.slot.starts
            a.reminded += [clock.now()] if due and all(at < first for at in a.reminded) else []

    def close(self, slot: Slot) -> None:
        """Who was called is back in line; others have the nearest free place held, or come first in line."""
        slot.closed, soonest = True, max(slot.starts, clock.now() + timedelta(hours=3, minutes=1))
        for a in [a for a in self.appointments if a.slot is slot and a.status in OPEN]:
            called, a.status = a.called if a.status is S.HELD else None, S.CANCELLED
            later = [
                s for s in self.slots if s.course is slot.course and s.starts >= soonest and self.free(s)
            ]
            near = min((s for s in later if self.suits(a, s)), key=lambda s: s.starts, default=None)
            if called:
                self.line = sorted([*self.line, called])
            elif near:
                until = min(clock.now() + 3 * DAY, near.starts - 2 * HOUR)
                self.made(True, a.another(near, status=S.HELD, until=until))
            elif not slot.course:
                self.wait(0, a.couple, on(clock.now()))

    def book_again(self, a: A, to: Slot) -> bool:
        """A date of a course that was cancelled; of one of which something is left."""
        left = a.slot.course and any(b.status in ACTIVE for b in a.course)
        done = left and to.course and self.bookable(to) and self.suits(a, to)
        return done and self.made(True, a.another(to))

    def step(self, verb: str, a: A, to: Slot) -> bool:
        """An offer is answered; an appointment is moved, given up or attended. What is done is done again."""
        now, booked, (begin, end) = clock.now(), a.status is S.BOOKED, day(on(a.slot.starts))
        today = min(begin, a.slot.starts - 2 * HOUR) <= now < end
        ahead = now < a.slot.starts - DAY * (a.slot.course and booked)
        answers = a.status is S.HELD and not a.is_over()
        goes = ahead and to.course is a.slot.course and self.bookable(to) and self.suits(a, to)
        comes = booked or a.status is S.ARRIVED or (a.status is S.NO_SHOW and self.suits(a, a.slot))
        done = {
            "accept": answers or (booked and a.until is not None),
            "decline": answers,
            "cancel": a.status in OPEN and ahead,
            "move": (booked or answers) and (to is a.slot or goes),
            "check_in": today and comes,
            "fulfil": a.status is S.ARRIVED,
            "no_show": booked and a.slot.starts + HOUR <= now,
        }[verb]
        if done:
            old, a.status = a.slot, TO[verb]
            a.slot = to if verb == "move" else old
            if a.status is S.CANCELLED or a.slot is not old:
                self.offer(old)
        return done
