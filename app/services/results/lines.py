"""The values of a report as they are read: each with its item, its range and what it means."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment
from app.models.catalogue import AppliesTo, ObservationDefinition, ServiceItem
from app.models.households import Person
from app.models.results import DiagnosticReport, Interpretation, Observation
from app.services.results import catalogue, ranges
from app.services.results.posted import people_of, roles_of
from app.services.results.ranges import Examined, Interpreted, InterpretedBy


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One value with the laboratory's own range. `interpreted_by` says whose word the interpretation is; ours goes by
    `reference_low` and `reference_high` and names their source."""

    role: AppliesTo
    item_zh: str
    item_en: str
    code: str
    zh: str
    en: str
    value: float | str
    value_zh: str | None
    value_en: str | None
    unit: str | None
    range_low: float | None
    range_high: float | None
    interpretation: Interpretation | None
    interpreted_by: InterpretedBy | None
    reference_low: float | None
    reference_high: float | None
    reference_source: str | None


async def lines_of(db: AsyncSession, row: DiagnosticReport) -> list[ResultLine]:
    """Of the current version, in the order of the catalogue."""
    appointment = (await db.scalars(select(Appointment).where(Appointment.id == row.appointment_id))).one()
    roles = await roles_of(db, await people_of(db, appointment))
    query = select(Observation).where(
        Observation.report_id == row.id,
        Observation.version == row.current_version,
        Observation.person_id.in_(roles),
    )
    values = list(await db.scalars(query))
    meant = await catalogue.known(db, appointment)
    interpreted = await _interpreted(db, row, values, roles)
    lines = [
        (
            meant[one.code][0].number,
            one.code,
            roles[one.person_id],
            _line(one, *meant[one.code], roles, interpreted),
        )
        for one in values
        if one.code in meant
    ]
    return [line for *_, line in sorted(lines, key=lambda line: line[:3])]


async def _interpreted(
    db: AsyncSession,
    row: DiagnosticReport,
    values: Iterable[Observation],
    roles: Mapping[uuid.UUID, AppliesTo],
) -> dict[uuid.UUID, Interpreted]:
    on = clock.day_of(row.issued_at)
    ours = await ranges.in_force(db, on)
    people = await db.execute(select(Person.id, Person.sex, Person.birth_date).where(Person.id.in_(roles)))
    found: dict[uuid.UUID, Interpreted] = {}
    for person, sex, birth_date in people:
        mine = [one for one in values if one.person_id == person]
        examined = Examined(sex, birth_date, on, ranges.cycle_day(mine))
        found |= {one.id: ranges.interpret(one, examined, ours) for one in mine}
    return found


def _line(
    one: Observation,
    item: ServiceItem,
    definition: ObservationDefinition,
    roles: Mapping[uuid.UUID, AppliesTo],
    interpreted: Mapping[uuid.UUID, Interpreted],
) -> ResultLine:
    meaning = interpreted[one.id]
    reference = meaning.reference
    return ResultLine(
        role=roles[one.person_id],
        item_zh=item.zh,
        item_en=item.en,
        code=one.code,
        zh=definition.zh,
        en=definition.en,
        value=(one.value_code or "") if one.value_number is None else float(one.value_number),
        value_zh=_wording_of(definition, one.value_code, "zh"),
        value_en=_wording_of(definition, one.value_code, "en"),
        unit=one.unit,
        range_low=_json(one.range_low),
        range_high=_json(one.range_high),
        interpretation=meaning.interpretation,
        interpreted_by=meaning.by,
        reference_low=_json(reference.low) if reference else None,
        reference_high=_json(reference.high) if reference else None,
        reference_source=reference.source if reference else None,
    )


def _wording_of(definition: ObservationDefinition, code: str | None, language: str) -> str | None:
    return next((known[language] for known in definition.codes if known["code"] == code), None)


def _json(number: Decimal | None) -> float | None:
    return None if number is None else float(number)
