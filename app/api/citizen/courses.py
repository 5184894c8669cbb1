"""Courses: the dates of a treatment, booked together."""

import uuid

from fastapi import APIRouter

from app.admission import Busy
from app.api.citizen.appointments import AppointmentView, Book, CancelAppointment
from app.api.deps import Db, IdempotencyKey
from app.errors import NotFound, WrongState, problems
from app.services import consents, eligibility, identity
from app.services.appointments import bookings, courses, rescheduling
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["预约 appointments"])


@router.post(
    "/courses",
    status_code=201,
    summary="预约疗程 Book a course",
    responses=problems(
        NotFound, courses.NotACourse, bookings.SlotFull, bookings.SlotNotOpenYet, bookings.SlotClosed,
        bookings.AlreadyBooked, bookings.OverlappingAppointment, bookings.TooManyNoShows, identity.NotBound,
        eligibility.NotEligible, consents.ConsentRequired, IdempotencyKeyReused, IdempotencyKeyTaken,
        Busy,
    ),
)  # fmt: skip
async def book_course(
    db: Db, actor: Book, key: IdempotencyKey, body: courses.NewCourse
) -> list[AppointmentView]:
    """All dates of a treatment, or none. The Idempotency-Key becomes the id of the course."""
    rows = await courses.book(db, actor, key=key, new=body)
    return [AppointmentView.model_validate(row) for row in rows]


@router.post(
    "/courses/{id}/dates",
    status_code=201,
    summary="补约疗程的一次 Book a cancelled date of a course anew",
    responses=problems(
        NotFound, WrongState, courses.CourseOver, rescheduling.OutOfOrder, bookings.SlotFull, bookings.SlotNotOpenYet,
        bookings.SlotClosed, bookings.AlreadyBooked, bookings.OverlappingAppointment, bookings.TooManyNoShows,
        identity.NotBound, eligibility.NotEligible, consents.ConsentRequired, IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def book_course_date(
    db: Db, actor: Book, key: IdempotencyKey, id: uuid.UUID, body: courses.NewDate
) -> AppointmentView:
    """Between its neighbours, at the same clinic, while another date of the course is kept."""
    return AppointmentView.model_validate(await courses.book_again(db, actor, key=key, id=id, new=body))


@router.post(
    "/courses/{id}/cancel",
    summary="取消疗程余下各次 Cancel the rest of a course",
    responses=problems(NotFound, WrongState, bookings.TooLateToChange),
)
async def cancel_course(db: Db, actor: Book, id: uuid.UUID, body: CancelAppointment) -> list[AppointmentView]:
    """Every date still far enough ahead; answers with all dates of the course as they are now."""
    rows = await courses.cancel_rest(db, actor, id=id, reason=body.reason)
    return [AppointmentView.model_validate(row) for row in rows]
