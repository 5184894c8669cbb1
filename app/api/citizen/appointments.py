"""Services, whether one is eligible and why, slots, booking."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from app.access import Actor, Permission
from app.admission import Busy
from app.api.deps import (
    Body,
    Day,
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Note,
    Paging,
    RegionCode,
    View,
    example,
    listing,
    resident_may,
)  # fmt: skip
from app.errors import NotFound, WrongState, problems
from app.models.appointments import AppointmentStatus, Origin
from app.services import consents, eligibility, identity
from app.services.appointments import (
    attendance,
    bookings,
    calendar_file,
    catalogue,
    offers,
    reading,
    rescheduling,
    slots,
)
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["预约 appointments"])
Read = Annotated[Actor, resident_may(Permission.APPOINTMENT_READ)]
Book = Annotated[Actor, resident_may(Permission.APPOINTMENT_BOOK)]
ServiceCode = Annotated[str, Query(max_length=60, pattern="^[a-z0-9_]+$")]


class SlotView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        clinic_name="银川市妇幼保健院优生门诊",
        clinic_address="解放西街 56 号",
        clinic_phone="0951-1234567",
        organization_name="银川市妇幼保健院",
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        opens_at="2026-08-25T00:00:00Z",
        remaining=7,
        room_name="201 诊室",
        practitioner_name="赵敏",
        practitioner_title="副主任医师",
    )

    id: uuid.UUID
    clinic_id: uuid.UUID
    clinic_name: str
    clinic_address: str
    clinic_phone: str
    organization_name: str
    starts_at: datetime
    ends_at: datetime
    opens_at: datetime
    remaining: int
    room_name: str | None
    practitioner_name: str | None
    practitioner_title: str | None


class BookSlot(Body):
    """`places`: how many come, oneself included, where the service takes groups, as a lecture does."""

    model_config = example(slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", places=1)

    slot_id: uuid.UUID
    places: Annotated[int, Field(ge=1, le=50)] = 1


class MoveAppointment(Body):
    model_config = example(slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e05")

    slot_id: uuid.UUID


class CancelAppointment(Body):
    model_config = example(reason="临时有事")

    reason: Note | None = None


class AppointmentView(View):
    """`code` is shown at the clinic to check in. The dates of a course share `course_id`, counted by `session`."""

    id: uuid.UUID
    slot_id: uuid.UUID
    clinic_id: uuid.UUID
    service_id: uuid.UUID
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    cycle: str
    session: int
    course_id: uuid.UUID | None
    places: int
    origin: Origin
    code: str
    starts_at: datetime
    ends_at: datetime
    status: AppointmentStatus
    hold_expires_at: datetime | None


class AppointmentDetail(AppointmentView):
    """With what it is for and where to go."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        spouse_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e09",
        cycle="child-1",
        session=1,
        course_id=None,
        places=1,
        origin="resident",
        code="4FP901320D",
        starts_at="2026-09-01T00:30:00Z",
        ends_at="2026-09-01T01:00:00Z",
        status="booked",
        hold_expires_at=None,
        service_zh="免费孕前优生健康检查",
        service_en="Free pre-pregnancy check",
        clinic_name="银川市妇幼保健院优生门诊",
        clinic_address="解放西街 56 号",
        clinic_phone="0951-1234567",
        organization_name="银川市妇幼保健院",
    )

    service_zh: str
    service_en: str
    clinic_name: str
    clinic_address: str
    clinic_phone: str
    organization_name: str


@router.post(
    "/appointments",
    status_code=201,
    summary="预约 Book",
    responses=problems(
        NotFound, bookings.SlotFull, bookings.NotEnoughPlaces, bookings.SlotNotOpenYet, bookings.SlotClosed,
        bookings.AlreadyBooked, bookings.OverlappingAppointment, bookings.TooManyNoShows, bookings.BookedAsCourse,
        bookings.TooManyPlaces, identity.NotBound, eligibility.NotEligible, consents.ConsentRequired,
        IdempotencyKeyReused, IdempotencyKeyTaken, Busy,
    ),
)  # fmt: skip
async def book_appointment(actor: Book, key: IdempotencyKey, body: BookSlot) -> AppointmentView:
    """For a couple's service either spouse books for both, once both have agreed to the notices."""
    booked = await bookings.book(actor, key=key, slot_id=body.slot_id, wanted=body.places)
    return AppointmentView.model_validate(booked)


