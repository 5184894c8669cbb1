"""Receipts as a file: what is to be issued goes to the finance department's system, and comes back with the numbers."""

import asyncio
import re
import uuid
from collections.abc import Mapping
from datetime import date

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch
from app.errors import Invalid, Problem, place, to_problem
from app.models.donations import Channel, Donation, ReceiptRequest, ReceiptStatus
from app.models.funds import Fund
from app.services import audit
from app.services.donations import donors, receipts
from app.services.donations.amounts import capitals, yuan
from app.services.donations.receipts import Issued
from app.services.hospital_files import sheets_out
from app.services.hospital_files.judging import Column, File, Judgement, LineVerdict, Row, read, refused
from app.services.sheets import taken_by

MOST = 1_000
WAYS = {
    Channel.WECHAT: "微信支付", Channel.BANK: "银行转账", Channel.CASH: "现金", Channel.PLATFORM: "募捐平台",
    Channel.IN_KIND: "捐赠物资",
}  # fmt: skip
COLUMNS = (
    Column("id", "申请编号", needed=True, width=38),
    Column("number", "捐赠编号", width=22),
    Column("payer", "交款人", width=28),
    Column("payer_number", "交款人统一社会信用代码", width=24),
    Column("item", "项目名称", width=28),
    Column("unit", "单位", width=6),
    Column("quantity", "数量", width=8),
    Column("amount", "金额（元）"),
    Column("capitals", "金额大写", width=32),
    Column("way", "捐赠方式", width=10),
    Column("on", "捐赠日期", width=12),
    Column("note", "备注", width=24),
    Column("code", "票据代码", needed=True),
    Column("receipt", "票据号码", needed=True),
    Column("check", "校验码", needed=True),
    Column("issued", "开票日期", needed=True),
)
COLUMN_OF = {
    "receipt_code": "code",
    "receipt_number": "receipt",
    "check_code": "check",
    "issued_on": "issued",
}


async def workbook(db: AsyncSession, actor: Actor, *, purpose: str) -> bytes:
    """Every request that waits, up to a thousand, with the payers in full: recorded for each."""
    rows = await receipts.listed(db, actor, status=ReceiptStatus.REQUESTED, after=None, limit=MOST)
    funds = {id: await db.get_one(Fund, id) for id in {gift.fund_id for _, gift in rows}}
    whose = await donors.people_of(db, (gift for _, gift in rows))
    done = [(row.id, [whose.get(gift.account_id)]) for row, gift in rows]
    await audit.record_each(db, actor, "download", "receipt_request", done, purpose=purpose)
    lines = [_line(row, gift, funds[gift.fund_id]) for row, gift in rows]
    title = "公益事业捐赠票据申请：开具后请填写后四列并上传"
    mark = await taken_by(db, actor)
    return await asyncio.to_thread(sheets_out.written, title, COLUMNS, lines, mark=mark)


def _line(row: ReceiptRequest, gift: Donation, fund: Fund) -> Mapping[str, str]:
    left = gift.amount_fen - gift.refunded_fen
    goods = gift.goods or {}
    return {
        "id": str(row.id), "number": gift.number, "payer": row.payer or "", "payer_number": row.payer_number or "",
        "item": fund.zh, "unit": goods.get("unit", "元"), "quantity": str(goods.get("quantity", 1)),
        "amount": yuan(left), "capitals": capitals(left), "way": WAYS[gift.channel],
        "on": donors.day_of(gift).isoformat(), "note": goods.get("what", ""),
    }  # fmt: skip


async def take(db: AsyncSession, actor: Actor, *, data: bytes, commit: bool) -> tuple[File, list[Judgement]]:
    """A verdict for each line, found by doing it; without `commit` all of it is undone again."""
    file = await read(data, "list.xlsx", COLUMNS, most=MOST)
    async with db.begin_nested() as attempt:
        judged = [await _take(db, actor, row) for row in file.rows]
        if not commit:
            await attempt.rollback()
    await audit.record(db, actor, "upload" if commit else "check", "receipt_file")
    return file, judged


async def _take(db: AsyncSession, actor: Actor, row: Row) -> Judgement:
    given = {name: row[key] for name, key in COLUMN_OF.items()}
    if not any(given.values()):
        return Judgement(row.number, LineVerdict.SKIPPED, [])
    try:
        issued = _issued(given)
        async with db.begin_nested():
            known = await _known(db, actor, row, issued)
            if not known:
                await receipts.issue(db, actor, id=_id(row), version=None, issued=issued)
    except (Problem, IntegrityError) as error:
        problem = to_problem(error)
        wrong = [one["pointer"] for one in problem.errors or [] if one["pointer"]]
        return refused(row, problem, COLUMN_OF.get(wrong[0].rpartition("/")[2], "id") if wrong else "id")
    return Judgement(row.number, LineVerdict.KNOWN if known else LineVerdict.READY, [])


def _id(row: Row) -> uuid.UUID:
    try:
        return uuid.UUID(row["id"])
    except ValueError as error:
        raise Invalid.at("", "申请编号有误", "not a number of a request") from error


def _issued(given: Mapping[str, str]) -> Issued:
    on = re.sub(r"[/.年月]", "-", given["issued_on"].removesuffix("日"))
    match = re.fullmatch(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", on)
    on = f"{match[1]}-{match[2]:0>2}-{match[3]:0>2}" if match else on
    try:
        return Issued.model_validate({**given, "issued_on": on})
    except ValidationError as error:
        places = [str(one["loc"][0]) for one in error.errors()]
        zh = {column.key: column.zh for column in COLUMNS}
        raise Invalid(
            errors=[place(f"/{at}", f"{zh[COLUMN_OF[at]]}格式不正确", "not of its form") for at in places]
        ) from error


async def _known(db: AsyncSession, actor: Actor, row: Row, issued: Issued) -> bool:
    """The same file again changes nothing."""
    seen = await fetch(db, actor, ReceiptRequest, _id(row))
    return seen.status is ReceiptStatus.ISSUED and _same(seen, issued)


def _same(row: ReceiptRequest, issued: Issued) -> bool:
    printed: tuple[str | None, str | None, str | None, date | None] = (
        row.receipt_code, row.receipt_number, row.check_code, row.issued_on,
    )  # fmt: skip
    return printed == (issued.receipt_code, issued.receipt_number, issued.check_code, issued.issued_on)
