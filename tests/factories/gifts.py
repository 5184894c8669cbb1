"""Gifts by the bank, in cash and in kind, as an accountant records them, and files of them."""

import io
from datetime import date
from typing import Any

import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.donations import Channel, Donation, OrganizationDonor
from app.models.funds import Fund
from app.models.ledger import ReversalReason
from app.services.donations import correcting, organizations, recording
from app.services.donations.organizations import OrganizationForm
from app.services.donations.recording import Goods, NewDonation
from app.services.idempotency import Key

CODE = "91640100MA7600000F"
DAIRY = "宁夏暖阳乳业有限公司"
GOODS = Goods(what="婴儿奶粉", quantity=30, unit="箱", valued_by="评估小组", basis="按市场价")


def key() -> Key:
    return Key(new_id(), b"x")


def new(fund: Fund, amount: int = 500_00, **changes: Any) -> NewDonation:
    given = {
        "fund_id": fund.id, "channel": Channel.CASH, "amount_fen": amount, "donated_on": clock.today(),
    }  # fmt: skip
    return NewDonation(**given | changes)


async def recorded(
    db: AsyncSession, actor: Actor, fund: Fund, amount: int = 500_00, **changes: Any
) -> Donation:
    return await recording.record(db, actor, key=key(), new=new(fund, amount, **changes))


async def reversed_(db: AsyncSession, actor: Actor, row: Donation, **changes: Any) -> Donation:
    """With its version and some reason, unless told otherwise."""
    given = {"key": key(), "id": row.id, "version": row.version, "reason": ReversalReason.WRONG_AMOUNT}
    return await correcting.reverse(db, actor, **given | changes)


async def body(db: AsyncSession, actor: Actor, **changes: Any) -> OrganizationDonor:
    form = {"region_code": actor.region_code, "name": DAIRY, "credit_code": CODE, "contact": "马主任"}
    return await organizations.register(db, actor, key=key(), new=OrganizationForm(**form | changes))


def csv(
    *lines: tuple[Any, ...], headings: str = "流水号,日期,金额（元）,捐赠人,统一社会信用代码,公示方式"
) -> str:
    return "\n".join([headings, *(",".join(f'"{cell}"' for cell in line) for line in lines)])


def xlsx(headings: list[str], lines: list[list[Any]]) -> bytes:
    """Cells as they are: numbers as numbers, dates as dates, what begins with = as formulas."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        page, days = book.add_worksheet(), book.add_format({"num_format": "yyyy-mm-dd"})
        page.write_row(0, 0, headings)
        for number, line in enumerate(lines, 1):
            for place, cell in enumerate(line):
                if isinstance(cell, date):
                    page.write_datetime(number, place, cell, days)
                else:
                    page.write(number, place, cell)
    return out.getvalue()
