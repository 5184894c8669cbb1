"""A report as a FHIR R4 Bundle. It becomes the plain form and takes its way: one rule for both."""

import re
import uuid
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.errors import Invalid, Place, place
from app.models.appointments import Appointment
from app.models.catalogue import HealthcareService
from app.models.results import Interpretation, ReportStatus
from app.services.fhir import shapes
from app.services.plain import Body, Moment, Text
from app.services.results import reports
from app.services.results.posted import Conclusion, Number, PostedReport

AT = "/entry/0/resource"
CONTAINED = re.compile(r"^/(wife|husband)/(\d+)(.*)$")
Token = Annotated[str, Text(200)]
#: An Observation is not behind its report.
UNRELEASED = {"registered", "partial", "preliminary"}
MEANS: dict[str, Interpretation] = {code: ours for ours, code in shapes.INTERPRETATION.items()}


class Shape(Body):
    """As FHIR spells it. Elements that we do not read are refused, so that nothing is lost unnoticed."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Coding(Shape):
    system: Token | None = None
    code: Token
    display: Token | None = None


class Concept(Shape):
    coding: Annotated[list[Coding], Field(min_length=1, max_length=5)]
    text: Token | None = None

    def of(self, system: str) -> str | None:
        return next((one.code for one in self.coding if one.system == system), None)


class Identifier(Shape):
    system: Token | None = None
    value: Token


class Reference(Shape):
    reference: Token | None = None
    type: Token | None = None
    identifier: Identifier | None = None
    display: Token | None = None


class Quantity(Shape):
    value: Number
    unit: Token | None = None
    system: Annotated[str, StringConstraints(pattern=r"^http://unitsofmeasure\.org$")] | None = None
    code: Token | None = None


class Limits(Shape):
    low: Quantity | None = None
    high: Quantity | None = None


class PostedFhirObservation(Shape):
    resource_type: Literal["Observation"]
    id: Token | None = None
    status: Literal["registered", "preliminary", "final", "amended", "corrected"]
    code: Concept
    subject: Reference
    value_quantity: Quantity | None = None
    value_codeable_concept: Concept | None = None
    reference_range: Annotated[list[Limits], Field(max_length=1)] = Field(default_factory=list)
    interpretation: Annotated[list[Concept], Field(max_length=1)] = Field(default_factory=list)


class Meta(Shape):
    version_id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}$")]


class PostedFhirReport(Shape):
    resource_type: Literal["DiagnosticReport"]
    id: Token | None = None
    meta: Meta
    identifier: Annotated[list[Identifier], Field(min_length=1, max_length=1)]
    status: Literal[
        "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled",
        "entered-in-error",
    ]  # fmt: skip
    code: Concept | None = None
    based_on: Annotated[list[Reference], Field(min_length=1, max_length=1)]
    issued: Moment
    conclusion: Conclusion | None = None
    conclusion_code: Annotated[list[Concept], Field(max_length=1)] = Field(default_factory=list)
    contained: Annotated[list[PostedFhirObservation], Field(max_length=400)] = Field(default_factory=list)
    result: Annotated[list[Reference], Field(max_length=400)] = Field(default_factory=list)


class Entry(Shape):
    full_url: Token | None = None
    resource: PostedFhirReport


class PostedBundle(Shape):
    """One DiagnosticReport with its Observations contained. `basedOn` names the ServiceRequest, whose id is that of the
    appointment; the subject of an Observation is that id and /wife or /husband; `result` names each Observation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "resourceType": "Bundle", "type": "collection",
                    "entry": [
                        {
                            "resource": {
                                "resourceType": "DiagnosticReport", "meta": {"versionId": "1"}, "status": "final",
                                "identifier": [{"value": "LIS-20261201-0001"}],
                                "basedOn": [{"reference": "ServiceRequest/0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01"}],
                                "issued": "2026-12-01T16:00:00+08:00",
                                "contained": [
                                    {
                                        "resourceType": "Observation", "id": "o1", "status": "final",
                                        "code": {"coding": [{"system": shapes.ITEM, "code": "haemoglobin"}]},
                                        "subject": {
                                            "identifier": {
                                                "system": shapes.EXAMINEE,
                                                "value": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01/wife",
                                            }
                                        },
                                        "valueQuantity": {
                                            "value": 98, "unit": "g/L", "system": shapes.UCUM, "code": "g/L",
                                        },
                                    }
                                ],
                                "result": [{"reference": "#o1"}],
                            }
                        }
                    ],
                }
            ]
        }
    )  # fmt: skip

    resource_type: Literal["Bundle"]
    type: Literal["collection"]
    entry: Annotated[list[Entry], Field(min_length=1, max_length=1)]


async def post(
    db: AsyncSession, actor: Actor, *, posted: PostedBundle, raw: bytes, signature: str
) -> reports.Accepted | reports.Refusal:
    """Through the same rules as the plain form. What is wrong is named where it stands in the Bundle."""
    resource = posted.entry[0].resource
    plain, origin = _plain(resource)
    await _require_service(db, actor, resource, plain["appointment_id"])
    try:
        report = PostedReport.model_validate(plain)
    except ValidationError as error:
        places = ["/" + "/".join(str(step) for step in one["loc"]) for one in error.errors()]
        wrong = [place(at, "格式不正确", "not of the expected form") for at in places]
        raise Invalid(errors=[_back(one, origin) for one in wrong]) from error
    try:
        return await reports.accept(db, actor, report=report, raw=raw, signature=signature)
    except Invalid as invalid:
        invalid.errors = [_back(one, origin) for one in invalid.errors or []]
        raise


