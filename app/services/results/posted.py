"""What a hospital may post: the shape of a report, and its check against the catalogue of the service."""

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import Field, PlainValidator, StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid, Unfit, place
from app.models.appointments import Appointment
from app.models.catalogue import AppliesTo, ObservationDefinition, ValueType
from app.models.households import Person, Sex
from app.models.results import Interpretation, ReportStatus, RiskClass
from app.services import identity
from app.services.plain import Body, Moment, example
from app.services.results.foetal_sex import FoetalSexRefused, states_foetal_sex

LARGEST = 1_000_000_000
#: A hospital's clock may run ahead of ours by this much.
AHEAD = timedelta(minutes=10)


def _number(value: object) -> Decimal:
    """A JSON number, finite and bounded; true, "5" and 1e400 are not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise Unfit("应为 -1e9 到 1e9 之间的数字", "a finite number between -1e9 and 1e9")
    return Decimal(str(value))


def _value(value: object) -> Decimal | str:
    if isinstance(value, str):
        if not re.fullmatch(r"[A-Za-z0-9_+-]{1,60}", value):
            raise Unfit("应为目录中的代码", "a code of the catalogue")
        return value
    return _number(value)


Conclusion = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
    ),
]
BoundedNumber = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Number = Annotated[Decimal, PlainValidator(_number, json_schema_input_type=BoundedNumber)]
ExternalId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,60}$")]
AppointmentCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,40}$")]
Unit = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,20}$")]
CodeValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]{1,60}$")]
Value = Annotated[Decimal | str, PlainValidator(_value, json_schema_input_type=BoundedNumber | CodeValue)]


class PostedObservation(Body):
    code: Code
    value: Value
    unit: Unit | None = None
    range_low: Number | None = None
    range_high: Number | None = None
    interpretation: Interpretation | None = None


Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="SHA-256 of the PDF that is sent after the report, in small hexadecimal digits"),
]
Observations = Annotated[list[PostedObservation], Field(max_length=200)]


class PostedReport(Body):
    """One version of a report under the hospital's own number. The appointment is named by its code or by its
    id. Who was examined follows from the appointment: names and numbers have no place in a report."""

    model_config = example(
        external_id="LIS-20261201-0001",
        version=1,
        appointment_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        status="final",
        issued_at="2026-12-01T16:00:00+08:00",
        wife=[
            {
                "code": "haemoglobin",
                "value": 98,
                "unit": "g/L",
                "range_low": 115,
                "range_high": 150,
                "interpretation": "low",
            },
            {"code": "rubella_igg", "value": "positive"},
        ],
        husband=[{"code": "hbsag", "value": "negative"}],
    )

    external_id: ExternalId
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    appointment_code: AppointmentCode | None = None
    appointment_id: uuid.UUID | None = None
    status: ReportStatus
    issued_at: Moment
    stated_risk: RiskClass | None = None
    conclusion: Conclusion | None = None
    attachment_sha256: Sha256 | None = None
    wife: Observations = Field(default_factory=list)
    husband: Observations = Field(default_factory=list)

    def of(self, role: AppliesTo) -> list[PostedObservation]:
        return self.wife if role is AppliesTo.WIFE else self.husband


def refuse_foetal_sex(report: PostedReport) -> None:
    """Before anything of the body is kept, even in quarantine."""
    if report.conclusion and states_foetal_sex(report.conclusion):
        raise FoetalSexRefused.at("/conclusion", "不得出现胎儿性别", "states the foetal sex")


async def people_of(db: AsyncSession, appointment: Appointment) -> dict[AppliesTo, uuid.UUID]:
    """Who is the wife and who the husband; for a service to one person, the place is that of the sex."""
    ids = [id for id in (appointment.person_id, appointment.spouse_id) if id is not None]
    rows = await db.execute(select(Person.id, Person.sex).where(Person.id.in_(ids)))
    return {AppliesTo.WIFE if sex is Sex.FEMALE else AppliesTo.HUSBAND: id for id, sex in rows}


async def roles_of(db: AsyncSession, people: Mapping[AppliesTo, uuid.UUID]) -> dict[uuid.UUID, AppliesTo]:
    """Whose a value is. It stays with the id under which it was measured, also when that was merged into another."""
    roles = {person: role for role, person in people.items()}
    return roles | {old: roles[person] for old, person in (await identity.former_ids(db, roles)).items()}


Wrong = tuple[str, str, str]


def check(
    report: PostedReport,
    catalogue: Mapping[str, ObservationDefinition],
    people: Mapping[AppliesTo, uuid.UUID],
) -> None:
    """Everything that is wrong, at once, as JSON pointers into the posted body."""
    wrong: list[Wrong] = []
    if report.issued_at > clock.now() + AHEAD:
        wrong.append(("/issued_at", "签发时间在将来", "lies in the future"))
    for role in (AppliesTo.WIFE, AppliesTo.HUSBAND):
        wrong += _wrong_list(report, role, catalogue, people)
    if wrong:
        raise Invalid(errors=[place(*one) for one in wrong])


def _wrong_list(
    report: PostedReport,
    role: AppliesTo,
    catalogue: Mapping[str, ObservationDefinition],
    people: Mapping[AppliesTo, uuid.UUID],
) -> Iterator[Wrong]:
    posted = report.of(role)
    if posted and role not in people:
        yield f"/{role}", "该预约没有这一受检者", "nobody of this sex is examined in this appointment"
        return
    seen: set[str] = set()
    for index, observation in enumerate(posted):
        at = f"/{role}/{index}"
        definition = catalogue.get(observation.code)
        if definition is None:
            yield f"{at}/code", "该服务没有此项目", "not an item of this service"
        elif definition.applies_to not in (role, AppliesTo.BOTH):
            yield f"{at}/code", "此项目不适用于该受检者", "not an item for this spouse"
        elif observation.code in seen:
            yield f"{at}/code", "项目重复", "stated twice"
        else:
            check_value = _wrong_number if definition.value_type is ValueType.NUMBER else _wrong_code
            yield from check_value(at, observation, definition)
        seen.add(observation.code)


def _wrong_number(at: str, posted: PostedObservation, definition: ObservationDefinition) -> Iterator[Wrong]:
    if not isinstance(posted.value, Decimal):
        yield f"{at}/value", "应为数值", "a number is expected"
    if posted.unit != definition.unit:
        yield f"{at}/unit", f"单位应为 {definition.unit}", f"the unit must be {definition.unit}"
    if (
        posted.range_low is not None
        and posted.range_high is not None
        and posted.range_low > posted.range_high
    ):
        yield f"{at}/range_high", "参考范围上限小于下限", "below range_low"


def _wrong_code(at: str, posted: PostedObservation, definition: ObservationDefinition) -> Iterator[Wrong]:
    codes = [known["code"] for known in definition.codes]
    if posted.value not in codes:
        allowed = ", ".join(codes)
        yield f"{at}/value", f"应为以下之一：{allowed}", f"must be one of {allowed}"
    for name in ("unit", "range_low", "range_high"):
        if getattr(posted, name) is not None:
            yield f"{at}/{name}", "该项目没有单位或范围", "this item has neither unit nor range"
