"""Funds, their campaigns, and the budgets by which they are spent."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.models.funds import CampaignMode, CampaignStatus, FundStatus, LeftoverRule
from app.services.funds import budgets, campaigns, funds
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.ledger.posting import FundInsufficient
from app.services.regions import RegionOutsideOwn

router = APIRouter(tags=["基金 funds"])
Read = Annotated[Actor, staff_may(Permission.FUND_READ)]
Manage = Annotated[Actor, staff_may(Permission.FUND_MANAGE)]
FUND = {
    "id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", "code": "CARE", "region_code": "640100000000",
    "zh": "生育关怀基金", "en": "Care fund", "purpose_zh": "救助计划生育特殊困难家庭",
    "purpose_en": "Help for families in special hardship", "restricted": True, "status": "open", "version": 1,
    "created_at": "2026-11-22T01:00:00Z",
}  # fmt: skip


class FundView(View):
    model_config = example(**FUND)

    id: uuid.UUID
    code: str
    region_code: str
    zh: str
    en: str
    purpose_zh: str
    purpose_en: str
    restricted: bool
    status: FundStatus
    version: int
    created_at: datetime


class FundStanding(FundView):
    """`available_fen`: received, less what was spent and what is held."""

    model_config = example(**FUND, available_fen=1_000_000, held_fen=50_000, goods_fen=0)

    available_fen: int
    held_fen: int
    goods_fen: int


CAMPAIGN: dict[str, Any] = campaigns.EXAMPLE | {
    "id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03", "status": "draft", "leftover_rule": "same_fund",
    "certificate_number": None, "filing_number": None, "platform_name": None, "platform_url": None,
    "leftover_fund_id": None, "closed_at": None, "version": 1,
}  # fmt: skip


class CampaignView(View):
    model_config = example(**CAMPAIGN)

    id: uuid.UUID
    fund_id: uuid.UUID
    zh: str
    en: str
    story_zh: str
    story_en: str
    mode: CampaignMode
    in_app_payment: bool
    certificate_number: str | None
    filing_number: str | None
    platform_name: str | None
    platform_url: str | None
    goal_fen: int
    starts_on: date
    ends_on: date
    status: CampaignStatus
    leftover_rule: LeftoverRule
    leftover_fund_id: uuid.UUID | None
    closed_at: datetime | None
    version: int


class CampaignStanding(CampaignView):
    """`received_fen`: money, less what went back. `committed_fen`: approved or paid under it. `handed_over_fen`: gone
    to the fund of its rule. `left_fen`: of what was given, what those leave."""

    model_config = example(
        **CAMPAIGN, received_fen=520_000, committed_fen=200_000, handed_over_fen=0, left_fen=320_000
    )

    received_fen: int
    committed_fen: int
    handed_over_fen: int
    left_fen: int


class CloseCampaign(Versioned):
    """`leftover_fen`: what goes to the fund that its rule names, at most what is left of what was given to it."""

    model_config = example(version=2, leftover_fen=0)

    leftover_fen: Annotated[int, Field(ge=0, le=campaigns.MOST_FEN)] = 0


class BudgetLineView(View):
    """`committed_fen`: approved or paid so far."""

    id: uuid.UUID
    fund_id: uuid.UUID
    year: int
    code: str
    zh: str
    en: str
    amount_fen: int
    committed_fen: int
    version: int


@router.post(
    "/funds",
    status_code=201,
    summary="设立基金 Open a fund",
    responses=problems(
        RegionOutsideOwn, funds.FundCodeTaken, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)  # fmt: skip
async def open_fund(db: Db, actor: Manage, key: IdempotencyKey, body: funds.NewFund) -> FundView:
    """With its accounts. Restricted to a purpose, or the general fund of its region."""
    return FundView.model_validate(await funds.open_fund(db, actor, key=key, new=body))


@router.get("/funds", summary="基金列表 Funds", response_model=Listing[FundView])
async def list_funds(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """By code: of the own region, and of those above that it may spend from."""
    after = page.after_one(str)
    rows = await funds.listing(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.code,))


@router.get("/funds/{id}", summary="基金及余额 A fund and how it stands", responses=problems(NotFound))
async def read_fund(db: Db, actor: Read, id: uuid.UUID) -> FundStanding:
    """What it may spend now, what is held, and the worth of its goods."""
    fund = await funds.read(db, actor, id)
    return FundStanding(**FundView.model_validate(fund).model_dump(), **await funds.standing(db, fund))


@router.patch(
    "/funds/{id}",
    summary="更改基金名称 Rename a fund",
    responses=problems(NotFound, StaleVersion, funds.FundClosed),
)
async def rename_fund(db: Db, actor: Manage, id: uuid.UUID, body: funds.FundTexts) -> FundView:
    """What it is for is not changed once money was given for it."""
    return FundView.model_validate(await funds.rename(db, actor, id=id, new=body))


@router.post(
    "/funds/{id}/close",
    summary="关闭基金 Close a fund",
    responses=problems(NotFound, StaleVersion, funds.FundClosed, funds.FundNotEmpty),
)
async def close_fund(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> FundView:
    """For good, when nothing is left in it and nothing is under way."""
    return FundView.model_validate(await funds.close(db, actor, id=id, version=body.version))


@router.get(
    "/funds/{id}/campaigns",
    summary="募捐项目列表 Campaigns",
    response_model=Listing[CampaignView],
    responses=problems(NotFound),
)
async def list_campaigns(db: Db, actor: Read, id: uuid.UUID, page: Paging) -> dict[str, Any]:
    """Of a fund, newest first."""
    before = page.after_one(uuid.UUID)
    rows = await campaigns.listing(db, actor, fund_id=id, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/campaigns",
    status_code=201,
    summary="起草募捐项目 Draft a campaign",
    responses=problems(
        Invalid, campaigns.PaymentNotLawful, IdempotencyKeyReused, IdempotencyKeyTaken, NotFound
    ),
)
async def draft_campaign(
    db: Db, actor: Manage, key: IdempotencyKey, body: campaigns.NewCampaign
) -> CampaignView:
    """Payment in the app is refused with the papers that are missing."""
    return CampaignView.model_validate(await campaigns.draft(db, actor, key=key, new=body))


@router.get(
    "/campaigns/{id}", summary="募捐项目及余额 A campaign and how it stands", responses=problems(NotFound)
)  # fmt: skip
async def read_campaign(db: Db, actor: Read, id: uuid.UUID) -> CampaignStanding:
    """A draft too. With what was given to it and what is left of that."""
    row = await campaigns.read(db, actor, id)
    stands = await campaigns.standing(db, row)
    return CampaignStanding(**CampaignView.model_validate(row).model_dump(), **stands)


@router.put(
    "/campaigns/{id}",
    summary="修改募捐项目 Change a campaign",
    responses=problems(NotFound, Invalid, StaleVersion, WrongState, campaigns.PaymentNotLawful),
)
async def change_campaign(
    db: Db, actor: Manage, id: uuid.UUID, body: campaigns.CampaignChange
) -> CampaignView:
    """A draft, in all; of an open one the texts, the goal, the papers and a later end."""
    return CampaignView.model_validate(await campaigns.change(db, actor, id=id, new=body))


@router.post(
    "/campaigns/{id}/open",
    summary="启动募捐项目 Open a campaign",
    responses=problems(
        NotFound, Invalid, StaleVersion, WrongState, campaigns.PaymentNotLawful, funds.FundClosed
    ),
)
async def open_campaign(db: Db, actor: Manage, id: uuid.UUID, body: Versioned) -> CampaignView:
    """The public sees it; gifts are taken from its first day to its last."""
    return CampaignView.model_validate(await campaigns.open_campaign(db, actor, id=id, version=body.version))


@router.post(
    "/campaigns/{id}/close", summary="结束募捐项目 Close a campaign",
    responses=problems(
        NotFound, Invalid, StaleVersion, WrongState, campaigns.MoreThanLeft, FundInsufficient, funds.FundClosed
    ),
)  # fmt: skip
async def close_campaign(db: Db, actor: Manage, id: uuid.UUID, body: CloseCampaign) -> CampaignView:
    """No gifts any more. What is left goes by its rule."""
    row = await campaigns.close(db, actor, id=id, version=body.version, leftover_fen=body.leftover_fen)
    return CampaignView.model_validate(row)


@router.get(
    "/funds/{id}/budget-lines",
    summary="预算项目 Budget lines",
    response_model=Listing[BudgetLineView],
    responses=problems(NotFound),
)
async def list_budget_lines(
    db: Db, actor: Read, id: uuid.UUID, page: Paging, year: Annotated[int | None, Query(ge=2000, le=2200)] = None
) -> dict[str, Any]:  # fmt: skip
    """Of a fund, by year and code."""
    after = page.after(int, str)
    rows = await budgets.listing(db, actor, fund_id=id, year=year, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.year, row.code))


@router.post(
    "/funds/{id}/budget-lines",
    status_code=201,
    summary="新增预算项目 Add a budget line",
    responses=problems(
        NotFound, budgets.BudgetLineExists, funds.FundClosed, IdempotencyKeyReused, IdempotencyKeyTaken
    ),
)
async def add_budget_line(
    db: Db, actor: Manage, key: IdempotencyKey, id: uuid.UUID, body: budgets.NewBudgetLine
) -> BudgetLineView:
    """How much may go to one kind of spending in a year."""
    return BudgetLineView.model_validate(await budgets.add(db, actor, key=key, fund_id=id, new=body))


@router.put(
    "/budget-lines/{id}",
    summary="调整预算项目 Change a budget line",
    responses=problems(NotFound, StaleVersion, budgets.BudgetBelowCommitted),
)
async def change_budget_line(
    db: Db, actor: Manage, id: uuid.UUID, body: budgets.BudgetChange
) -> BudgetLineView:
    """More, or less, but never less than what is committed."""
    return BudgetLineView.model_validate(await budgets.change(db, actor, id=id, new=body))
