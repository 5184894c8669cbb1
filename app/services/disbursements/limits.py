"""How much a role may approve at once: rows of the nearest region, set by a supervisor."""

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import GRANTS, Actor, Permission, visible
from app.db import new_id
from app.errors import Forbidden, Invalid
from app.models.disbursements import ApprovalLimit, Disbursement
from app.models.identity import ROLE_NAMES, Role
from app.services import audit, regions
from app.services.plain import Body, RegionCode, example
from app.settings import settings

APPROVERS = tuple(
    role for role in Role if role is not Role.SYSTEM and Permission.DISBURSEMENT_APPROVE in GRANTS[role]
)
#: Of the association's own region, until a supervisor sets others.
FIRST = {
    Role.TOWNSHIP_OFFICER: 2_000_00, Role.COUNTY_ADMINISTRATOR: 50_000_00, Role.SUPERVISOR: 500_000_00,
}  # fmt: skip


class BeyondLimit(Forbidden):
    """`limit_fen`: the own; `may_approve`: the roles that may approve this much."""

    zh, en = "金额超出您的审批权限", "More than you may approve"
    do_zh, do_en = "请由 may_approve 所列角色审批", "Let a role named in `may_approve` decide"


class OwnLimit(Forbidden):
    zh, en = "不能设定本人角色的审批限额", "Nobody sets the limit of their own role"
    do_zh, do_en = "本角色的限额由系统运维人员设定", "It is set by whoever runs the system"


class NewLimit(Body):
    model_config = example(region_code="640104000000", role="county_administrator", limit_fen=5_000_000)

    region_code: RegionCode
    role: Role
    limit_fen: Annotated[int, Field(ge=1, le=100_000_000_00)]


async def require(db: AsyncSession, actor: Actor, row: Disbursement) -> None:
    """BeyondLimit unless the actor's role may approve this much where the disbursement is made."""
    found = await of_region(db, row.region_code)
    own = found.get(actor.role, 0)
    if row.amount_fen > own:
        able = [" ".join(ROLE_NAMES[role]) for role, limit in found.items() if limit >= row.amount_fen]
        raise BeyondLimit(limit_fen=own, may_approve=able)


async def of_region(db: AsyncSession, region_code: str) -> dict[Role, int]:
    """For each role the row of the nearest region: the own, or the next above that has one."""
    query = (
        select(ApprovalLimit.role, ApprovalLimit.limit_fen)
        .where(ApprovalLimit.region_code.in_(_at_or_above(region_code)))
        .order_by(ApprovalLimit.region_code)  # of two the nearer is the greater, and comes last
    )
    return dict((await db.execute(query)).all())


def limit_of(role: Role, region_code: Any) -> ScalarSelect[int]:
    """The same within a query, for the region of each row."""
    return (
        select(ApprovalLimit.limit_fen)
        .where(ApprovalLimit.role == role, ApprovalLimit.region_code.in_(_at_or_above(region_code)))
        .order_by(ApprovalLimit.region_code.desc())
        .limit(1)
        .scalar_subquery()
    )


def _at_or_above(region_code: Any) -> list[Any]:
    return [region_code, *(func.rpad(func.left(region_code, length), 12, "0") for length in (9, 6, 4, 2))]


async def listing(
    db: AsyncSession, actor: Actor, *, after: tuple[str, str] | None, limit: int
) -> list[ApprovalLimit]:
    """Of the own region, those below and those above, by region."""
    order = ApprovalLimit.region_code, ApprovalLimit.role
    query = select(ApprovalLimit).where(visible(actor, ApprovalLimit)).order_by(*order).limit(limit)
    if after is not None:
        query = query.where((ApprovalLimit.region_code > after[0]) | (
            (ApprovalLimit.region_code == after[0]) & (ApprovalLimit.role > after[1])
        ))  # fmt: skip
    return list(await db.scalars(query))


async def set_limit(db: AsyncSession, actor: Actor, *, new: NewLimit) -> ApprovalLimit:
    """Of another role that approves, in the supervisor's own region or below it. It holds for what is approved from
    now on."""
    if new.role is actor.role:
        raise OwnLimit
    await regions.require_own_region(db, actor, new.region_code)
    if new.role not in APPROVERS:
        raise Invalid.at("/role", "该角色没有审批权限", "this role approves nothing")
    made = insert(ApprovalLimit).values(id=new_id(), **new.model_dump())
    made = made.on_conflict_do_update(
        constraint="uq_approval_limit_region_code_role",
        set_={"limit_fen": new.limit_fen, "version": ApprovalLimit.version + 1},
    )
    written = made.returning(ApprovalLimit)
    row = (await db.scalars(written, execution_options={"populate_existing": True})).one()
    await audit.record(db, actor, "set_limit", "approval_limit", row.id)
    return row


async def load(db: AsyncSession) -> None:
    """Reference data: where nothing was set yet."""
    rows = [
        {"id": new_id(), "region_code": settings().region_code, "role": role, "limit_fen": limit}
        for role, limit in FIRST.items()
    ]
    await db.execute(insert(ApprovalLimit).on_conflict_do_nothing(), rows)
