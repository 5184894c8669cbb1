"""Budget lines: how much of a fund may go to one kind of spending in a year."""

import uuid
from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict
from app.models.funds import BudgetLine, Fund
from app.services import audit, idempotency
from app.services.funds.funds import FundClosed
from app.services.idempotency import Key
from app.services.plain import Body, Line, example

BudgetCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{2,40}$")]
Year = Annotated[int, Field(ge=2000, le=2200)]
Fen = Annotated[int, Field(ge=1, le=100_000_000_00)]


class BudgetLineExists(Conflict, constraint="uq_budget_line_fund_id_year_code"):
    zh, en = "该年度已有此预算项目", "This year has this budget line already"
    do_zh, do_en = "请修改已有预算项目", "Change the one that is there"


class BudgetBelowCommitted(Conflict, constraint="ck_budget_line_committed_fen"):
    """Says `committed_fen`: what was approved or paid so far."""

    zh, en = "预算不能低于已批准或已支付的金额", "A budget is not less than what was approved or paid of it"
    do_zh, do_en = "请填写不低于该金额的预算", "Ask for that much at least"


class NewBudgetLine(Body):
    model_config = example(
        year=2027, code="special_families", zh="特殊家庭慰问", en="Families in hardship", amount_fen=5_000_000
    )

    year: Year
    code: BudgetCode
    zh: Line
    en: Line
    amount_fen: Fen


class BudgetChange(Body):
    model_config = example(version=1, zh="特殊家庭慰问", en="Families in hardship", amount_fen=6_000_000)

    version: int
    zh: Line
    en: Line
    amount_fen: Fen


async def add(
    db: AsyncSession, actor: Actor, *, key: Key, fund_id: uuid.UUID, new: NewBudgetLine
) -> BudgetLine:
    """Of an open fund, once for each year and kind of spending."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, BudgetLine, key.id)
    if (await fetch(db, actor, Fund, fund_id)).status != "open":
        raise FundClosed
    line = BudgetLine(id=key.id, fund_id=fund_id, **new.model_dump())
    db.add(line)
    await db.flush()  # the answer shows its version
    await audit.record(db, actor, "add", "budget_line", line.id)
    return line


async def change(db: AsyncSession, actor: Actor, *, id: uuid.UUID, new: BudgetChange) -> BudgetLine:
    """More, or less, but never less than what is committed."""
    line = await fetch_version(db, actor, BudgetLine, id, new.version)
    if new.amount_fen < line.committed_fen:
        raise BudgetBelowCommitted(committed_fen=line.committed_fen)
    line.zh, line.en, line.amount_fen = new.zh, new.en, new.amount_fen
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "change", "budget_line", line.id)
    return line


async def listing(
    db: AsyncSession, actor: Actor, *, fund_id: uuid.UUID, year: int | None, after: tuple[int, str] | None,
    limit: int,
) -> list[BudgetLine]:  # fmt: skip
    """Of a fund, by year and code."""
    await fetch(db, actor, Fund, fund_id)
    query = select(BudgetLine).where(BudgetLine.fund_id == fund_id, visible(actor, BudgetLine))
    if year is not None:
        query = query.where(BudgetLine.year == year)
    if after is not None:
        query = query.where(tuple_(BudgetLine.year, BudgetLine.code) > after)
    return list(await db.scalars(query.order_by(BudgetLine.year, BudgetLine.code).limit(limit)))
