"""What a field may become, what it is now, and whether the change can be true."""

import json
from datetime import date
from typing import Annotated, Literal, assert_never

from pydantic import Field, TypeAdapter
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.crypto import mask_address, mask_document, mask_name, mask_phone
from app.errors import Conflict, Invalid
from app.models.corrections import CorrectionField
from app.models.households import Couple, DocumentKind, Household, HukouType, Person, Sex
from app.services import documents, regions
from app.services.households.forms import Phone
from app.services.plain import Body, Day, Line, RegionCode, Text, require_past

F = CorrectionField
#: Where the new value stands in the body of a request.
VALUE = "/change/value"


class NewName(Body):
    field: Literal[F.NAME]
    value: Line


class NewSex(Body):
    field: Literal[F.SEX]
    value: Sex


class NewBirthDate(Body):
    field: Literal[F.BIRTH_DATE]
    value: Day


class KindAndNumber(Body):
    kind: DocumentKind
    number: Annotated[str, Text(30)]


class NewDocument(Body):
    """Birth date and sex follow, where the number carries them."""

    field: Literal[F.DOCUMENT]
    value: KindAndNumber


class NewPhone(Body):
    field: Literal[F.PHONE]
    value: Phone


class NewHukouRegion(Body):
    field: Literal[F.HUKOU_REGION_CODE]
    value: RegionCode


class NewHukouType(Body):
    field: Literal[F.HUKOU_TYPE]
    value: HukouType


class NewResidentSince(Body):
    field: Literal[F.RESIDENT_SINCE]
    value: Day


class NewAddress(Body):
    """Of the household."""

    field: Literal[F.ADDRESS]
    value: Annotated[str, Text(200)]


Change = Annotated[
    NewName
    | NewSex
    | NewBirthDate
    | NewDocument
    | NewPhone
    | NewHukouRegion
    | NewHukouType
    | NewResidentSince
    | NewAddress,
    Field(discriminator="field"),
]
CHANGE: TypeAdapter[Change] = TypeAdapter(Change)
#: As JSON: a string, or the two of a document.
Value = str | dict[str, str] | None


class DocumentRegistered(Conflict, constraint="uq_person_document_index"):
    """Found out at the approval only, so that nobody tries out numbers: each try is a request that stays. `office`:
    the one that keeps the other."""

    zh, en = "该证件已登记给其他人", "This document is registered to somebody else"
    do_zh, do_en = (
        "请核对证件；确为同一人的，请与 office 所示的乡镇（街道）联系后办理合并",
        "Check the document; if it is one person, ask the office named in office, and merge the two",
    )


class SexContradictsMarriage(Conflict):
    zh, en = "与已登记的婚姻不符", "This contradicts the registered marriage"
    do_zh, do_en = "请先核对并更正婚姻登记", "Check and correct the registered marriage first"


def now(subject: Person | Household, field: F) -> Value:
    """The value on file."""
    if field is F.DOCUMENT and isinstance(subject, Person):
        return {"kind": subject.document_kind, "number": subject.document_number}
    value = getattr(subject, field)
    return value.isoformat() if isinstance(value, date) else value


def written(change: Change) -> Value:
    """The value asked for, as `now` would say it."""
    if isinstance(change, NewDocument):
        return {"kind": change.value.kind, "number": documents.normalise(change.value.number)}
    value: Value = change.model_dump(mode="json")["value"]
    return value


def masked(field: F, value: Value) -> str | None:
    """As in any list."""
    if value is None:
        return None
    if isinstance(value, dict):
        return mask_document(value["number"])
    if field is F.BIRTH_DATE:
        return value[:4]
    mask = {F.NAME: mask_name, F.PHONE: mask_phone, F.ADDRESS: mask_address}.get(field)
    return mask(value) if mask else value


def kept(value: Value) -> str:
    """As it is sealed."""
    return json.dumps(value, ensure_ascii=False)


def opened(text: str | None) -> Value:
    value: Value = None if text is None else json.loads(text)
    return value


async def check(db: AsyncSession, person: Person, change: Change) -> None:
    """Invalid where the new value cannot be true for this person: birth date and sex that the number of the
    document contradicts, a region that is none, a day that has not come."""
    match change:
        case NewDocument():
            await _check_document(db, person, change.value)
        case NewBirthDate():
            if not documents.EARLIEST_BIRTH <= change.value <= clock.today():
                raise Invalid.at(VALUE, "日期不可能", "not a possible birth date")
            _require_unsaid(person, "birth_date", change.value)
        case NewSex():
            _require_unsaid(person, "sex", change.value)
            await _check_marriage(db, person, change.value)
        case NewHukouRegion():
            await regions.require(db, {VALUE: change.value})
        case NewResidentSince():
            require_past(VALUE, change.value)
        case NewName() | NewPhone() | NewHukouType() | NewAddress():
            pass
        case _:
            assert_never(change)


async def _check_document(db: AsyncSession, person: Person, value: KindAndNumber) -> None:
    document = documents.read(value.kind, value.number, pointer=f"{VALUE}/number")
    if document.sex is not None:
        await _check_marriage(db, person, document.sex)


def _require_unsaid(person: Person, fact: str, value: date | Sex) -> None:
    """What the number of the document says (GB 11643) is corrected with the document."""
    said = getattr(documents.read(person.document_kind, person.document_number), fact)
    if said not in {None, value}:
        raise Invalid.at(
            VALUE, "与证件号码不符，请更正证件号码", "not that of the document: correct the document instead"
        )


async def _check_marriage(db: AsyncSession, person: Person, sex: Sex) -> None:
    role = Couple.husband_id if sex is Sex.FEMALE else Couple.wife_id
    if await db.scalar(select(exists().where(role == person.id, Couple.valid_to.is_(None)))):
        raise SexContradictsMarriage
