"""Registering one's household and following its verification."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Version, Versioned, View, example, resident_may
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
    model_config = example(
        version=3,
        form={
            "region_code": "640104001000",
            "address": "凤凰北街 8 号 2 单元 301",
            "members": [
                {
                    "relation": "head",
                    "name": "李建国",
                    "phone": "13900000002",
                    "document_number": "440524199001010018",
                    "hukou_region_code": "640104001000",
                    "hukou_type": "urban",
                    "resident_since": "2020-01-01",
                }
            ],
        },
    )

    version: Version
    form: Form


class HouseholdSummary(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        number=1024,
        status="returned",
        region_code="640104001000",
        marks=[{"pointer": "/members/1/name", "note": "与身份证不一致"}],
        version=3,
        submitted_at="2026-08-01T02:00:00Z",
    )

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
    grade: int | None
    valid_from: date
    valid_to: date | None


class FamilyTypeFacts(View):
    """What the rule looked at, each as so many members."""

    members: int
    minors: int
    elders: int
    wives_of_childbearing_age: int
    heads_from_elsewhere: int


class FamilyTypeBasis(View):
    """Why a household is of its type. `verdict` is the rule's, with its clause; `reason` that of a worker who
    decided otherwise."""

    by_rule: bool
    verdict: FamilyType
    clause_zh: str
    clause_en: str
    facts: FamilyTypeFacts
    reason: str | None


class HouseholdDetail(View):
    id: uuid.UUID
    number: int
    status: HouseholdStatus
    region_code: str
    family_type: FamilyType | None
    family_type_basis: FamilyTypeBasis | None = Field(description="Of an active household")
    address: str | None
    version: int
    marks: list[dict[str, Any]]
    form: dict[str, Any] | None = Field(description="Before verification: what was written")
    members: list[MemberView]
    couple: CoupleView | None
    categories: list[CategoryView]

    @classmethod
    def of(cls, detail: dict[str, Any]) -> "HouseholdDetail":
        form = detail["form"]
        return cls.model_validate(detail | {"form": form.model_dump(mode="json") if form else None})


@router.post(
    "/households",
    status_code=201,
    summary="登记家庭（草稿） Register one's household, as a draft",
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
    """The own household and a registration under way, all at once: two at most."""
    return [HouseholdSummary.model_validate(row) for row in await households.mine(db, actor)]


@router.get("/households/{id}", summary="家庭详情 A household in detail", responses=problems(NotFound))
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


@router.post(
    "/households/{id}/withdraw",
    summary="撤回提交 Take back what was submitted",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def withdraw_household(db: Db, actor: Register, id: uuid.UUID, body: Versioned) -> HouseholdSummary:
    """A draft again, while no worker has decided on it."""
    return HouseholdSummary.model_validate(await households.withdraw(db, actor, id=id, version=body.version))
