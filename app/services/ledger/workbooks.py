"""The trial balance and the journal as Excel sheets, in yuan, to be printed and filed."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO

import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Invalid
from app.models.ledger import AccountClass, TransferKind
from app.services import audit, files
from app.services.ledger.statements import (
    Columns,
    JournalLine,
    TrialBalance,
    journal,
    place_of,
    trial_balance,
)
from app.settings import settings

MOST, CHUNK = 50_000, 2_000
CLASSES = {
    AccountClass.ASSET: "资产类 Assets", AccountClass.LIABILITY: "负债类 Liabilities",
    AccountClass.NET_ASSETS: "净资产类 Net assets", AccountClass.INCOME: "收入类 Income",
    AccountClass.COST: "费用类 Costs",
}  # fmt: skip
KINDS = {
    TransferKind.DONATION: "收到捐款 Donation", TransferKind.IN_KIND: "收到捐赠物资 Donation in kind",
    TransferKind.UNMATCHED: "待查款项 Money not explained yet", TransferKind.MATCHED: "待查款项转入 Explained",
    TransferKind.REFUND: "退款 Refund", TransferKind.FEE: "手续费 Fee", TransferKind.SETTLEMENT: "结算到账 Settlement",
    TransferKind.DISBURSEMENT: "支出 Disbursement", TransferKind.DELIVERY: "发放物资 Goods handed out",
    TransferKind.REVERSAL: "冲销 Reversal", TransferKind.LEFTOVER: "剩余转入 Leftover",
    TransferKind.CLOSING: "年末结转 Year closing",
}  # fmt: skip
TRIAL = {
    "科目编码 Code": 16, "科目名称 Account": 44, "期初借方 Opening debit": 20, "期初贷方 Opening credit": 20,
    "本期借方 Debits": 18, "本期贷方 Credits": 18, "期末借方 Closing debit": 20, "期末贷方 Closing credit": 20,
}  # fmt: skip
JOURNAL = {
    "日期 Date": 12, "摘要 Kind": 28, "借方科目 Debit": 16, "借方科目名称 Debit account": 36, "贷方科目 Credit": 16,
    "贷方科目名称 Credit account": 36, "金额（元）Amount, CNY": 18, "业务单号 Reference": 52, "记账时间 Recorded": 20,
    "凭证编号 Transfer": 40,
}  # fmt: skip
SUMMARY = {"摘要 Kind": 36, "笔数 Transfers": 16, "金额（元）Amount, CNY": 20}


class JournalTooLong(Invalid):
    zh, en = f"该期间超过 {MOST} 笔记录", f"More than {MOST} transfers in these days"
    do_zh, do_en = "请缩短日期范围，或只下载一个科目", "Ask for fewer days, or for one account"


class Book:
    """A workbook on disk, row by row, in flat memory. Text stays text: what begins with = is no formula."""

    def __init__(self, out: BinaryIO, folder: str, title: str) -> None:
        options = {
            "constant_memory": True,
            "tmpdir": folder,
            "strings_to_formulas": False,
            "strings_to_urls": False,
        }
        self.book = xlsxwriter.Workbook(out, options)
        self.book.set_properties({"title": title, "author": settings().association_name})
        self.bold = self.book.add_format({"bold": True})
        self.yuan = self.book.add_format({"num_format": "#,##0.00"})
        self.total = self.book.add_format({"num_format": "#,##0.00", "bold": True, "top": 1})
        self.title = title

    def sheet(self, name: str, headings: Mapping[str, int]) -> Any:
        sheet = self.book.add_worksheet(name)
        sheet.write_string(0, 0, self.title, self.bold)
        for place, (heading, width) in enumerate(headings.items()):
            sheet.set_column(place, place, width)
            sheet.write_string(1, place, heading, self.bold)
        sheet.freeze_panes(2, 0)
        return sheet


@contextmanager
def new_book(title: str) -> Iterator[tuple[Book, BinaryIO]]:
    """Whole once the block has ended."""
    out = files.temporary()
    folder = files.folder()
    book = Book(out, folder.name, f"{settings().association_name}　{title}")
    try:
        yield book, out
        book.book.close()
        out.seek(0)
    except BaseException:
        if not book.book.fileclosed:
            for sheet in book.book.worksheets():
                sheet._opt_close()  # the library would write the book in vain
        out.close()
        raise
    finally:
        folder.cleanup()


async def trial_balance_workbook(db: AsyncSession, actor: Actor, *, month: date) -> BinaryIO:
    """科目余额表, the accounts of each class with their sum."""
    balance = await trial_balance(db, month)
    await audit.record(db, actor, "download", "trial_balance")
    return await asyncio.to_thread(_trial_balance, balance)


def _trial_balance(balance: TrialBalance) -> BinaryIO:
    state = "已结账 closed" if balance.closed else "未结账 open"
    with new_book(f"科目余额表 Trial balance {balance.month}（{state}，单位：元 CNY）") as (book, out):
        sheet = book.sheet("科目余额表 Trial balance", TRIAL)
        row = 2
        for total in balance.classes:
            lines = [line for line in balance.lines if line.account_class is total.account_class]
            for line in lines:
                sheet.write_string(row, 0, line.code)
                sheet.write_string(row, 1, f"{line.zh} {line.en}")
                _columns(sheet, row, line.columns, book.yuan)
                row += 1
            if lines:
                sheet.write_string(row, 1, f"{CLASSES[total.account_class]}　小计 Subtotal", book.bold)
                _columns(sheet, row, total.columns, book.total)
                row += 1
        sheet.write_string(row, 1, "合计 Total", book.bold)
        _columns(sheet, row, balance.totals, book.total)
    return out


def yuan(fen: int) -> Decimal:
    """Written as it is: of a float the library would write the sixteenth digit, and 0.07 would be a little more."""
    return Decimal(fen).scaleb(-2)


def _columns(sheet: Any, row: int, columns: Columns, form: Any) -> None:
    for place, fen in enumerate(astuple(columns), 2):
        sheet.write_number(row, place, yuan(fen), form)


async def journal_workbook(
    db: AsyncSession, actor: Actor, *, first: date, last: date, account: str | None
) -> BinaryIO:
    """序时账 with a sum for each kind on a second sheet. Read and written in pieces, so that a busy month needs no
    more memory than a quiet one."""
    await audit.record(db, actor, "download", "journal")
    named = f"（科目 {account}）" if account else ""
    with new_book(f"序时账 Journal {first:%Y-%m-%d} – {last:%Y-%m-%d}{named}") as (book, out):
        sheet = book.sheet("序时账 Journal", JOURNAL)
        counts: Counter[TransferKind] = Counter()
        sums: defaultdict[TransferKind, int] = defaultdict(int)
        after, row = None, 2
        while True:
            lines = await journal(
                db, actor, first=first, last=last, account=account, after=after, limit=CHUNK
            )
            for line in lines:
                counts[line.kind] += 1
                sums[line.kind] += line.amount_fen
            if counts.total() > MOST:
                raise JournalTooLong
            await asyncio.to_thread(_journal, book, sheet, row, lines)
            row += len(lines)
            if len(lines) < CHUNK:
                break
            after = place_of(lines[-1])
        await asyncio.to_thread(_summary, book, counts, sums)
    return out


def _journal(book: Book, sheet: Any, row: int, lines: list[JournalLine]) -> None:
    for at, line in enumerate(lines, row):
        recorded = f"{line.recorded_at.astimezone(clock.SHANGHAI):%Y-%m-%d %H:%M:%S}"
        texts = (
            line.effective_on.isoformat(), KINDS[line.kind], line.debit, f"{line.debit_zh} {line.debit_en}",
            line.credit, f"{line.credit_zh} {line.credit_en}", None, line.reference, recorded, str(line.id),
        )  # fmt: skip
        for place, text in enumerate(texts):
            if text is None:
                sheet.write_number(at, place, yuan(line.amount_fen), book.yuan)
            else:
                sheet.write_string(at, place, text)


def _summary(book: Book, counts: Counter[TransferKind], sums: Mapping[TransferKind, int]) -> None:
    sheet = book.sheet("汇总 Summary", SUMMARY)
    kinds = [kind for kind in TransferKind if counts[kind]]
    rows = [(KINDS[kind], counts[kind], sums[kind], book.yuan) for kind in kinds]
    rows.append(("合计 Total", counts.total(), sum(sums.values()), book.total))
    for at, (text, count, fen, form) in enumerate(rows, 2):
        sheet.write_string(at, 0, text)
        sheet.write_number(at, 1, count)
        sheet.write_number(at, 2, yuan(fen), form)
