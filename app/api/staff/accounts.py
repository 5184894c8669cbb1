"""An administrator keeps the accounts of the workers in the own region."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StringConstraints

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
from app.models.identity import Role
from app.services import idempotency, staff

router = APIRouter(prefix="/accounts", tags=["账号 accounts"])
Manager = Annotated[Actor, staff_may(Permission.STAFF_MANAGE)]
NewUsername = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,49}$")]


class AccountBody(Body):
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
    locked_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime


class InitialPasswordView(View):
    initial_password: str = Field(description="Shown this once; it opens the enrolment and nothing else")


class NewAccountView(InitialPasswordView):
    account: AccountView


@router.post(
    "",
    summary="开通账号 Create an account",
    status_code=201,
    response_model=NewAccountView,
    responses=errors.problems(
        staff.UsernameTaken,
        staff.RegionOutsideOwn,
        idempotency.IdempotencyKeyReused,
        idempotency.IdempotencyKeyTaken,
    ),
)
async def create_account(body: AccountBody, key: IdempotencyKey, db: Db, actor: Manager) -> dict[str, Any]:
    account, password = await staff.create(
        db,
        actor,
        key,
        username=body.username,
        name=body.name,
        role=body.role,
        region_code=body.region_code,
    )
    return {"account": account, "initial_password": password}


@router.get("", summary="账号列表 List accounts", response_model=Listing[AccountView])
async def list_accounts(page: Paging, db: Db, actor: Manager) -> dict[str, Any]:
    after = page.after(uuid.UUID)
    rows = await staff.in_region(db, actor, after=after[0] if after else None, limit=page.limit)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/{account_id}/disable",
    summary="停用账号 Disable an account",
    response_model=AccountView,
    responses=errors.problems(errors.NotFound, staff.OwnAccount),
)
async def disable_account(account_id: uuid.UUID, db: Db, actor: Manager) -> Any:
    """Its sign-ins end at once."""
    return await staff.disable(db, actor, account_id)


@router.post(
    "/{account_id}/reset",
    summary="重置账号 Reset an account",
    response_model=InitialPasswordView,
    responses=errors.problems(errors.NotFound, staff.OwnAccount),
)
async def reset_account(account_id: uuid.UUID, db: Db, actor: Manager) -> dict[str, Any]:
    """For a forgotten password or a lost authenticator: a new initial password, and enrolment anew."""
    return {"initial_password": await staff.reset(db, actor, account_id)}
