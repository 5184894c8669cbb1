"""Short lists as Excel sheets."""

import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.models.staff import StaffAccount


async def taken_by(db: AsyncSession, actor: Actor) -> str:
    """Who takes a list of people away, and when: its first line, and on each page when printed."""
    account = await fetch(db, actor, StaffAccount, actor.account_id)
    now = clock.now().astimezone(clock.SHANGHAI)
    return f"内部资料，请勿外传 · 下载人：{account.name}（{account.username}） · {now:%Y-%m-%d %H:%M}"


def on_paper(text: str) -> str:
    """As Excel prints it above or below each page: no cell, which other programs would read."""
    return "&C" + text.replace("&", "&&")[:200]


def sheet(
    title: str, headings: Mapping[str, int], lines: Iterable[Sequence[str | int | None]], *, name: str = "名单",
    mark: str = "",
) -> bytes:  # fmt: skip
    """An xlsx: title, headings with their widths, lines. Text is never a formula; whole numbers are fen, and
    stand in yuan. `mark`: who took it, where the title is another, at the foot of each page."""
    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        page = book.add_worksheet(name)
        bold, text = book.add_format({"bold": True}), book.add_format({"num_format": "@"})
        money = book.add_format({"num_format": "#,##0.00"})
        page.set_header(on_paper(title))
        page.set_footer(on_paper(mark))
        page.write_string(0, 0, title, bold)
        for place, (heading, width) in enumerate(headings.items()):
            page.set_column(place, place, width)
            page.write_string(1, place, heading, bold)
        for number, line in enumerate(lines, 2):
            for place, cell in enumerate(line):
                if isinstance(cell, int):
                    page.write_number(number, place, Decimal(cell).scaleb(-2), money)
                else:
                    page.write_string(number, place, cell or "", text)
        page.freeze_panes(2, 0)
    return out.getvalue()
