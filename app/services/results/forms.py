"""Which of the 17 record forms of the national system a couple's check has filled, worked out from what is there."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch
from app.models.appointments import Appointment
from app.models.catalogue import AppliesTo, ObservationDefinition, RecordForm
from app.models.consents import Consent, ConsentNotice, Purpose
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus
from app.models.households import Person
from app.models.results import DiagnosticReport, Observation
from app.services import audit
from app.services.results import catalogue
from app.services.results.posted import people_of, roles_of
from app.services.results.versions import RELEASED, TAKEN_BACK

WIFE, HUSBAND = AppliesTo.WIFE, AppliesTo.HUSBAND
BASIC, NOTICE, EARLY, OUTCOME = 1, 15, 16, 17

#: The numbers of the national system for the forms that hold values: of the wife, of the husband.
NUMBERS: dict[tuple[RecordForm, AppliesTo], int] = {
    (RecordForm.GENERAL, WIFE): 2, (RecordForm.GENERAL, HUSBAND): 3,
    (RecordForm.PHYSICAL, WIFE): 4, (RecordForm.PHYSICAL, HUSBAND): 5,
    (RecordForm.GENITAL, WIFE): 6, (RecordForm.GENITAL, HUSBAND): 7,
    (RecordForm.LABORATORY, WIFE): 8, (RecordForm.LABORATORY, HUSBAND): 9,
    (RecordForm.HAEMOGLOBIN, WIFE): 10, (RecordForm.HAEMOGLOBIN, HUSBAND): 11,
    (RecordForm.GENE, WIFE): 12, (RecordForm.GENE, HUSBAND): 13,
    (RecordForm.ULTRASOUND, WIFE): 14,
}  # fmt: skip
NAMES: dict[int, tuple[str, str]] = {
    1: ("基本情况", "Basic data"),
    2: ("妻子一般情况", "Wife, general"),
    3: ("丈夫一般情况", "Husband, general"),
    4: ("妻子体格检查", "Wife, physical examination"),
    5: ("丈夫体格检查", "Husband, physical examination"),
    6: ("妻子生殖系统检查", "Wife, genital examination"),
    7: ("丈夫生殖系统检查", "Husband, genital examination"),
    8: ("妻子临床检验", "Wife, laboratory"),
    9: ("丈夫临床检验", "Husband, laboratory"),
    10: ("妻子血红蛋白分析", "Wife, haemoglobin analysis"),
    11: ("丈夫血红蛋白分析", "Husband, haemoglobin analysis"),
    12: ("妻子基因检测", "Wife, gene test"),
    13: ("丈夫基因检测", "Husband, gene test"),
    14: ("妻子妇科超声", "Wife, ultrasound"),
    15: ("评估及建议告知书", "Notice of assessment and advice"),
    16: ("早孕随访", "Early follow-up"),
    17: ("妊娠结局随访", "Outcome of the pregnancy"),
}


class FormState(IntEnum):
    """As the national system codes it."""

    EMPTY = 0
    UNFINISHED = 1
    FINISHED = 2


@dataclass(frozen=True, slots=True)
class Form:
    """`missing`: the codes that the catalogue of the clinic has and nobody has reported."""

    number: int
    zh: str
    en: str
    state: FormState
    missing: list[str]


@dataclass(frozen=True, slots=True)
class Forms:
    """`consent` as the national system codes it: 0 signed by both, 1 by the husband, 2 by the wife; None by nobody.
    A form that the catalogue of the clinic has no items for is not in the list."""

    appointment_id: uuid.UUID
    consent: int | None
    forms: list[Form]


Values = Mapping[AppliesTo, set[str]]


async def of_appointment(
    db: AsyncSession, actor: Actor, *, appointment_id: uuid.UUID, purpose: str | None = None
) -> Forms:
    """For a worker with a purpose, and for the hospital that examined: what is filled, never a value. Recorded."""
    row = await fetch(db, actor, Appointment, appointment_id)
    people = await people_of(db, row)
    await audit.record(
        db, actor, "read_forms", "appointment", row.id, people=people.values(), purpose=purpose
    )
    defined = (await catalogue.reportable(db, row)).values()
    if all(one.form is None for one in defined):
        return Forms(row.id, None, [])
    reports = list(await db.scalars(_reports_of(row)))
    values = await _values(db, reports, people)
    released = bool(reports) and all(report.status in RELEASED for report in reports)
    forms = [
        await _basic(db, people), *_of_values(defined, values, people, released=released),
        _form(NOTICE, _notice(reports)), *await _of_follow_ups(db, reports),
    ]  # fmt: skip
    return Forms(row.id, await _consent(db, people), forms)


def _reports_of(row: Appointment) -> Select[DiagnosticReport]:
    return select(DiagnosticReport).where(
        DiagnosticReport.appointment_id == row.id, DiagnosticReport.status.not_in(TAKEN_BACK)
    )


def _form(number: int, state: FormState, missing: Iterable[str] = ()) -> Form:
    return Form(number, *NAMES[number], state, sorted(missing))


async def _values(
    db: AsyncSession, reports: Iterable[DiagnosticReport], people: Mapping[AppliesTo, uuid.UUID]
) -> Values:
    """The codes reported for each spouse in what is current."""
    roles = await roles_of(db, people)
    query = (
        select(Observation.person_id, Observation.code)
        .join(DiagnosticReport, DiagnosticReport.id == Observation.report_id)
        .where(
            DiagnosticReport.id.in_([report.id for report in reports]),
            Observation.version == DiagnosticReport.current_version,
            Observation.person_id.in_(roles),
        )
    )
    found: dict[AppliesTo, set[str]] = {role: set() for role in people}
    for person, code in await db.execute(query):
        found[roles[person]].add(code)
    return found


def _of_values(
    defined: Iterable[ObservationDefinition], values: Values, people: Iterable[AppliesTo], *, released: bool
) -> list[Form]:
    expected: dict[int, tuple[AppliesTo, set[str]]] = {}
    for one in defined:
        for role in people:
            number = NUMBERS.get((one.form, role)) if one.form else None
            if number is not None and one.applies_to in (role, AppliesTo.BOTH):
                expected.setdefault(number, (role, set()))[1].add(one.code)
    return [
        _form(number, _state(codes, values[role], released=released), codes - values[role])
        for number, (role, codes) in sorted(expected.items())
    ]


def _state(codes: set[str], reported: set[str], *, released: bool) -> FormState:
    """Finished only when the hospital has released it."""
    if not codes & reported:
        return FormState.EMPTY
    return FormState.FINISHED if codes <= reported and released else FormState.UNFINISHED


async def _basic(db: AsyncSession, people: Mapping[AppliesTo, uuid.UUID]) -> Form:
    query = select(Person.phone_sealed, Person.hukou_region_code, Person.hukou_type).where(
        Person.id.in_(people.values())
    )
    names = ("phone", "hukou_region_code", "hukou_type")
    missing = {
        name
        for row in await db.execute(query)
        for name, value in zip(names, row, strict=True)
        if value is None
    }
    return _form(BASIC, FormState.UNFINISHED if missing else FormState.FINISHED, missing)


def _notice(reports: Iterable[DiagnosticReport]) -> FormState:
    states = {
        FormState.FINISHED if report.status in RELEASED and report.risk_class else FormState.UNFINISHED
        for report in reports
    }
    return min(states, default=FormState.EMPTY)


async def _of_follow_ups(db: AsyncSession, reports: Iterable[DiagnosticReport]) -> list[Form]:
    kinds = {FollowUpKind.EARLY_PREGNANCY: EARLY, FollowUpKind.OUTCOME: OUTCOME}
    rows = await db.scalars(
        select(FollowUp).where(
            FollowUp.report_id.in_([report.id for report in reports]), FollowUp.kind.in_(kinds)
        )
    )
    states = dict.fromkeys(kinds.values(), FormState.EMPTY)
    for row in rows:
        number = kinds[row.kind]
        if row.status is FollowUpStatus.DONE:
            states[number] = FormState.FINISHED
        elif row.status is FollowUpStatus.IN_PROGRESS or row.outcome:
            states[number] = max(states[number], FormState.UNFINISHED)
    return [_form(number, state) for number, state in states.items()]


async def _consent(db: AsyncSession, people: Mapping[AppliesTo, uuid.UUID]) -> int | None:
    query = (
        select(Consent.person_id)
        .join(ConsentNotice, ConsentNotice.id == Consent.notice_id)
        .where(
            Consent.person_id.in_(people.values()),
            Consent.withdrawn_at.is_(None),
            ConsentNotice.purpose == Purpose.HEALTH_DATA,
        )
    )
    signed = set(await db.scalars(query))
    codes = {frozenset({WIFE, HUSBAND}): 0, frozenset({HUSBAND}): 1, frozenset({WIFE}): 2}
    return codes.get(frozenset(role for role, person in people.items() if person in signed))
