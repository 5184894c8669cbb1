"""Partner hospitals and their signing keys, kept by administrators."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

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
from app.errors import NotFound, problems
from app.models.partners import Algorithm
from app.services import partners, regions
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["合作医院 partners"])
Manager = Annotated[Actor, staff_may(Permission.PARTNER_MANAGE)]


class NewOrganization(Body):
    model_config = example(name="兴庆区妇幼保健院", region_code="640104000000", algorithm="hmac-sha256")

    name: Line
    region_code: RegionCode
    algorithm: Algorithm = Algorithm.HMAC_SHA256


class OrganizationView(View):
    id: uuid.UUID
    name: str
    region_code: RegionCode
    algorithm: Algorithm
    requests_per_minute: int
    burst: int
    disabled_at: datetime | None
    created_at: datetime


class PartnerKeyView(View):
    id: uuid.UUID = Field(description="What the hospital sends as Nuanxin-Key")
    created_at: datetime
    revoked_at: datetime | None


class IssuedKey(PartnerKeyView):
    secret: str | None = Field(
        description="whsec_ and the key in base64; null when the request is repeated after 15 minutes"
    )


class Limits(Body):
    """`burst`: so many at once after a pause, a quarter of them kept for what is not just reading."""

    model_config = example(requests_per_minute=1200, burst=600)

    requests_per_minute: Annotated[int, Field(ge=6, le=60_000)]
    burst: Annotated[int, Field(ge=4, le=10_000)]


class RegisteredOrganization(View):
    organization: OrganizationView
    key: IssuedKey


@router.post(
    "/organizations",
    status_code=201,
    summary="登记合作医院 Register a partner hospital",
    responses=problems(
        partners.OrganizationNameTaken, regions.RegionOutsideOwn, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def create_organization(
    db: Db, actor: Manager, key: IdempotencyKey, body: NewOrganization
) -> RegisteredOrganization:
    organization, first = await partners.create(db, actor, key, **body.model_dump())
    return RegisteredOrganization(
        organization=OrganizationView.model_validate(organization), key=IssuedKey.model_validate(first)
    )


@router.get(
    "/organizations", summary="合作医院列表 List partner hospitals", response_model=Listing[OrganizationView]
)
async def list_organizations(db: Db, actor: Manager, page: Paging) -> dict[str, Any]:
    after = page.after_one(uuid.UUID)
    rows = await partners.in_region(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/organizations/{id}/disable",
    summary="停用合作医院 Disable a partner hospital",
    responses=problems(NotFound),
)
async def disable_organization(db: Db, actor: Manager, id: uuid.UUID) -> OrganizationView:
    """None of its requests is accepted any more."""
    return OrganizationView.model_validate(await partners.disable(db, actor, id))


@router.put(
    "/organizations/{id}/limits",
    summary="设置请求限额 Limit the requests of a hospital",
    responses=problems(NotFound),
)
async def limit_organization(db: Db, actor: Manager, id: uuid.UUID, body: Limits) -> OrganizationView:
    """More than these are answered 429, with when to come again."""
    return OrganizationView.model_validate(await partners.limit(db, actor, id, **body.model_dump()))


@router.get("/organizations/{id}/keys", summary="密钥列表 List signing keys", responses=problems(NotFound))
async def list_keys(db: Db, actor: Manager, id: uuid.UUID) -> list[PartnerKeyView]:
    """Live and revoked, oldest first, without their secrets; one hundred at most."""
    return [PartnerKeyView.model_validate(row) for row in await partners.keys_of(db, actor, id)]


@router.post(
    "/organizations/{id}/keys",
    status_code=201,
    summary="新增密钥 Add a signing key",
    responses=problems(
        NotFound,
        partners.TwoKeysLive,
        partners.OrganizationDisabled,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def add_key(db: Db, actor: Manager, key: IdempotencyKey, id: uuid.UUID) -> IssuedKey:
    """Two keys live side by side while the hospital changes over."""
    return IssuedKey.model_validate(await partners.add_key(db, actor, key, organization_id=id))


@router.post(
    "/organizations/{id}/keys/{key_id}/revoke",
    summary="吊销密钥 Revoke a signing key",
    responses=problems(NotFound),
)
async def revoke_key(db: Db, actor: Manager, id: uuid.UUID, key_id: uuid.UUID) -> PartnerKeyView:
    """At once; the last one too."""
    return PartnerKeyView.model_validate(
        await partners.revoke_key(db, actor, organization_id=id, key_id=key_id)
    )
