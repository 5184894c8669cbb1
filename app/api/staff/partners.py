"""Partner hospitals and their signing keys, kept by administrators."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app import errors
from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Paging,
    RegionCode,
    View,
    example,
    listing,
    staff_may,
)
from app.models.partners import Algorithm
from app.services import idempotency, partners, staff

router = APIRouter(prefix="/organizations", tags=["合作医院 partners"])
Manager = Annotated[Actor, staff_may(Permission.PARTNER_MANAGE)]


class OrganizationBody(Body):
    model_config = example(name="兴庆区妇幼保健院", region_code="640104000000", algorithm="hmac-sha256")

    name: Line
    region_code: RegionCode
    algorithm: Algorithm = Algorithm.HMAC_SHA256


class OrganizationView(View):
    id: uuid.UUID
    name: str
    region_code: RegionCode
    algorithm: Algorithm
    disabled_at: datetime | None
    created_at: datetime


class PartnerKeyView(View):
    id: uuid.UUID = Field(description="What the hospital sends as Nuanxin-Key")
    created_at: datetime
    revoked_at: datetime | None


class NewPartnerKeyView(PartnerKeyView):
    secret: str = Field(description="Shown this once: whsec_ and the key in base64")


class NewOrganizationView(View):
    organization: OrganizationView
    key: NewPartnerKeyView


@router.post(
    "",
    summary="登记合作医院 Register a partner hospital",
    status_code=201,
    response_model=NewOrganizationView,
    responses=errors.problems(
        partners.OrganizationNameTaken,
        staff.RegionOutsideOwn,
        idempotency.IdempotencyKeyReused,
        idempotency.IdempotencyKeyTaken,
    ),
)
async def create_organization(
    body: OrganizationBody, key: IdempotencyKey, db: Db, actor: Manager
) -> dict[str, Any]:
    organization, first = await partners.create(
        db, actor, key, name=body.name, region_code=body.region_code, algorithm=body.algorithm
    )
    return {"organization": organization, "key": first}


@router.get("", summary="合作医院列表 List partner hospitals", response_model=Listing[OrganizationView])
async def list_organizations(page: Paging, db: Db, actor: Manager) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await partners.in_region(db, actor, after=after[0] if after else None, limit=page.limit)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/{organization_id}/disable",
    summary="停用合作医院 Disable a partner hospital",
    response_model=OrganizationView,
    responses=errors.problems(errors.NotFound),
)
async def disable_organization(organization_id: uuid.UUID, db: Db, actor: Manager) -> Any:
    """None of its requests is accepted any more."""
    return await partners.disable(db, actor, organization_id)


@router.get(
    "/{organization_id}/keys",
    summary="密钥列表 List signing keys",
    response_model=list[PartnerKeyView],
    responses=errors.problems(errors.NotFound),
)
async def list_keys(organization_id: uuid.UUID, db: Db, actor: Manager) -> Any:
    """Live and revoked, oldest first, without their secrets; one hundred at most."""
    return await partners.keys_of(db, actor, organization_id)


@router.post(
    "/{organization_id}/keys",
    summary="新增密钥 Add a signing key",
    status_code=201,
    response_model=NewPartnerKeyView,
    responses=errors.problems(
        errors.NotFound,
        partners.TwoKeysLive,
        partners.OrganizationDisabled,
        idempotency.IdempotencyKeyReused,
        idempotency.IdempotencyKeyTaken,
    ),
)
async def add_key(organization_id: uuid.UUID, key: IdempotencyKey, db: Db, actor: Manager) -> Any:
    """Two keys live side by side while the hospital changes over."""
    return await partners.add_key(db, actor, key, organization_id=organization_id)


@router.post(
    "/{organization_id}/keys/{key_id}/revoke",
    summary="吊销密钥 Revoke a signing key",
    response_model=PartnerKeyView,
    responses=errors.problems(errors.NotFound),
)
async def revoke_key(organization_id: uuid.UUID, key_id: uuid.UUID, db: Db, actor: Manager) -> Any:
    """At once; the last one too."""
    return await partners.revoke_key(db, actor, organization_id=organization_id, key_id=key_id)
