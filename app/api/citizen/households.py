"""Registering one's household and following its verification."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Version, Versioned, View, resident_may
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.households import DocumentKind, FamilyType, HouseholdStatus, Relation, Sex
from app.services import households, identity
from app.services.households import Form
from app.services.households.registration import AlreadyInHousehold, HouseholdPending
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["家庭 households"])
Register = Annotated[Actor, resident_may(Permission.HOUSEHOLD_REGISTER)]
Read = Annotated[Actor, resident_may(Permission.HOUSEHOLD_READ)]


class ReviseHousehold(Body):
    version: Version
    form: Form


class HouseholdSummary(View):
    id: uuid.UUID
    number: int
    status: HouseholdStatus
    region_code: str
    marks: list[dict[str, Any]] = Field(description="Returned: the fields to correct, each with a note")
    version: int
    submitted_at: datetime | None


class MemberView(View):
    id: uuid.UUID
    relation: Relation
    name: str
    sex: Sex
    birth_date: date | None
    birth_year: int
    document_kind: DocumentKind
    document_number: str
    phone: str | None


class CoupleView(View):
    id: uuid.UUID
    wife_id: uuid.UUID
    husband_id: uuid.UUID
    plans_pregnancy: bool
    valid_from: date


class CategoryView(View):
    id: uuid.UUID
    code: str
    person_id: uuid.UUID | None
    household_id: uuid.UUID | None
    valid_from: date
    valid_to: date | None


class EventView(View):
    at: datetime
    kind: str
    note: str | None


class HouseholdDetail(View):
    id: uuid.UUID
    number: int
    status: HouseholdStatus
    region_code: str
    family_type: FamilyType | None
    address: str | None
    version: int
    marks: list[dict[str, Any]]
    form: dict[str, Any] | None = Field(description="Before verification: what was written")
    members: list[MemberView]
    couple: CoupleView | None
    categories: list[CategoryView]
    handbook: list[EventView]

    @classmethod
    def of(cls, detail: dict[str, Any]) -> "HouseholdDetail":
        form = detail["form"]
        return cls.model_validate(detail | {"form": form.model_dump(mode="json") if form else None})


@router.post(
    "/households",
    status_code=201,
    summary="登记家庭(草稿) Register one's household, as a draft",
    responses=problems(
        Invalid,
        identity.NotBound,
        HouseholdPending,
        AlreadyInHousehold,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def register_household(db: Db, actor: Register, key: IdempotencyKey, body: Form) -> HouseholdSummary:
    """Every wrong place of the form is named at once."""
    return HouseholdSummary.model_validate(await households.register(db, actor, key=key, form=body))


@router.get("/households", summary="我的家庭 My households")
async def my_households(db: Db, actor: Read) -> list[HouseholdSummary]:
    return [HouseholdSummary.model_validate(row) for row in await households.mine(db, actor)]


@router.get(
    "/households/{id}", summary="家庭详情和手册 A household and its handbook", responses=problems(NotFound)
)
async def household(db: Db, actor: Read, id: uuid.UUID) -> HouseholdDetail:
    return HouseholdDetail.of(await households.detail(db, actor, id=id, purpose="own_file"))


@router.put(
    "/households/{id}",
    summary="修改草稿或被退回的登记 Replace a draft or a returned form",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def revise_household(db: Db, actor: Register, id: uuid.UUID, body: ReviseHousehold) -> HouseholdSummary:
    return HouseholdSummary.model_validate(
        await households.revise(db, actor, id=id, version=body.version, form=body.form)
    )


@router.post(
    "/households/{id}/submit",
    summary="提交审核 Submit for verification",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def submit_household(db: Db, actor: Register, id: uuid.UUID, body: Versioned) -> HouseholdSummary:
    return HouseholdSummary.model_validate(await households.submit(db, actor, id=id, version=body.version))
