"""What the model of booking is about, and the states that its rules are told in."""

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from app import clock
from app.models.appointments import AppointmentStatus

S = AppointmentStatus
on = clock.day_of
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
    """An hour of the check, for couples; or of the treatment, a `course` of two dates."""

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
    reminded: list[datetime] = field(default_factory=list)

    def is_over(self) -> bool:
        return self.status is S.HELD and self.until is not None and self.until <= clock.now()

    def another(self, slot: ModelSlot, **more: Any) -> "ModelAppointment":
        """In its place."""
        made = ModelAppointment(slot, self.couple, self.course, session=self.session, **more)
        self.course.append(made)
        return made


def dates(couple: int, *slots: ModelSlot, **more: Any) -> list[ModelAppointment]:
    """One appointment, or those of a course."""
    made: list[ModelAppointment] = []
    for session, slot in enumerate(slots, start=1):
        made.append(ModelAppointment(slot, couple, made, session=session, **more))
    return made
