"""Bodies that give, and what was promised."""

import uuid
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app import clock
from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.donations import PledgeStatus
from app.services.donations import organizations, pledges
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["捐赠 donations"])
Read = Annotated[Actor, staff_may(Permission.DONATION_READ)]
Record = Annotated[Actor, staff_may(Permission.DONATION_RECORD)]
TWICE = (IdempotencyKeyReused, IdempotencyKeyTaken)
ID = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11"


class OrganizationLine(View):
    model_config = example(
        id=ID,
        region_code="640104000000",
        name="宁夏某某乳业有限公司",
        credit_code="91640100MA7600000F",
        version=1,
    )

    id: uuid.UUID
    region_code: str
    name: str
    credit_code: str | None
    version: int


class OrganizationDetail(OrganizationLine):
    model_config = example(
        id=ID, region_code="640104000000", name="宁夏某某乳业有限公司", credit_code="91640100MA7600000F", version=1,
        contact="马主任", phone="0951-1234567",
    )  # fmt: skip

    contact: str | None
    phone: str | None


class PledgeView(View):
    id: uuid.UUID
    fund_id: uuid.UUID
    organization_donor_id: uuid.UUID | None
    amount_fen: int
    received_fen: int
    due_on: date
    status: PledgeStatus
    version: int


class ChangeOrganization(Versioned):
    model_config = example(
        version=1, organization={"region_code": "640104000000", "name": "宁夏某某乳业有限公司"}
    )

    organization: organizations.OrganizationForm


@router.get(
    "/organization-donors", summary="捐赠单位 Bodies that give", response_model=Listing[OrganizationLine]
)
async def organization_donors(
    db: Db, actor: Read, page: Paging, name: Annotated[str | None, Query(min_length=1, max_length=50)] = None
) -> dict[str, Any]:
    """Newest first."""
    after = page.after_one(uuid.UUID)
    rows = await organizations.listed(db, actor, name=name, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/organization-donors", status_code=201, summary="登记捐赠单位 Register a body",
    responses=problems(Invalid, NotFound, organizations.OrganizationKnown, *TWICE),
)  # fmt: skip
async def register_organization(
    db: Db, actor: Record, key: IdempotencyKey, body: organizations.OrganizationForm
) -> OrganizationLine:
    """The check character of the credit code is checked (GB 32100)."""
    return OrganizationLine.model_validate(await organizations.register(db, actor, key=key, new=body))


@router.get("/organization-donors/{id}", summary="捐赠单位详情 A body", responses=problems(NotFound))
async def organization_donor(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> OrganizationDetail:
    """With who answers for it; recorded, with the purpose."""
    return OrganizationDetail.model_validate(await organizations.read(db, actor, id=id, purpose=purpose))


@router.put(
    "/organization-donors/{id}", summary="修改捐赠单位 Change a body",
    responses=problems(Invalid, NotFound, StaleVersion, organizations.OrganizationKnown),
)  # fmt: skip
async def change_organization(
    db: Db, actor: Record, id: uuid.UUID, body: ChangeOrganization
) -> OrganizationLine:
    """What was given before stays under the name of then."""
    row = await organizations.change(db, actor, id=id, version=body.version, new=body.organization)
    return OrganizationLine.model_validate(row)


@router.get("/pledges/due", summary="待兑现认捐 Pledges due", response_model=Listing[pledges.PledgeLine])
async def due_pledges(
    db: Db, actor: Read, page: Paging, within_days: Annotated[int, Query(ge=0, le=366)] = 30
) -> dict[str, Any]:
    """Whose day is near or past, the longest waiting first: whom to remind."""
    by = clock.today() + timedelta(days=within_days)
    after: Any = page.after(date.fromisoformat, uuid.UUID)
    rows = await pledges.due(db, actor, by=by, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.due_on, row.id))


@router.get("/pledges", summary="认捐列表 Pledges", response_model=Listing[pledges.PledgeLine])
async def fund_pledges(db: Db, actor: Read, page: Paging, fund_id: uuid.UUID) -> dict[str, Any]:
    """Of a fund, newest first."""
    after = page.after_one(uuid.UUID)
    rows = await pledges.of_fund(db, actor, fund_id=fund_id, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/pledges", status_code=201, summary="登记单位认捐 Enter a pledge",
    responses=problems(Invalid, NotFound, *TWICE),
)  # fmt: skip
async def enter_pledge(
    db: Db, actor: Record, key: IdempotencyKey, body: pledges.NewPledgeOfOrganization
) -> PledgeView:
    """Of an organisation; residents pledge by themselves."""
    return PledgeView.model_validate(await pledges.promise(db, actor, key=key, new=body))


@router.post(
    "/pledges/{id}/cancel", summary="取消认捐 Cancel a pledge",
    responses=problems(NotFound, StaleVersion, WrongState),
)  # fmt: skip
async def cancel_pledge(db: Db, actor: Record, id: uuid.UUID, body: Versioned) -> PledgeView:
    """What came of it stays."""
    return PledgeView.model_validate(await pledges.cancel(db, actor, id=id, version=body.version))