@router.get(
    "/services/{code}/eligibility",
    summary="我是否符合条件 Am I eligible, and why",
    responses=problems(NotFound, identity.NotBound),
)
async def explain_eligibility(db: Db, actor: Read, code: Line) -> eligibility.Explanation:
    """Each criterion with its value, its clause, and whether it is met."""
    service = await catalogue.service(db, code)
    return await eligibility.explain_service(
        db, actor, service=service, person_id=await identity.own_id(db, actor)
    )


@router.post(
    "/services/{code}/qualification",
    summary="预先确认资格 Settle eligibility ahead of the release",
    responses=problems(NotFound, identity.NotBound),
)
async def settle_qualification(db: Db, actor: Book, code: Line) -> eligibility.Explanation:
    """Done beforehand, a booking in the opening second is one statement. Booking does it otherwise."""
    service = await catalogue.service(db, code)
    return await eligibility.settle(db, actor, service=service, person_id=await identity.own_id(db, actor))


@router.get(
    "/slots", summary="可预约时段 Slots", response_model=Listing[SlotView], responses=problems(NotFound, Busy)
)
async def list_slots(
    db: Db,
    actor: Annotated[Actor, resident_may(Permission.SLOT_READ)],
    page: Paging,
    service: ServiceCode,
    on: Day | None = None,
    region_code: Annotated[RegionCode | None, Query()] = None,
) -> dict[str, Any]:
    """Coming slots in time order, full ones too: a place may come free."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await slots.search(
        db, actor, service_code=service, on=on, region_code=region_code, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row.starts_at.isoformat(), row.id))


@router.get(
    "/appointments",
    summary="我的预约 My appointments",
    response_model=Listing[AppointmentDetail],
    responses=problems(Busy),
)
async def my_appointments(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    after = page.after_one(uuid.UUID)
    rows = await reading.mine(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get("/appointments/{id}", summary="预约详情 An appointment", responses=problems(NotFound))
async def appointment(db: Db, actor: Read, id: uuid.UUID) -> AppointmentDetail:
    return AppointmentDetail.model_validate(await reading.detail(db, actor, id=id))


@router.post(
    "/appointments/{id}/cancel",
    summary="取消预约 Cancel",
    responses=problems(NotFound, WrongState, bookings.TooLateToChange),
)
async def cancel_appointment(db: Db, actor: Book, id: uuid.UUID, body: CancelAppointment) -> AppointmentView:
    """By either spouse, as long before it begins as the service asks for; the place is free again at once."""
    return AppointmentView.model_validate(await bookings.cancel(db, actor, id=id, reason=body.reason))


@router.post(
    "/appointments/{id}/reschedule",
    summary="改约 Move to another time",
    responses=problems(
        NotFound, WrongState, bookings.SlotFull, bookings.NotEnoughPlaces, bookings.SlotNotOpenYet, bookings.SlotClosed,
        bookings.TooLateToChange, bookings.OverlappingAppointment, bookings.AlreadyBooked, rescheduling.OutOfOrder,
        offers.OfferOver, consents.ConsentRequired, identity.NotBound,
    ),
)  # fmt: skip
async def reschedule_appointment(
    db: Db, actor: Book, id: uuid.UUID, body: MoveAppointment
) -> AppointmentView:
    """The same appointment with the same code at another slot of the service. Where that is full, it stays. A place
    that is only held is accepted by it: booked at the other time, while the one offered goes to the next in line."""
    moved = await rescheduling.reschedule(db, actor, id=id, slot_id=body.slot_id)
    return AppointmentView.model_validate(moved)


@router.get(
    "/appointments/{id}/code.svg",
    summary="签到二维码 The check-in code as a picture",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, **problems(NotFound)},
)
async def appointment_code(db: Db, actor: Read, id: uuid.UUID) -> Response:
    """A QR code that holds the check-in code and nothing else."""
    drawn = await attendance.picture(db, actor, id=id)
    return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "private, no-store"})


@router.get(
    "/appointments/{id}/calendar.ics",
    summary="日历文件 The appointment for one's calendar",
    response_class=Response,
    responses={200: {"content": {"text/calendar": {}}}, **problems(NotFound)},
)
async def appointment_calendar(db: Db, actor: Read, id: uuid.UUID) -> Response:
    """RFC 5545: what, where and when. Taken in again after a change it replaces the entry."""
    written = await calendar_file.calendar(db, actor, id=id)
    return Response(written, media_type="text/calendar", headers={"Cache-Control": "private, no-store"})
