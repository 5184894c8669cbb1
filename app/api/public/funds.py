"""What was given, and what became of it: funds, campaigns, gifts, spending, statements."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import TypeAdapter

from app.api.deps import AsyncSession, Listing, Page, Paging, listing
from app.api.public.crowd import UNCHANGED, tell
from app.errors import NotFound, problems
from app.services.transparency import goals, statements
from app.services.transparency.gifts import Gift
from app.services.transparency.goals import PublicCampaign, PublicFund, Quarter
from app.services.transparency.statements import PublicSpending, PublicStatement

router = APIRouter(tags=["公益基金 funds"])
MISSING = problems(NotFound) | UNCHANGED
FUNDS, FUND = TypeAdapter(Listing[PublicFund]), TypeAdapter(PublicFund)
CAMPAIGNS, CAMPAIGN = TypeAdapter(Listing[PublicCampaign]), TypeAdapter(PublicCampaign)
GIFTS, QUARTERS = TypeAdapter(Listing[Gift]), TypeAdapter(list[Quarter])
SPENDING, STATEMENT = TypeAdapter(PublicSpending), TypeAdapter(PublicStatement)


@router.get("/funds", summary="基金 Funds", response_model=Listing[PublicFund], responses=UNCHANGED)
async def list_funds(request: Request, page: Paging) -> Response:
    """By code, with what each has received and spent since it was opened."""
    after = page.after_one(str)

    async def make(db: AsyncSession) -> dict[str, Any]:
        rows = await goals.funds(db, after=after, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.code,))

    return await tell(request, FUNDS, make, after, page.limit)


@router.get("/funds/{id}", summary="基金详情 A fund", response_model=PublicFund, responses=MISSING)
async def fund(request: Request, id: uuid.UUID) -> Response:
    """That its books are what they were is proved from `tree_head`."""
    return await tell(request, FUND, lambda db: goals.fund(db, id), id)


@router.get(
    "/funds/{id}/donations", summary="基金捐赠公示 Gifts to a fund", response_model=Listing[Gift], responses=MISSING
)  # fmt: skip
async def list_fund_donations(request: Request, id: uuid.UUID, page: Paging) -> Response:
    """As their donors agreed to show them, newest first."""
    return await _tell_gifts(request, goals.gifts_of_fund, id, page)


async def _tell_gifts(request: Request, of: Callable[..., Any], id: uuid.UUID, page: Page) -> Response:
    after = page.after_one(uuid.UUID)

    async def make(db: AsyncSession) -> dict[str, Any]:
        rows = await of(db, id, after=after, limit=page.limit + 1)
        shown = listing(rows, page, lambda row: (row[0],))
        return shown | {"items": [gift for _, gift in shown["items"]]}

    return await tell(request, GIFTS, make, id, after, page.limit)


@router.get(
    "/funds/{id}/spending", summary="基金支出公示 What a fund spent", response_model=PublicSpending, responses=MISSING
)  # fmt: skip
async def fund_spending(request: Request, id: uuid.UUID) -> Response:
    """By budget line and purpose, never by payee: payments to people in groups of five or more, when their month is
    closed."""

    async def make(db: AsyncSession) -> PublicSpending:
        return await statements.spent(db, fund_id=id, in_all=(await goals.fund(db, id)).spent_fen)

    return await tell(request, SPENDING, make, id)


@router.get(
    "/funds/{id}/statements/{period}",
    summary="基金收支公示 The statement of a fund",
    response_model=PublicStatement,
    responses=MISSING,
)
async def public_fund_statement(
    request: Request, id: uuid.UUID, period: Annotated[statements.Period, Path(examples=["2026-Q4"])]
) -> Response:
    """Of a month, a quarter or a year: 2026-11, 2026-Q4, 2026. What came by which channel, what went for what."""
    return await tell(
        request, STATEMENT, lambda db: statements.statement(db, fund_id=id, period=period), id, period
    )


@router.get(
    "/campaigns", summary="募捐项目 Campaigns", response_model=Listing[PublicCampaign], responses=UNCHANGED
)
async def list_campaigns(request: Request, page: Paging, fund_id: uuid.UUID | None = None) -> Response:
    """Appeals to the public, newest first, with the numbers that make them lawful."""
    before = page.after_one(uuid.UUID)

    async def make(db: AsyncSession) -> dict[str, Any]:
        rows = await goals.campaigns(db, fund_id=fund_id, before=before, limit=page.limit + 1)
        return listing(rows, page, lambda row: (row.id,))

    return await tell(request, CAMPAIGNS, make, fund_id, before, page.limit)


@router.get(
    "/campaigns/{id}", summary="募捐项目详情 A campaign", response_model=PublicCampaign, responses=MISSING
)
async def campaign(request: Request, id: uuid.UUID) -> Response:
    """Also one to a known circle, for whoever was given its id."""
    return await tell(request, CAMPAIGN, lambda db: goals.campaign(db, id), id)


@router.get(
    "/campaigns/{id}/donations",
    summary="项目捐赠公示 Gifts to a campaign",
    response_model=Listing[Gift],
    responses=MISSING,
)
async def list_campaign_donations(request: Request, id: uuid.UUID, page: Paging) -> Response:
    """As their donors agreed to show them, newest first."""
    return await _tell_gifts(request, goals.gifts_of_campaign, id, page)


@router.get(
    "/campaigns/{id}/quarters",
    summary="项目季度公示 A campaign by quarters",
    response_model=list[Quarter],
    responses=MISSING,
)
async def campaign_quarters(request: Request, id: uuid.UUID) -> Response:
    """What came and what was spent every three months (慈善法第七十九条), the last first."""
    return await tell(request, QUARTERS, lambda db: goals.quarters(db, id), id)
