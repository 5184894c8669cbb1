"""The settlement of a month as an Excel sheet, to be printed and sealed."""

import asyncio
import io
import uuid

import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.services import audit
from app.services.settlements.reading import Sheet, of_month

HEADINGS = {
    "服务": 30, "月份": 10, "完成人次": 10, "冲减人次": 10, "仅到检": 8, "未到": 8, "单价（元）": 12, "金额（元）": 14,
}  # fmt: skip
STATUS = {"draft": "草稿", "confirmed": "医院已确认", "accepted": "协会已核定", "returned": "已退回"}


async def workbook(db: AsyncSession, actor: Actor, *, clinic_id: uuid.UUID, month: str) -> bytes:
    """As of_month: counts and money, nobody's name."""
    sheet = await of_month(db, actor, clinic_id=clinic_id, month=month)
    await audit.record(db, actor, "download", "settlement", sheet.id)
    return await asyncio.to_thread(_written, sheet)


def _written(sheet: Sheet) -> bytes:
    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        page = book.add_worksheet("结算")
        bold, money = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0.00"})
        page.write_string(0, 0, f"{sheet.clinic_name}　{sheet.month} 结算（{STATUS[sheet.status]}）", bold)
        for column, (heading, width) in enumerate(HEADINGS.items()):
            page.set_column(column, column, width)
            page.write_string(1, column, heading, bold)
        for row, line in enumerate(sheet.lines, 2):
            page.write_string(row, 0, line.service_zh)
            page.write_string(row, 1, line.month)
            for column, count in enumerate((line.fulfilled, line.reversed, line.arrived, line.no_shows), 2):
                page.write_number(row, column, count)
            if line.price_fen is not None:
                page.write_number(row, 6, line.price_fen / 100, money)
            page.write_number(row, 7, line.amount_fen / 100, money)
        last = len(sheet.lines) + 2
        page.write_string(last, 0, "合计", bold)
        page.write_number(last, 7, sheet.amount_fen / 100, money)
        page.freeze_panes(2, 0)
    return out.getvalue()
