"""An administrator keeps the accounts of the workers in the own region."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StringConstraints

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
from app.models.identity import Role
from app.services import regions, staff
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["账号 accounts"])
Manager = Annotated[Actor, staff_may(Permission.STAFF_MANAGE)]
NewUsername = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,49}$")]


class NewAccount(Body):
    model_config = example(username="li.ming", name="李明", role="village_worker", region_code="640104001000")

    username: NewUsername
    name: Line
    role: Role
    region_code: RegionCode


class AccountView(View):
    id: uuid.UUID
    username: str
    name: str
    role: Role
    region_code: RegionCode
    totp_enrolled_at: datetime | None
    disabled_at: datetime | None
    created_at: datetime


class OpenedAccount(View):
    account: AccountView
    initial_password: str | None = Field(
        description="Shown this once, null when the request is repeated; it opens the enrolment and nothing else"
    )


class NewRegion(Body):
    model_config = example(region_code="640104001000")

    region_code: RegionCode


class InitialPassword(View):
    initial_password: str = Field(description="Shown this once; it opens the enrolment and nothing else")


@router.post(
    "/accounts",
    status_code=201,
    summary="开通账号 Create an account",
    responses=problems(
        staff.UsernameTaken, regions.RegionOutsideOwn, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def create_account(db: Db, actor: Manager, key: IdempotencyKey, body: NewAccount) -> OpenedAccount:
    """If the answer with the initial password was lost, reset the account."""
    account, password = await staff.create(db, actor, key, **body.model_dump())
    return OpenedAccount(account=AccountView.model_validate(account), initial_password=password)


@router.get("/accounts", summary="账号列表 List accounts", response_model=Listing[AccountView])
async def list_accounts(db: Db, actor: Manager, page: Paging) -> dict[str, Any]:
    after = page.after_one(uuid.UUID)
    rows = await staff.in_region(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/accounts/{id}/disable",
    summary="停用账号 Disable an account",
    responses=problems(NotFound, staff.OwnAccount),
)
async def disable_account(db: Db, actor: Manager, id: uuid.UUID) -> AccountView:
    """Its sign-ins end at once."""
    return AccountView.model_validate(await staff.disable(db, actor, id))


@router.patch(
    "/accounts/{id}",
    summary="调动账号 Give an account another region",
    responses=problems(NotFound, staff.OwnAccount, regions.RegionOutsideOwn),
)
async def reassign_account(db: Db, actor: Manager, id: uuid.UUID, body: NewRegion) -> AccountView:
    """Within the administrator's own, from the next request on; also for the workers of a division that was split."""
    return AccountView.model_validate(await staff.reassign(db, actor, id, body.region_code))


@router.post(
    "/accounts/{id}/reset",
    summary="重置账号 Reset an account",
    responses=problems(NotFound, staff.OwnAccount),
)
async def reset_account(db: Db, actor: Manager, id: uuid.UUID) -> InitialPassword:
    """For a forgotten password or a lost authenticator: a new initial password, and enrolment anew."""
    return InitialPassword(initial_password=await staff.reset(db, actor, id))
