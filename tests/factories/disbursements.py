"""Payments at each step, of a fund with money and a budget line, under four different eyes."""

import io
import uuid
from dataclasses import dataclass
from typing import Any

import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.disbursements import Disbursement, DisbursementStatus
from app.models.funds import BudgetLine, Fund
from app.models.identity import Role
from app.services import disbursements
from app.services.disbursements import NewDisbursement
from app.services.idempotency import Key
from app.services.imports.xlsx import read_xlsx
from tests.factories import appointments as made
from tests.factories import ledger

COUNTY, TOWN = "640104000000", "640104001000"
#: Its check digit agrees.
CARD = "6222021001116245702"
S = DisbursementStatus


@dataclass(frozen=True)
class House:
    """Who is needed, and where the money is."""

    officer: Actor  # submits
    colleague: Actor  # of the same town
    county: Actor
    supervisor: Actor
    accountant: Actor
    fund: Fund
    line: BudgetLine

    def new(self, amount: int = 1_000, **others: Any) -> NewDisbursement:
        given: dict[str, Any] = {
            "fund_id": self.fund.id, "budget_line_id": self.line.id, "amount_fen": amount, "purpose": "紧急救助金",
            "payee_kind": "person", "payee": "王小芳", "bank_name": "宁夏银行凤凰支行", "bank_account": CARD,
        }  # fmt: skip
        return NewDisbursement.model_validate(given | others)


def key() -> Key:
    return Key(new_id(), b"fingerprint")


async def house(
    db: AsyncSession, *, money: int = 1_000_000, budget: int = 1_000_000, code: str = "CARE"
) -> House:
    fund = await ledger.fund(db, code)
    if money:
        await ledger.give(db, fund, money)
    line = await budget_line(db, fund, budget)
    officer = await made.worker(db, TOWN, Role.TOWNSHIP_OFFICER)
    colleague = await made.worker(db, TOWN, Role.TOWNSHIP_OFFICER)
    county = await made.worker(db, COUNTY, Role.COUNTY_ADMINISTRATOR)
    supervisor = await made.worker(db, COUNTY, Role.SUPERVISOR)
    accountant = await made.worker(db, COUNTY, Role.ACCOUNTANT)
    await db.flush()
    return House(officer, colleague, county, supervisor, accountant, fund, line)


async def budget_line(
    db: AsyncSession, fund: Fund, amount: int = 1_000_000, *, year: int | None = None
) -> BudgetLine:
    line = BudgetLine(
        id=new_id(), fund_id=fund.id, year=year or clock.today().year, code=f"l{uuid.uuid4().hex[:8]}", zh="紧急救助",
        en="Urgent help", amount_fen=amount,
    )  # fmt: skip
    db.add(line)
    await db.flush()
    return line


async def submitted(db: AsyncSession, house: House, amount: int = 1_000, **others: Any) -> Disbursement:
    row = await disbursements.draft(db, house.officer, key=key(), new=house.new(amount, **others))
    return await disbursements.submit(db, house.officer, id=row.id, version=row.version)


async def approved(db: AsyncSession, house: House, amount: int = 1_000, **others: Any) -> Disbursement:
    row = await submitted(db, house, amount, **others)
    return await disbursements.approve(db, house.county, key=key(), id=row.id, version=row.version)


def answer(*lines: tuple[str, ...], headings: tuple[str, ...] = ()) -> bytes:
    """A bank's answer: number, amount in yuan, said, day, reason."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        page = book.add_worksheet()
        rows = (headings or ("支付编号", "金额（元）", "付款结果", "付款日期", "失败原因"), *lines)
        for number, row in enumerate(rows):
            page.write_row(number, 0, row)
    return out.getvalue()


def cells_of(data: bytes) -> list[list[str]]:
    """Of an xlsx."""
    return [line.cells for line in read_xlsx(io.BytesIO(data), "a.xlsx")]
