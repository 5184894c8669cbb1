"""What must happen to slots, appointments and the line of waiters: a model in memory, for the booking machine."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from app import clock
from app.models.appointments import AppointmentStatus
from app.services.appointments.slots import day

S = AppointmentStatus
ACTIVE = {S.HELD, S.BOOKED, S.ARRIVED, S.FULFILLED}
# One nobody came to keeps its place, which is past by then; only a cancelled one gives it back.
SEATED = ACTIVE | {S.NO_SHOW}
HOUR, OFFER, AFTER_CLOSING = timedelta(hours=1), timedelta(hours=24), timedelta(hours=72)


@dataclass(eq=False)
class ModelSlot:
    id: uuid.UUID
    starts: datetime
    opens: datetime
    capacity: int
    closed: bool = False

    @property
    def on(self) -> date:
        return self.starts.astimezone(clock.SHANGHAI).date()


@dataclass(order=True)
class Waiter:
    priority: int
    number: int
    couple: int
    since: date


@dataclass(eq=False)
class ModelAppointment:
    slot: ModelSlot
    couple: int
    status: S = S.BOOKED
    until: datetime | None = None
    called: Waiter | None = None


class Model:
    """What is done to it answers with the name of the problem, or "done"."""

    def __init__(self) -> None:
        self.slots: list[ModelSlot] = []
        self.appointments: list[ModelAppointment] = []
        self.line: list[Waiter] = []
        self.joined = 0

    def of(self, slot: ModelSlot, among: set[S] = SEATED) -> list[ModelAppointment]:
        return [a for a in self.appointments if a.slot is slot and a.status in among]

    def is_active(self, couple: int) -> bool:
        return any(a.couple == couple and a.status in ACTIVE for a in self.appointments)

    def refusal(self, now: datetime, slot: ModelSlot) -> str:
        """Why nobody may take a place now. A place that is held for somebody is no newcomer's."""
        if slot.opens > now and not slot.closed:
            return "slot-not-open-yet"
        if slot.closed or slot.starts <= now:
            return "slot-closed"
        return "slot-full" if len(self.of(slot)) >= slot.capacity else ""

    def take(self, refusal: str, slot: ModelSlot, couple: int, status: S = S.BOOKED) -> str:
        if not refusal:
            self.appointments.append(ModelAppointment(slot, couple, status))
        return refusal or "done"

    def book(self, now: datetime, slot: ModelSlot, couple: int) -> str:
        active = "already-booked" if self.is_active(couple) else ""
        return self.take(self.refusal(now, slot) or active, slot, couple)

    def walk_in(self, now: datetime, slot: ModelSlot, couple: int) -> str:
        refusal = ""
        if self.is_active(couple):
            refusal = "already-booked"
        elif slot.closed:
            refusal = "slot-closed"
        elif slot.on != now.date() or now >= slot.starts + HOUR:
            refusal = "slot-not-today"
        elif len(self.of(slot)) >= slot.capacity:
            refusal = "slot-full"
        return self.take(refusal, slot, couple, S.ARRIVED)

    def join(self, now: datetime, couple: int, since: date) -> str:
        if self.is_active(couple):
            return "already-booked"
        if any(slot.on >= since and not self.refusal(now, slot) for slot in self.slots):
            return "place-is-free"
        if any(waiter.couple == couple for waiter in self.line):
            return "already-waiting"
        self.wait(1, couple, since)
        return "done"

    def wait(self, priority: int, couple: int, since: date) -> None:
        self.joined += 1
        self.line = sorted([*self.line, Waiter(priority, self.joined, couple, since)])

    def offer(self, now: datetime, slot: ModelSlot) -> None:
        """Its free places are held for the first in line whom it suits."""
        until = min(now + OFFER, slot.starts - 2 * HOUR)
        for waiter in list(self.line):
            if self.refusal(now, slot) or until < now + HOUR:
                return
            if waiter.since <= slot.on and not self.is_active(waiter.couple):
                self.line.remove(waiter)
                self.appointments.append(ModelAppointment(slot, waiter.couple, S.HELD, until, waiter))

    def jobs(self, now: datetime) -> None:
        held = [a for a in self.appointments if a.status is S.HELD and a.until and a.until <= now]
        for offer in sorted(held, key=lambda offer: offer.until or now):
            offer.status = S.EXPIRED
            self.offer(now, offer.slot)
        for slot in sorted(self.slots, key=lambda slot: slot.starts):
            self.offer(now, slot)

    def close(self, now: datetime, slot: ModelSlot) -> None:
        """Who was called is back in line; others have the nearest free place held, or come first in line."""
        slot.closed = True
        soonest = max(slot.starts, now + 3 * HOUR + timedelta(minutes=1))
        open_ = self.of(slot, {S.HELD, S.BOOKED})
        for old in open_:
            old.called, called = None, old.called if old.status is S.HELD else None
            old.status = S.CANCELLED
            if called:
                self.line = sorted([*self.line, called])
                continue
            later = [
                s for s in self.slots if s.starts >= soonest and not s.closed and len(self.of(s)) < s.capacity
            ]
            if later:
                near = min(later, key=lambda s: s.starts)
                until = min(now + AFTER_CLOSING, near.starts - 2 * HOUR)
                self.appointments.append(ModelAppointment(near, old.couple, S.HELD, until))
            elif waiting := [w for w in self.line if w.couple == old.couple]:
                waiting[0].priority, waiting[0].since = 0, now.date()
                self.line.sort()
            else:
                self.wait(0, old.couple, now.date())

    def step(self, now: datetime, verb: str, a: ModelAppointment) -> str:
        """An offer is accepted or declined, an appointment is cancelled or attended."""
        starts, before, to = a.slot.starts, *STEPS[verb]
        over = a.status is S.EXPIRED or (a.status is S.HELD and a.until is not None and a.until <= now)
        if verb in ("accept", "decline") and over:
            return "offer-over"
        if verb == "cancel" and starts <= now and a.status in before:
            return "too-late-to-change"
        if said := self.attend(now, verb, a):
            return said
        if a.status not in before:
            return "wrong-state"
        a.status = to
        if to is S.CANCELLED:
            self.offer(now, a.slot)
        return "done"

    def attend(self, now: datetime, verb: str, a: ModelAppointment) -> str:
        first, end = day(a.slot.on)
        if verb == "accept" and a.status is S.BOOKED and a.until is not None:
            return "done"
        if verb == "no_show" and a.slot.starts + HOUR > now:
            return "wrong-state"
        if verb != "check_in":
            return ""
        if not min(first, a.slot.starts - 2 * HOUR) <= now < end:
            return "not-today"
        if a.status is S.NO_SHOW and self.is_active(a.couple):
            return "already-booked"
        return "done" if a.status is S.ARRIVED else ""

    def move(self, now: datetime, a: ModelAppointment, slot: ModelSlot) -> str:
        old = a.slot
        if a.status is not S.BOOKED:
            return "wrong-state"
        if slot is old:
            return "done"
        if refusal := "too-late-to-change" if old.starts <= now else self.refusal(now, slot):
            return refusal
        a.slot = slot
        self.offer(now, old)
        return "done"


STEPS: dict[str, tuple[set[S], S]] = {
    "accept": ({S.HELD}, S.BOOKED),
    "decline": ({S.HELD}, S.CANCELLED),
    "cancel": ({S.HELD, S.BOOKED}, S.CANCELLED),
    "check_in": ({S.BOOKED, S.NO_SHOW}, S.ARRIVED),
    "fulfil": ({S.ARRIVED}, S.FULFILLED),
    "no_show": ({S.BOOKED}, S.NO_SHOW),
}
