"""The report on the clearing account as an Excel sheet, in yuan."""

import asyncio
from datetime import date
from typing import Any, BinaryIO

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.services import audit
from app.services.ledger.workbooks import Book, new_book, yuan
from app.services.reconciliation.report import ClearingReport, report

COLUMNS = {"项目 Item": 64, "金额（元）Amount, CNY": 22}


async def clearing_workbook(db: AsyncSession, actor: Actor, *, first: date, last: date) -> BinaryIO:
    """What passed through, what is left, and why: the same figures as the report."""
    told = await report(db, actor, first=first, last=last)
    await audit.record(db, actor, "download", "clearing_report")
    return await asyncio.to_thread(_made, told)


def _made(told: ClearingReport) -> BinaryIO:
    with new_book(f"微信支付对账报告 Reconciliation {told.first} – {told.last}（单位：元 CNY）") as (
        book,
        out,
    ):
        _rows(book, book.sheet("对账报告 Report", COLUMNS), _passed(told) + _waiting(told) + _at_wechat(told))
    return out


def _passed(told: ClearingReport) -> list[tuple[str, int | None]]:
    return [
        ("100901 期初余额 Opening balance", told.opening_fen),
        ("收款 Paid", told.paid_fen),
        ("退款 Refunded", -told.refunded_fen),
        ("手续费 Fees", -told.fees_fen),
        ("结算到银行 Paid out to the bank", -told.paid_out_fen),
        ("冲销和核销 Corrected", told.corrected_fen),
        ("100901 期末余额 Closing balance", told.closing_fen),
        ("其中待查（220901）Of that in suspense", told.suspense_fen),
        (f"未处理差异 Differences to be looked into: {told.open_differences}", None),
    ]


def _waiting(told: ClearingReport) -> list[tuple[str, int | None]]:
    return [
        *((f"尚未结算 Not paid out yet: {one.day}", one.fen) for one in told.not_paid_out),
        *((f"缺少账单 No bill yet: {day}", None) for day in told.days_without_bill),
    ]


def _at_wechat(told: ClearingReport) -> list[tuple[str, int | None]]:
    side = told.at_wechat
    if side is None:
        return []
    return [
        (f"账簿余额 Books on {side.day}", side.books_fen),
        ("微信支付账户结余 Balance at WeChat", -side.balance_fen),
        ("尚未列入账单 Not in the bills yet", -side.not_in_bills_yet_fen),
        ("处理中的退款 Refunds under way", -side.refunds_under_way_fen),
        ("未处理差异 Differences", -side.differences_fen),
        ("无法解释 Unexplained", side.unexplained_fen),
    ]


def _rows(book: Book, sheet: Any, rows: list[tuple[str, int | None]]) -> None:
    for at, (text, fen) in enumerate(rows, 2):
        sheet.write_string(at, 0, text)
        if fen is not None:
            sheet.write_number(at, 1, yuan(fen), book.yuan)