Origin = dict[tuple[str, int], int]


def _plain(resource: PostedFhirReport) -> tuple[dict[str, Any], Origin]:
    """The plain form, and which contained observation each of its values is."""
    appointment = _appointment(resource.based_on[0])
    plain: dict[str, Any] = {
        "external_id": resource.identifier[0].value, "version": int(resource.meta.version_id),
        "appointment_id": appointment,
        "status": ReportStatus(resource.status.replace("-", "_")), "issued_at": resource.issued,
        "conclusion": resource.conclusion, "wife": [], "husband": [],
        "stated_risk": _risk(resource),
    }  # fmt: skip
    if sorted(one.reference or "" for one in resource.result) != sorted(
        f"#{one.id}" for one in resource.contained
    ):
        raise Invalid.at(f"{AT}/result", "应逐一引用 contained", "must name each contained Observation once")
    origin: Origin = {}
    for index, one in enumerate(resource.contained):
        at = f"{AT}/contained/{index}"
        if one.status in UNRELEASED and resource.status not in UNRELEASED:
            raise Invalid.at(f"{at}/status", "报告已签发而结果未签发", "not released, but the report is")
        who = _who(one.subject, appointment, at)
        origin[who, len(plain[who])] = index
        plain[who].append(_observation(one, at))
    return plain, origin


def _risk(resource: PostedFhirReport) -> str | None:
    if not resource.conclusion_code:
        return None
    code = resource.conclusion_code[0].of(shapes.RISK)
    if code is None:
        raise Invalid.at(f"{AT}/conclusionCode", f"应为 {shapes.RISK}", f"a code of {shapes.RISK}")
    return code


def _who(subject: Reference, appointment: uuid.UUID, at: str) -> str:
    """Of this appointment: the values of one couple must not land in the file of another."""
    named = subject.identifier.value if subject.identifier else ""
    for who in ("wife", "husband"):
        if named.lower() == f"{appointment}/{who}":
            return who
    raise Invalid.at(
        f"{at}/subject", "应为预约编号加 /wife 或 /husband", "the appointment's id and /wife or /husband"
    )


async def _require_service(
    db: AsyncSession, actor: Actor, resource: PostedFhirReport, appointment: uuid.UUID
) -> None:
    """The service, where it is named by our code, is the one of the appointment."""
    said = resource.code.of(shapes.SERVICE) if resource.code else None
    if said is None:
        return
    query = select(HealthcareService.code).join(Appointment, Appointment.service_id == HealthcareService.id)
    booked = await db.scalar(query.where(Appointment.id == appointment, visible(actor, Appointment)))
    if booked not in (None, said):
        raise Invalid.at(f"{AT}/code", "与预约的服务不符", "not the service of the appointment")


def _appointment(based_on: Reference) -> uuid.UUID:
    try:
        return uuid.UUID((based_on.reference or "").removeprefix("ServiceRequest/"))
    except ValueError as error:
        raise Invalid.at(f"{AT}/basedOn/0", "应为 ServiceRequest/编号", "ServiceRequest/id") from error


def _observation(one: PostedFhirObservation, at: str) -> dict[str, Any]:
    if (one.value_quantity is None) == (one.value_codeable_concept is None):
        raise Invalid.at(at, "数值与代码须填且只填一个", "give either valueQuantity or valueCodeableConcept")
    made: dict[str, Any] = {"code": one.code.of(shapes.ITEM) or ""}
    if one.interpretation:
        code = one.interpretation[0].of(shapes.MEANS)
        if code not in MEANS:
            raise Invalid.at(f"{at}/interpretation", "应为 N、L、H 或 A", "N, L, H or A")
        made["interpretation"] = MEANS[code]
    limits = one.reference_range[0] if one.reference_range else Limits()
    value, low, high = one.value_quantity, limits.low, limits.high
    units = (None, value.code, value.unit) if value else ()
    if any(limit is not None and (limit.code or limit.unit) not in units for limit in (low, high)):
        raise Invalid.at(f"{at}/referenceRange", "应与结果值单位一致", "must be in the unit of the value")
    made["range_low"] = float(low.value) if low else None
    made["range_high"] = float(high.value) if high else None
    if one.value_codeable_concept is not None:
        return made | {"value": one.value_codeable_concept.of(shapes.VALUE) or ""}
    assert value is not None
    return made | {"value": float(value.value), "unit": value.code or value.unit}


def _back(wrong: Place, origin: Origin) -> Place:
    match = CONTAINED.match(wrong["pointer"])
    if match is None:
        return wrong | {"pointer": AT + wrong["pointer"]}
    index = origin.get((match[1], int(match[2])))
    return wrong | {"pointer": f"{AT}/contained/{index}{match[3]}"}
