"""Many slots published at once: a verdict for each, and those that can be are."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.errors import Invalid
from app.models.appointments import Clinic, Slot, SlotStatus
from app.models.catalogue import HealthcareService
from app.models.schedules import Practitioner, Room
from app.services import audit, idempotency
from app.services.appointments import slots
from app.services.appointments.slots import NewSlot
from app.services.idempotency import Key
from app.services.plain import Body, example
from app.services.schedules import resources

MOST = 500


class SlotVerdict(StrEnum):
    PUBLISHED = "published"
    EXISTS = "exists"
    CLINIC_UNKNOWN = "clinic_unknown"
    SERVICE_UNKNOWN = "service_unknown"
    TIME_REFUSED = "time_refused"
    ROOM_UNKNOWN = "room_unknown"
    ROOM_TAKEN = "room_taken"
    PRACTITIONER_UNKNOWN = "practitioner_unknown"
    PRACTITIONER_TAKEN = "practitioner_taken"


V = SlotVerdict
WORDS: dict[SlotVerdict, tuple[str, str]] = {
    V.PUBLISHED: ("已发布", "published"),
    V.EXISTS: (slots.SlotExists.zh, slots.SlotExists.en),
    V.CLINIC_UNKNOWN: ("没有这个服务点", "no such clinic of yours"),
    V.SERVICE_UNKNOWN: ("没有这项服务", "no such service"),
    V.TIME_REFUSED: ("时间有误", "the times are not possible"),
    V.ROOM_UNKNOWN: ("该服务点没有此诊室", "no such room of this clinic"),
    V.ROOM_TAKEN: (slots.RoomTaken.zh, slots.RoomTaken.en),
    V.PRACTITIONER_UNKNOWN: ("该服务点没有此人员", "no such practitioner of this clinic"),
    V.PRACTITIONER_TAKEN: (slots.PractitionerTaken.zh, slots.PractitionerTaken.en),
}


class NewSlots(Body):
    model_config = example(
        slots=[
            {
                "clinic_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", "service_code": "pre_pregnancy_check",
                "starts_at": "2026-12-01T08:00:00+08:00", "ends_at": "2026-12-01T09:00:00+08:00", "capacity": 20,
                "opens_at": "2026-11-25T08:00:00+08:00",
            }
        ]
    )  # fmt: skip

    slots: Annotated[list[NewSlot], Field(min_length=1, max_length=MOST)]


@dataclass(frozen=True, slots=True)
class Published:
    """What became of the slot at this place of the request. `id`: of the slot, or of the one that exists."""

    id: uuid.UUID | None
    verdict: SlotVerdict
    zh: str
    en: str


async def publish(db: AsyncSession, actor: Actor, *, key: Key, new: Sequence[NewSlot]) -> list[Published]:
    """Those that can be, in one statement; the others are named and hinder nobody. The same request again answers
    the same."""
    ids = [uuid.uuid5(key.id, str(place)) for place in range(len(new))]
    services = await _services(db, new)
    verdicts = await _judged(db, actor, new, services)
    if await idempotency.claim(db, actor, key):
        good = [place for place in range(len(new)) if place not in verdicts]
        made = await _insert(db, [_row(ids[place], new[place], services) for place in good])
        await audit.record_each(db, actor, "publish", "slot", [(id, ()) for id in sorted(made)])
    else:
        made = set(await db.scalars(select(Slot.id).where(Slot.id.in_(ids))))
    left = [one for place, one in enumerate(new) if place not in verdicts and ids[place] not in made]
    others = await _in_the_way(db, left) if left else []
    answers: list[Published] = []
    for place, one in enumerate(new):
        verdict, id = verdicts.get(place), ids[place] if ids[place] in made else None
        if id is not None:
            verdict = V.PUBLISHED
        elif verdict is None:
            verdict, id = _why_not(one, services[one.service_code], others)
        answers.append(Published(id, verdict, *WORDS[verdict]))
    return answers


async def _services(db: AsyncSession, new: Iterable[NewSlot]) -> dict[str, uuid.UUID]:
    query = select(HealthcareService.code, HealthcareService.id).where(
        HealthcareService.code.in_({one.service_code for one in new}), HealthcareService.active
    )
    return {row.code: row.id for row in await db.execute(query)}


async def _judged(
    db: AsyncSession, actor: Actor, new: Sequence[NewSlot], services: dict[str, uuid.UUID]
) -> dict[int, SlotVerdict]:
    """What is wrong with each by itself."""
    asked = {one.clinic_id for one in new}
    clinics = set(await db.scalars(select(Clinic.id).where(visible(actor, Clinic), Clinic.id.in_(asked))))
    rooms, practitioners = set[uuid.UUID](), set[uuid.UUID]()
    for clinic in sorted(clinics):  # one order of locks
        mine = [one for one in new if one.clinic_id == clinic]
        wanted = {one.room_id for one in mine if one.room_id is not None}
        rooms |= await resources.missing(db, Room, clinic_id=clinic, ids=wanted)
        wanted = {one.practitioner_id for one in mine if one.practitioner_id is not None}
        practitioners |= await resources.missing(db, Practitioner, clinic_id=clinic, ids=wanted)
    verdicts: dict[int, SlotVerdict] = {}
    for place, one in enumerate(new):
        if one.clinic_id not in clinics:
            verdicts[place] = V.CLINIC_UNKNOWN
        elif one.service_code not in services:
            verdicts[place] = V.SERVICE_UNKNOWN
        elif not _possible(one):
            verdicts[place] = V.TIME_REFUSED
        elif one.room_id in rooms:
            verdicts[place] = V.ROOM_UNKNOWN
        elif one.practitioner_id in practitioners:
            verdicts[place] = V.PRACTITIONER_UNKNOWN
    return verdicts


def _possible(new: NewSlot) -> bool:
    try:
        slots.check_times(new)
    except Invalid:
        return False
    return True


def _row(id: uuid.UUID, new: NewSlot, services: dict[str, uuid.UUID]) -> dict[str, object]:
    return new.model_dump(exclude={"service_code"}) | {
        "id": id, "service_id": services[new.service_code], "status": SlotStatus.OPEN, "created_at": clock.now(),
    }  # fmt: skip


async def _insert(db: AsyncSession, rows: list[dict[str, object]]) -> set[uuid.UUID]:
    """What a constraint refuses is left out: a slot that exists, a room or a practitioner that is taken."""
    if not rows:
        return set()
    made = insert(Slot).values(rows).on_conflict_do_nothing().returning(Slot.id)
    return set(await db.scalars(made))


async def _in_the_way(db: AsyncSession, new: Sequence[NewSlot]) -> list[Slot]:
    rooms = {one.room_id for one in new if one.room_id is not None}
    practitioners = {one.practitioner_id for one in new if one.practitioner_id is not None}
    query = select(Slot).where(
        or_(
            Slot.clinic_id.in_({one.clinic_id for one in new}),
            Slot.room_id.in_(rooms),
            Slot.practitioner_id.in_(practitioners),
        ),
        Slot.starts_at < max(one.ends_at for one in new),
        Slot.ends_at > min(one.starts_at for one in new),
        Slot.status != SlotStatus.CANCELLED,
    )
    return list(await db.scalars(query))


def _why_not(
    new: NewSlot, service_id: uuid.UUID, others: Iterable[Slot]
) -> tuple[SlotVerdict, uuid.UUID | None]:
    at_once = [slot for slot in others if slot.starts_at < new.ends_at and slot.ends_at > new.starts_at]
    for slot in at_once:
        same = (slot.clinic_id, slot.service_id, slot.starts_at, slot.practitioner_id, slot.room_id)
        if same == (new.clinic_id, service_id, new.starts_at, new.practitioner_id, new.room_id):
            return V.EXISTS, slot.id
    if new.room_id is not None and any(slot.room_id == new.room_id for slot in at_once):
        return V.ROOM_TAKEN, None
    return V.PRACTITIONER_TAKEN, None
