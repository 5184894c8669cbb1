"""Verifying households, and looking at those of one's region."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.citizen.households import HouseholdDetail, HouseholdSummary
from app.api.deps import Body, Db, Listing, Paging, Purpose, Versioned, View, example, listing, staff_may
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.households import HouseholdStatus
from app.services import households, identity
from app.services.households.forms import Phone
from app.services.households.registration import AlreadyInHousehold, MarriedElsewhere

router = APIRouter(tags=["家庭 households"])
Read = Annotated[Actor, staff_may(Permission.HOUSEHOLD_READ)]
Verify = Annotated[Actor, staff_may(Permission.HOUSEHOLD_VERIFY)]
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]


class HouseholdRow(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        number=1024,
        status="submitted",
        region_code="640104001000",
        region_name="凤凰北街街道",
        registrant="王*芳",
        submitted_at="2026-08-01T02:00:00Z",
        version=2,
    )

    id: uuid.UUID
    number: int
    status: HouseholdStatus
    region_code: str
    region_name: str
    registrant: str | None
    submitted_at: datetime | None
    version: int


class ReturnHousehold(Versioned):
    model_config = example(version=2, marks=[{"pointer": "/members/1/name", "note": "与身份证不一致"}])

    marks: Annotated[list[households.Mark], Field(min_length=1, max_length=50)]


class ReleaseBinding(Body):
    model_config = example(phone="13900000001")

    phone: Phone


@router.get("/households", summary="辖区家庭 Households of the region", response_model=Listing[HouseholdRow])
async def list_households(
    db: Db, actor: Read, page: Paging, status: HouseholdStatus = HouseholdStatus.SUBMITTED
) -> dict[str, Any]:
    """By village. Names are masked."""
    after = page.after(str, uuid.UUID)
    rows = await households.listing(db, actor, status=status, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["region_code"], row["id"]))


@router.get("/households/{id}", summary="家庭详情（脱敏） A household, masked", responses=problems(NotFound))
async def household(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> HouseholdDetail:
    """The look is recorded in the file of each member, with its purpose."""
    return HouseholdDetail.of(await households.detail(db, actor, id=id, purpose=purpose))


@router.post(
    "/households/{id}/unmask", summary="家庭详情（完整） A household, unmasked", responses=problems(NotFound)
)
async def unmask_household(db: Db, actor: Unmask, id: uuid.UUID, purpose: Purpose) -> HouseholdDetail:
    """Full names, documents, phone, address: to compare with the papers. Recorded as such."""
    return HouseholdDetail.of(await households.detail(db, actor, id=id, purpose=purpose, unmasked=True))


@router.post(
    "/households/{id}/verify",
    summary="核实通过 Verify",
    responses=problems(NotFound, StaleVersion, WrongState, AlreadyInHousehold, MarriedElsewhere),
)
async def verify_household(db: Db, actor: Verify, id: uuid.UUID, body: Versioned) -> HouseholdSummary:
    """The papers were seen. People, memberships, couple and categories are made of the form."""
    return HouseholdSummary.model_validate(await households.verify(db, actor, id=id, version=body.version))


@router.post(
    "/households/{id}/return",
    summary="退回修改 Return for correction",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def return_household(db: Db, actor: Verify, id: uuid.UUID, body: ReturnHousehold) -> HouseholdSummary:
    """Each wrong field is marked with a note."""
    return HouseholdSummary.model_validate(
        await households.return_for_correction(db, actor, id=id, version=body.version, marks=body.marks)
    )


@router.post(
    "/persons/{id}/release-binding",
    status_code=204,
    summary="更正手机号并解除微信绑定 Set a person's phone and release the account bound to it",
    responses=problems(NotFound),
)
async def release_binding(
    db: Db, actor: Verify, id: uuid.UUID, purpose: Purpose, body: ReleaseBinding
) -> None:
    """The document was seen: a new phone, or somebody else's account. With this phone the person binds again."""
    await identity.release_binding(db, actor, person_id=id, phone=body.phone, purpose=purpose)
