"""What may be reported for a service: the items that it has everywhere, and those that a division adds for its own
clinics, as provinces add HIV, thalassaemia or a chest film to the national list."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, region_bounds
from app.errors import Conflict, Invalid, NotFound, Unfit, WrongState
from app.models.appointments import Appointment, Clinic
from app.models.catalogue import (
    AppliesTo,
    HealthcareService,
    ObservationDefinition,
    RecordForm,
    ServiceItem,
    ValueType,
)
from app.services import audit, idempotency, regions
from app.services.idempotency import Key
from app.services.plain import Body, Line, RegionCode, example
from app.services.regions.files import above
from app.services.results.foetal_sex import states_foetal_sex

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
CodeValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]{1,60}$")]
Unit = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,20}$")]


class CodeTaken(Conflict):
    zh, en = "该服务在此区划已有相同代码的项目", "The service has an observation of this code there already"
    do_zh, do_en = "请使用已有的项目，或先停用它", "Use that one, or retire it first"


class AlreadyRetired(WrongState):
    zh, en = "该项目已停用", "The item is retired already"


class Wording(Body):
    code: CodeValue
    zh: Line
    en: Line


class NewObservation(Body):
    """A number has its unit (UCUM), a code its list of wordings. `applies_to` only where it differs from the item."""

    code: Code
    zh: Line
    en: Line
    value_type: ValueType
    applies_to: AppliesTo | None = None
    unit: Unit | None = None
    codes: Annotated[list[Wording], Field(max_length=40)] = Field(default_factory=list)
    form: RecordForm | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.value_type is ValueType.NUMBER) != (self.unit is not None):
            raise Unfit("数值须填单位，代码不填", "a number, and only a number, has a unit")
        if (self.value_type is ValueType.CODE) != bool(self.codes):
            raise Unfit("代码项目须列出代码，数值不列", "a code, and only a code, has a list of codes")
        if len({one.code for one in self.codes}) < len(self.codes):
            raise Unfit("代码重复", "a code stands twice")
        return self


class NewItem(Body):
    model_config = example(
        region_code="640000000000", number=20, zh="艾滋病检测", en="HIV test", applies_to="both",
        observations=[
            {
                "code": "hiv_antibody", "zh": "HIV 抗体", "en": "HIV antibody", "value_type": "code",
                "form": "laboratory",
                "codes": [
                    {"code": "negative", "zh": "阴性", "en": "Negative"},
                    {"code": "to_confirm", "zh": "待复查", "en": "To be confirmed"},
                ],
            }
        ],
    )  # fmt: skip

    region_code: RegionCode
    number: Annotated[int, Field(ge=1, le=99)]
    zh: Line
    en: Line
    applies_to: AppliesTo
    observations: Annotated[list[NewObservation], Field(min_length=1, max_length=30)]


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    item: ServiceItem
    observations: list[ObservationDefinition]


def at(region_code: str) -> ColumnElement[bool]:
    """Items of the clinics of a division: those of everywhere, and what it or a division above has added."""
    return or_(
        ServiceItem.region_code.is_(None), ServiceItem.region_code.in_([region_code, *above(region_code)])
    )


async def items_of(
    db: AsyncSession, service_id: uuid.UUID, *, region_code: str, retired: bool = False
) -> list[CatalogueItem]:
    """In their order, those of everywhere first; retired ones when an older report is read."""
    query = select(ServiceItem).where(ServiceItem.service_id == service_id, at(region_code))
    if not retired:
        query = query.where(ServiceItem.retired_at.is_(None))
    # The newer of two last: divisions that were joined may each have added the same.
    everywhere_first = (ServiceItem.region_code.is_not(None), ServiceItem.number, ServiceItem.id)
    items = list(await db.scalars(query.order_by(*everywhere_first)))
    definitions = await db.scalars(
        select(ObservationDefinition)
        .where(ObservationDefinition.service_item_id.in_([item.id for item in items]))
        .order_by(ObservationDefinition.code)
    )
    of: dict[uuid.UUID, list[ObservationDefinition]] = {item.id: [] for item in items}
    for definition in definitions:
        of[definition.service_item_id].append(definition)
    return [CatalogueItem(item, of[item.id]) for item in items]


async def region_of(db: AsyncSession, appointment: Appointment) -> str:
    """The clinic's: the items are those of where one is examined."""
    code = await db.scalar(select(Clinic.region_code).where(Clinic.id == appointment.clinic_id))
    return code or appointment.region_code


async def reportable(db: AsyncSession, appointment: Appointment) -> dict[str, ObservationDefinition]:
    """What a report about this appointment may state: what was not retired yet when it took place."""
    items = await items_of(
        db, appointment.service_id, region_code=await region_of(db, appointment), retired=True
    )
    return {
        definition.code: definition
        for one in items
        if one.item.retired_at is None or one.item.retired_at > appointment.starts_at
        for definition in one.observations
    }


