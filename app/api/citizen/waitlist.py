"""Waiting lists and offers: to join, to see one's place in line, to answer what is offered."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, Listing, Paging, View, example, listing, resident_may
from app.errors import NotFound, WrongState, problems
from app.models.appointments import AppointmentStatus, Origin
from app.models.waitlist import WaitlistStatus
from app.services import consents, eligibility, identity
from app.services.appointments import bookings, entries, offers
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["候补 waiting list"])
Read = Annotated[Actor, resident_may(Permission.APPOINTMENT_READ)]
Book = Annotated[Actor, resident_may(Permission.APPOINTMENT_BOOK)]


class EntryView(View):
    """`ahead`: how many come before for one of these days, while one waits; counted among the first thousand in line.
    `appointment_id`: the offer that came last; while it is open, when it would be and until when to answer."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e20",
        service_code="pre_pregnancy_check",
        service_zh="免费孕前优生健康检查",
        service_en="Free pre-pregnancy check",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        clinic_name="银川市妇幼保健院优生门诊",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        spouse_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e09",
        from_on="2026-12-01",
        to_on="2026-12-31",
        places=1,
        status="waiting",
        ahead=3,
        appointment_id=None,
        offered_starts_at=None,
        offer_expires_at=None,
        created_at="2026-11-22T01:00:00Z",
    )

    id: uuid.UUID
    service_code: str
    service_zh: str
    service_en: str
    clinic_id: uuid.UUID
    clinic_name: str
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    from_on: date
    to_on: date
    places: int
    status: WaitlistStatus
    ahead: int | None
    appointment_id: uuid.UUID | None = None
    offered_starts_at: datetime | None = None
    offer_expires_at: datetime | None = None
    created_at: datetime


class Answered(View):
    """An offer after the answer to it."""

    id: uuid.UUID
    slot_id: uuid.UUID
    clinic_id: uuid.UUID
    service_id: uuid.UUID
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None
    places: int
    origin: Origin
    code: str
    starts_at: datetime
    ends_at: datetime
    status: AppointmentStatus
    hold_expires_at: datetime


class OfferView(Answered):
    """`origin`: from the waiting list, or in place of a time that was closed. Answer before `hold_expires_at`."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21",
        slot_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e04",
        service_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        spouse_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e09",
        places=1,
        origin="waitlist",
        code="4FP901320D",
        starts_at="2026-12-03T00:30:00Z",
        ends_at="2026-12-03T01:00:00Z",
        status="held",
        hold_expires_at="2026-11-23T01:00:00Z",
        service_zh="免费孕前优生健康检查",
        service_en="Free pre-pregnancy check",
        clinic_name="银川市妇幼保健院优生门诊",
        clinic_address="解放西街 56 号",
        clinic_phone="0951-1234567",
    )

    service_zh: str
    service_en: str
    clinic_name: str
    clinic_address: str
    clinic_phone: str


@router.post(
    "/waitlist",
    status_code=201,
    summary="加入候补 Join a waiting list",
    responses=problems(
        NotFound, entries.PlaceIsFree, entries.AlreadyWaiting, entries.TooManyWaiting, entries.NoWaitingForCourses,
        bookings.AlreadyBooked, bookings.TooManyNoShows, identity.NotBound, eligibility.NotEligible,
        consents.ConsentRequired, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def join_waitlist(db: Db, actor: Book, key: IdempotencyKey, body: entries.NewEntry) -> EntryView:
    """For a service at a clinic between two days, while it has no free place. A place that comes free is held for the
    first in line whom it suits, who is told and answers in time; else it goes to the next."""
    return EntryView.model_validate(await entries.join(db, actor, key=key, new=body))


@router.get("/waitlist", summary="我的候补 My places in line", response_model=Listing[EntryView])
async def my_waitlist(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Own and joint, newest first."""
    after = page.after_one(uuid.UUID)
    rows = await entries.mine(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["id"],))


@router.get("/waitlist/{id}", summary="候补详情 A place in line", responses=problems(NotFound))
async def waitlist_entry(db: Db, actor: Read, id: uuid.UUID) -> EntryView:
    return EntryView.model_validate(await entries.detail(db, actor, id=id))


@router.post(
    "/waitlist/{id}/withdraw", summary="退出候补 Leave the line", responses=problems(NotFound, WrongState)
)
async def leave_waitlist(db: Db, actor: Book, id: uuid.UUID) -> EntryView:
    """By either spouse. What was offered meanwhile is accepted or declined instead."""
    return EntryView.model_validate(await entries.withdraw(db, actor, id=id))


@router.get("/offers", summary="为我保留的名额 Places held for me")
async def my_offers(db: Db, actor: Read) -> list[OfferView]:
    """From waiting lists, and in place of times that were closed; the first to run out first."""
    return [OfferView.model_validate(row) for row in await offers.mine(db, actor)]


@router.post(
    "/offers/{id}/accept",
    summary="接受名额 Accept a held place",
    responses=problems(NotFound, WrongState, offers.OfferOver, consents.ConsentRequired, identity.NotBound),
)
async def accept_offer(db: Db, actor: Book, id: uuid.UUID) -> Answered:
    """By either spouse, in time: it is an appointment like any other from then on."""
    return Answered.model_validate(await offers.accept(db, actor, id=id))


@router.post(
    "/offers/{id}/decline",
    summary="放弃名额 Decline a held place",
    responses=problems(NotFound, WrongState, offers.OfferOver),
)
async def decline_offer(db: Db, actor: Book, id: uuid.UUID) -> Answered:
    """It goes to the next in line at once."""
    return Answered.model_validate(await offers.decline(db, actor, id=id))
