"""Booking the textbook way, to compare with: ORM objects, SELECT … FOR UPDATE on the slot, commit in a yield
dependency of the usual scope.

Everything around the endpoint is ours (token check, permission, body, answer, problems, log line, metrics, pool),
and it leaves the very same rows. What differs is the subject of the comparison: nine statements between BEGIN and
COMMIT in place of one. Tuned in its favour: what can be looked up before the lock is, each look-up is one statement
by an index, and no row is loaded twice.
"""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy import select

from app import clock, crypto, db, errors, logs, tokens
from app.access import Actor
from app.api import NO_TELEMETRY
from app.api.citizen.appointments import (
    AppointmentDetail,
    AppointmentView,
    Book,
    BookSlot,
    SlotView,
    list_slots,
    my_appointments,
)
from app.api.deps import AsyncSession, IdempotencyKey, Listing
from app.errors import Conflict, NotFound
from app.main import Frame, healthz
from app.models.appointments import (
    Appointment,
    AppointmentEvent,
    AppointmentStatus,
    Qualification,
    Slot,
    SlotStatus,
)
from app.models.audit import AuditEvent
from app.models.audit import IdempotencyKey as Known
from app.models.identity import ResidentAccount
from app.services import consents, idempotency
from app.services.appointments.bookings import CODE_LENGTH, SlotClosed, SlotFull, SlotNotOpenYet
from app.services.idempotency import Key
from app.settings import settings


class NotQualified(Conflict):
    zh, en = "资格未确认", "Not qualified"


async def get_session() -> AsyncIterator[AsyncSession]:
    async with db.sessions() as session:
        try:
            yield session
            await session.commit()
        except BaseException:
            await session.rollback()
            raise


Session = Annotated[AsyncSession, Depends(get_session)]


async def book_appointment(
    session: Session, actor: Book, key: IdempotencyKey, body: BookSlot
) -> AppointmentView:
    if await session.get(Known, key.id) is not None:
        await idempotency.check(session, actor, key)
        return AppointmentView.model_validate(await session.get(Appointment, key.id))
    slot_service = select(Slot.service_id).where(Slot.id == body.slot_id).scalar_subquery()
    who = await session.scalar(
        select(Qualification)
        .join(ResidentAccount, ResidentAccount.person_id == Qualification.person_id)
        .where(ResidentAccount.id == actor.account_id, Qualification.service_id == slot_service)
        .where(Qualification.valid_until > clock.now())
    )
    if who is None:
        raise NotQualified
    await consents.require(session, examined(who))
    slot = await session.get(Slot, body.slot_id, with_for_update=True)
    check(slot)
    slot.booked += 1
    appointment = new_appointment(key, actor, slot, who)
    session.add_all([Known(**claim(key, actor)), appointment])
    await session.flush()
    session.add_all([event(appointment, actor), *audit(appointment, actor, who)])
    await session.flush()
    return AppointmentView.model_validate(appointment)


def check(slot: Slot | None) -> None:
    now = clock.now()
    if slot is None or slot.status is SlotStatus.DRAFT:
        raise NotFound
    if slot.status is not SlotStatus.OPEN or slot.starts_at <= now:
        raise SlotClosed
    if slot.opens_at > now:
        raise SlotNotOpenYet
    if slot.booked >= slot.capacity:
        raise SlotFull


def examined(who: Qualification) -> list[Any]:
    return [person for person in (who.person_id, who.spouse_id) if person is not None]


def claim(key: Key, actor: Actor) -> dict[str, Any]:
    return {
        "id": key.id,
        "actor_id": actor.account_id,
        "fingerprint": key.fingerprint,
        "created_at": clock.now(),
    }


def new_appointment(key: Key, actor: Actor, slot: Slot, who: Qualification) -> Appointment:
    return Appointment(
        id=key.id, slot_id=slot.id, clinic_id=slot.clinic_id, service_id=slot.service_id,
        subject_id=who.subject_id, person_id=who.person_id, spouse_id=who.spouse_id, account_id=actor.account_id,
        region_code=who.region_code, cycle=who.cycle, code=tokens.random_code(CODE_LENGTH),
        starts_at=slot.starts_at, ends_at=slot.ends_at, status=AppointmentStatus.BOOKED, created_at=clock.now(),
    )  # fmt: skip


def event(appointment: Appointment, actor: Actor) -> AppointmentEvent:
    return AppointmentEvent(
        appointment_id=appointment.id,
        at=clock.now(),
        status=AppointmentStatus.BOOKED,
        actor_role=actor.role,
        actor_id=actor.id,
    )


def audit(appointment: Appointment, actor: Actor, who: Qualification) -> list[AuditEvent]:
    return [
        AuditEvent(
            at=clock.now(), actor_role=actor.role, actor_id=actor.id, action="book", entity="appointment",
            entity_id=appointment.id, person_id=person, request_id=logs.request_id.get(),
        )
        for person in examined(who)
    ]  # fmt: skip


async def empty(_: Book) -> dict[str, str]:
    """What any answer to a known resident costs: the framework, the token, the permission."""
    return {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    assert settings().database_url is not None
    engine = db.connect(settings(), settings().database_url or "")
    yield
    await engine.dispose()


def asgi() -> FastAPI:
    logs.configure()
    crypto.use(crypto.SettingsKeys(settings()))
    app = FastAPI(lifespan=lifespan, openapi_url=None, telemetry=NO_TELEMETRY)
    errors.install(app)
    app.add_api_route("/citizen/v1/appointments", book_appointment, methods=["POST"], status_code=201)
    app.add_api_route("/citizen/v1/appointments", my_appointments, response_model=Listing[AppointmentDetail])
    app.add_api_route("/citizen/v1/slots", list_slots, response_model=Listing[SlotView])
    app.add_api_route("/citizen/v1/empty", empty)
    app.add_api_route("/readyz", healthz)
    app.add_middleware(Frame, settings=settings())
    gc.freeze()
    return app
