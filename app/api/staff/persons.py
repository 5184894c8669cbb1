"""Somebody with a document before the worker, and perhaps in no household yet."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Body, Line, Purpose, Text, View, example, staff_may
from app.errors import Invalid, NotFound, TooMany, problems
from app.models.households import DocumentKind
from app.services import documents, persons
from app.services.households.forms import Phone

router = APIRouter(tags=["家庭 households"])
Verify = Annotated[Actor, staff_may(Permission.HOUSEHOLD_VERIFY)]


class FindPerson(Body):
    model_config = example(document_kind="resident_id", document_number="11010519491231002X")

    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30)]


class ReleaseShown(FindPerson):
    model_config = example(
        name="王小芳",
        document_kind="resident_id",
        document_number="11010519491231002X",
        phone="13900000001",
    )

    name: Line
    phone: Phone


class FoundPerson(View):
    """The name is masked. `bound_at`: since when an account is bound to the person."""

    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        name="王*芳",
        in_household=False,
        bound_at="2026-08-01T02:00:00Z",
    )

    id: uuid.UUID
    name: str
    in_household: bool
    bound_at: datetime | None


@router.post(
    "/persons/find",
    summary="按所持证件查找 Who a shown document belongs to",
    responses=problems(NotFound, Invalid, TooMany),
)
async def find_person(actor: Verify, purpose: Purpose, body: FindPerson) -> FoundPerson:
    """Of the own region, or in no household at all. Five misses a day, then 429. Recorded in the person's file."""
    document = documents.read(body.document_kind, body.document_number)
    return FoundPerson.model_validate(await persons.find(actor, document=document, purpose=purpose))


@router.post(
    "/persons/release-binding",
    status_code=204,
    summary="凭姓名和证件更正手机号并解除微信绑定 Release a binding by name and document shown",
    responses=problems(NotFound, Invalid, TooMany),
)
async def release_shown_binding(actor: Verify, purpose: Purpose, body: ReleaseShown) -> None:
    """For who is in no household: the phone is put on file with which the person can bind again, and the account
    bound so far is bound no more. Name and document must agree; a miss counts as one of the five of a day."""
    document = documents.read(body.document_kind, body.document_number)
    await persons.release_binding(actor, document=document, name=body.name, phone=body.phone, purpose=purpose)
