"""Clinics of the region, and what workers do with the appointments of its residents."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, View, example, staff_may
from app.api.slots import ClinicView
from app.errors import Forbidden, NotFound, WrongState, problems
from app.models.appointments import AppointmentStatus, Origin
from app.services import consents, eligibility
from app.services.appointments import (
    arrangements,
    attendance,
    bookings,
    courses,
    offers,
    rescheduling,
    slots,
    walk_ins,
)
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["预约 appointments"])
Arrange = Annotated[Actor, staff_may(Permission.APPOINTMENT_ARRANGE)]


class ArrangedAppointment(View):
    """Without the code, which is the resident's own key to check-in."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        spouse_id=None,
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        origin="staff",
        status="booked",
    )

    id: uuid.UUID
    slot_id: uuid.UUID
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    starts_at: datetime
    ends_at: datetime
    origin: Origin
    status: AppointmentStatus


class ArrangedDate(ArrangedAppointment):
    """One date of a course."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        spouse_id=None,
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        origin="staff",
        status="booked",
        course_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08",
        session=1,
    )

    course_id: uuid.UUID
    session: int


@router.post(
    "/clinics",
    status_code=201,
    summary="开设服务点 Open a clinic",
    responses=problems(NotFound, Forbidden, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def open_clinic(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.CLINIC_OPEN)],
    key: IdempotencyKey,
    body: slots.NewClinic,
) -> ClinicView:
    return ClinicView.model_validate(await slots.open_clinic(db, actor, key=key, new=body))


@router.post(
    "/appointments",
    status_code=201,
    summary="代居民预约 Book for a resident",
    responses=problems(
        NotFound, Forbidden, bookings.SlotFull, bookings.SlotNotOpenYet, bookings.SlotClosed, bookings.AlreadyBooked,
        bookings.OverlappingAppointment, bookings.TooManyNoShows, bookings.BookedAsCourse, eligibility.NotEligible,
        consents.ConsentRequired,
    ),
)  # fmt: skip
async def arrange_appointment(
    db: Db, actor: Arrange, key: IdempotencyKey, body: arrangements.NewArrangement
) -> ArrangedAppointment:
    """Somebody of the own region, who is told. Towns and above may go beyond the capacity, or waive the rule."""
    return ArrangedAppointment.model_validate(await arrangements.arrange(db, actor, key=key, new=body))


@router.post(
    "/courses",
    status_code=201,
    summary="代居民预约疗程 Book a course for a resident",
    responses=problems(
        NotFound, Forbidden, courses.NotACourse, bookings.SlotFull, bookings.SlotNotOpenYet, bookings.SlotClosed,
        bookings.AlreadyBooked, bookings.OverlappingAppointment, bookings.TooManyNoShows, eligibility.NotEligible,
        consents.ConsentRequired, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def arrange_course(
    db: Db, actor: Arrange, key: IdempotencyKey, body: arrangements.NewArrangedCourse
) -> list[ArrangedDate]:
    """All dates or none, with the same exceptions; the resident is told once. The Idempotency-Key becomes the id of the
    course."""
    rows = await arrangements.arrange_course(db, actor, key=key, new=body)
    return [ArrangedDate.model_validate(row) for row in rows]


@router.post(
    "/courses/{id}/dates",
    status_code=201,
    summary="代居民补约疗程的一次 Book a cancelled date of a course anew for a resident",
    responses=problems(
        NotFound, WrongState, courses.CourseOver, rescheduling.OutOfOrder, bookings.SlotFull, bookings.SlotNotOpenYet,
        bookings.SlotClosed, bookings.AlreadyBooked, bookings.OverlappingAppointment, bookings.TooManyNoShows,
        eligibility.NotEligible, consents.ConsentRequired, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def arrange_course_date(
    db: Db, actor: Arrange, key: IdempotencyKey, id: uuid.UUID, body: arrangements.ArrangedDate
) -> ArrangedDate:
    """Between its neighbours, at the same clinic, while another date of the course is kept; the resident is told."""
    return ArrangedDate.model_validate(await arrangements.arrange_date(db, actor, key=key, id=id, new=body))


@router.post(
    "/walk-ins",
    status_code=201,
    summary="现场登记 Somebody walks in",
    responses=problems(
        NotFound, bookings.SlotFull, bookings.SlotClosed, walk_ins.SlotNotToday, bookings.BookedAsCourse,
        bookings.AlreadyBooked, bookings.OverlappingAppointment, eligibility.NotEligible, consents.ConsentRequired,
    ),
)  # fmt: skip
async def walk_in(
    db: Db, actor: Arrange, key: IdempotencyKey, body: walk_ins.NewVisit
) -> ArrangedAppointment:
    """Takes a free place of a slot of today, and has arrived."""
    return ArrangedAppointment.model_validate(await walk_ins.visit(db, actor, key=key, new=body))


@router.post(
    "/appointments/{id}/cancel",
    summary="代居民取消 Cancel for a resident",
    responses=problems(NotFound, WrongState),
)
async def call_off_appointment(
    db: Db, actor: Arrange, id: uuid.UUID, body: arrangements.Withdrawal
) -> ArrangedAppointment:
    """At any time until somebody has arrived; the residents are told."""
    row = await bookings.call_off(db, actor, id=id, reason=body.reason, note=body.note)
    return ArrangedAppointment.model_validate(row)


@router.post(
    "/appointments/{id}/reschedule",
    summary="代居民改约 Move to another time for a resident",
    responses=problems(
        NotFound, WrongState, bookings.SlotFull, bookings.NotEnoughPlaces, bookings.SlotNotOpenYet, bookings.SlotClosed,
        bookings.OverlappingAppointment, bookings.AlreadyBooked, rescheduling.OutOfOrder, offers.OfferOver,
        consents.ConsentRequired,
    ),
)  # fmt: skip
async def move_appointment(
    db: Db, actor: Arrange, id: uuid.UUID, body: arrangements.AnotherTime
) -> ArrangedAppointment:
    """At any time until somebody has arrived, to a slot of the same service. A place that is only held is accepted by
    it. The residents are told."""
    row = await rescheduling.reschedule_for(
        db, actor, id=id, slot_id=body.slot_id, reason=body.reason, note=body.note
    )
    return ArrangedAppointment.model_validate(row)


@router.post(
    "/appointments/{id}/entered-in-error",
    summary="作废录入错误的预约 Entered in error",
    responses=problems(NotFound, WrongState),
)
async def annul_appointment(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.APPOINTMENT_ANNUL)],
    id: uuid.UUID,
    body: arrangements.Withdrawal,
) -> ArrangedAppointment:
    """It should never have been: its place is free again, its certificates are void."""
    row = await attendance.annul(db, actor, id=id, reason=body.reason, note=body.note)
    return ArrangedAppointment.model_validate(row)