async def known(
    db: AsyncSession, appointment: Appointment
) -> dict[str, tuple[ServiceItem, ObservationDefinition]]:
    """Every code that a report about this appointment may ever have stated, by what it meant."""
    items = await items_of(
        db, appointment.service_id, region_code=await region_of(db, appointment), retired=True
    )
    living_last = sorted(items, key=lambda one: one.item.retired_at is None)
    return {definition.code: (one.item, definition) for one in living_last for definition in one.observations}


async def of_clinic(
    db: AsyncSession, actor: Actor, *, service_id: uuid.UUID, clinic_id: uuid.UUID
) -> list[CatalogueItem]:
    """For the hospital: what its clinic may report."""
    clinic = await fetch(db, actor, Clinic, clinic_id)
    await _service(db, service_id)
    return await items_of(db, service_id, region_code=clinic.region_code)


async def of_region(db: AsyncSession, actor: Actor, *, service_id: uuid.UUID) -> list[CatalogueItem]:
    """For a worker: the items in the own region; the codes are no secret."""
    await _service(db, service_id)
    return await items_of(db, service_id, region_code=actor.region_code)


async def add(
    db: AsyncSession, actor: Actor, *, key: Key, service_id: uuid.UUID, new: NewItem
) -> CatalogueItem:
    """A division of one's own region adds an item for its clinics. A code means one thing wherever it is reported."""
    if not await idempotency.claim(db, actor, key):
        item = await fetch(db, actor, ServiceItem, key.id)
        return CatalogueItem(item, await _definitions(db, [item.id]))
    await regions.require_own_region(db, actor, new.region_code)
    refuse_foetal_sex(new)
    await _service(db, service_id, lock=True)  # two who add the same code one after the other
    await _refuse_taken(db, service_id, new)
    item = await store(db, service_id, new, id=key.id)
    await audit.record(db, actor, "create", "service_item", item.id)
    return CatalogueItem(item, await _definitions(db, [item.id]))


async def store(db: AsyncSession, service_id: uuid.UUID, new: NewItem, *, id: uuid.UUID) -> ServiceItem:
    item = ServiceItem(
        id=id, service_id=service_id, number=new.number, zh=new.zh, en=new.en, applies_to=new.applies_to,
        region_code=new.region_code,
    )  # fmt: skip
    db.add(item)
    await db.flush()  # the definitions refer to it
    for one in new.observations:
        values = one.model_dump() | {"applies_to": one.applies_to or new.applies_to}
        db.add(ObservationDefinition(service_item_id=id, **values))
    await db.flush()  # the answer reads them
    return item


async def retire(db: AsyncSession, actor: Actor, *, item_id: uuid.UUID) -> CatalogueItem:
    """It is not reported for appointments from now on; what was reported stays readable."""
    item = await fetch(db, actor, ServiceItem, item_id, lock=True)
    if item.retired_at is not None:
        raise AlreadyRetired
    item.retired_at = clock.now()
    await audit.record(db, actor, "retire", "service_item", item.id)
    return CatalogueItem(item, await _definitions(db, [item.id]))


async def _service(db: AsyncSession, id: uuid.UUID, *, lock: bool = False) -> HealthcareService:
    query = select(HealthcareService).where(HealthcareService.id == id)
    service = await db.scalar(query.with_for_update() if lock else query)
    if service is None:
        raise NotFound
    return service


async def _definitions(db: AsyncSession, items: Sequence[uuid.UUID]) -> list[ObservationDefinition]:
    query = select(ObservationDefinition).where(ObservationDefinition.service_item_id.in_(items))
    return list(await db.scalars(query.order_by(ObservationDefinition.code)))


async def _refuse_taken(db: AsyncSession, service_id: uuid.UUID, new: NewItem) -> None:
    """Everywhere, above, in the division itself and below."""
    codes = [one.code for one in new.observations]
    if len(set(codes)) < len(codes):
        raise Invalid.at("/observations", "代码重复", "a code stands twice")
    taken = (
        select(ObservationDefinition.code)
        .join(ServiceItem, ServiceItem.id == ObservationDefinition.service_item_id)
        .where(ServiceItem.service_id == service_id, ServiceItem.retired_at.is_(None))
        .where(ObservationDefinition.code.in_(codes))
        .where(or_(at(new.region_code), ServiceItem.region_code.between(*region_bounds(new.region_code))))
    )
    if await db.scalar(taken.limit(1)):
        raise CodeTaken


def refuse_foetal_sex(new: NewItem) -> None:
    """No catalogue asks for it."""
    if any(map(states_foetal_sex, _texts(new))):
        raise Invalid.at("/observations", "不得收集胎儿性别", "foetal sex is never collected")


def _texts(new: NewItem) -> Iterable[str]:
    yield from (new.zh, new.en)
    for one in new.observations:
        yield from (one.code.replace("_", " "), one.zh, one.en)
        for wording in one.codes:
            yield from (wording.code.replace("_", " "), wording.zh, wording.en)
