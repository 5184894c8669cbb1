"""Bills come in, asked of WeChat Pay or uploaded by an accountant: taken whole, once, and never overwritten."""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, lies_in, visible
from app.crypto import seal
from app.db import begin, new_id
from app.errors import Conflict, Invalid
from app.integrations import wechat_pay
from app.models.reconciliation import (
    BillFile,
    BillLine,
    BillType,
    DifferenceKind,
    DifferenceStatus,
    LineKind,
    ReconciliationDifference,
)
from app.services import audit, queue
from app.services.ledger.periods import BooksOfWholeAssociation
from app.services.ledger.posting import transfer_id
from app.services.reconciliation import bills
from app.services.reconciliation.bills import BillRefused, Line, Parsed
from app.settings import settings

log = logging.getLogger("nuanxin.reconciliation")
JOB = "reconcile_bills"
#: As long as WeChat keeps them.
KEPT_DAYS = 90
CHUNK = 2_000
SYSTEM = Actor.system("reconciliation")
Place = tuple[date, BillType]
ASK = {BillType.TRADE: wechat_pay.trade_bill, BillType.FUND_FLOW: wechat_pay.fund_flow_bill}


class BillDiffers(Conflict):
    zh, en = "该日已有内容不同的账单", "There is another bill of this day already"
    do_zh, do_en = (
        "已列入差异，请与微信支付核对",
        "It is on the list of differences: ask WeChat Pay which is right",
    )


def refuse_others(actor: Actor) -> None:
    """One merchant number, one set of books: for the association's own people."""
    if not lies_in(settings().region_code, actor.region_code):
        raise BooksOfWholeAssociation


async def due() -> list[date]:
    """The days of the last 90 of which a bill is missing."""
    today = clock.today()
    query = select(BillFile.bill_date, BillFile.bill_type).where(
        BillFile.bill_date >= today - timedelta(days=KEPT_DAYS)
    )
    async with begin() as db:
        there = {(day, kind) for day, kind in await db.execute(query)}
    days = [today - timedelta(days=back) for back in range(KEPT_DAYS - 1, 0, -1)]
    return [day for day in days if not {(day, kind) for kind in BillType} <= there]


async def fetch(day: date) -> None:
    """Both bills of a day, unless they are there. No transaction is open while WeChat is asked. BillNotReady: later;
    BillRefused: nothing was taken, and the accountants have it on their list."""
    async with begin() as db:
        there = set(await db.scalars(select(BillFile.bill_type).where(BillFile.bill_date == day)))
    for kind in BillType:
        if kind in there:
            continue
        bill = await ASK[kind](day)
        try:
            await take(SYSTEM, day, kind, bill.content if bill else None)
        except BillRefused as refused:
            await _note(day, kind, refused)
            raise


async def upload(actor: Actor, *, day: date, kind: BillType, content: bytes) -> BillFile:
    """By hand, as downloaded from WeChat's merchant page: its hash is not known then. The same file again changes
    nothing; BillDiffers, and a difference, for another."""
    refuse_others(actor)
    if not clock.today() - timedelta(days=3660) <= day < clock.today():
        raise Invalid.at("#query/day", "应为过去的日期", "a day that is over")
    return await take(actor, day, kind, content)


async def take(actor: Actor, day: date, kind: BillType, content: bytes | None) -> BillFile:
    """File and lines in one transaction; None: the day has no bill. A day that had none may get one."""
    parsed, sha1 = Parsed([], 0, 0, 0), None
    if content is not None:
        mchid = settings().wechat_pay_mchid
        parsed = await asyncio.to_thread(bills.parse, content, kind, day, mchid)
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    async with begin() as db:
        file = await _store(db, actor, day, kind, parsed, sha1)
        if file is not None:
            if actor.id is not None:
                await queue.enqueue(db, JOB, {}, once=JOB)
            return file
    async with begin() as db:
        there = BillFile.bill_date == day, BillFile.bill_type == kind, visible(actor, BillFile)
        stored = (await db.scalars(select(BillFile).where(*there))).one()
    if stored.sha1 == sha1 or sha1 is None:
        return stored
    await _differs(stored, parsed, sha1)
    raise BillDiffers


async def _store(
    db: AsyncSession, actor: Actor, day: date, kind: BillType, parsed: Parsed, sha1: str | None
) -> BillFile | None:
    """None: there is one already. Who stores the same at the same time waits here."""
    totals: dict[str, Any] = {
        "sha1": sha1, "lines": len(parsed.lines), "paid_fen": parsed.paid_fen, "refunded_fen": parsed.refunded_fen,
        "fee_fen": parsed.fee_fen, "balance_fen": parsed.balance_fen, "uploaded_by": actor.id,
        "fetched_at": clock.now(), "reconciled_at": None,
    }  # fmt: skip
    row = upsert(BillFile).values(id=new_id(), bill_date=day, bill_type=kind, **totals)
    empty = None if sha1 is None else BillFile.sha1.is_(None)
    if empty is None:
        statement = row.on_conflict_do_nothing()
    else:
        statement = row.on_conflict_do_update(
            index_elements=["bill_date", "bill_type"], set_=totals, where=empty
        )
    file = await db.scalar(statement.returning(BillFile))
    if file is not None:
        rows = [_row(file, line) for line in parsed.lines]
        for start in range(0, len(rows), CHUNK):
            await db.execute(insert(BillLine), rows[start : start + CHUNK])
        await audit.record(db, actor, "take", "bill_file", file.id)
    return file


def _row(file: BillFile, line: Line) -> dict[str, Any]:
    return {
        "id": new_id(), "file_id": file.id, "line": line.line, "at": line.at, "kind": line.kind,
        "transaction_id": line.transaction_id, "out_trade_no": line.out_trade_no, "out_refund_no": line.out_refund_no,
        "refund_id": line.refund_id, "status": line.status, "amount_fen": line.amount_fen, "fee_fen": line.fee_fen,
        "transfer_id": _transfer(file, line),
        "fee_transfer_id": transfer_id("fee", file.bill_date, line.out_refund_no or line.transaction_id)
        if line.fee_fen else None,
    }  # fmt: skip


def _transfer(file: BillFile, line: Line) -> Any:
    """As whoever else tells of it would make the id."""
    if file.bill_type is BillType.FUND_FLOW:
        names = {LineKind.PAYOUT: "payout", LineKind.OTHER: "movement"}
        return transfer_id(names[line.kind], line.transaction_id) if line.kind in names else None
    if line.kind is LineKind.REFUND:
        return transfer_id("strange-refund", line.out_refund_no)
    return transfer_id("wechat", line.transaction_id)


async def _differs(stored: BillFile, parsed: Parsed, sha1: str) -> None:
    log.error("another bill of a day that has one", extra={"fields": {"day": stored.bill_date.isoformat()}})
    note = f"SHA-1: {stored.sha1} / {sha1}"
    await _difference(stored.bill_date, stored.bill_type, stored.paid_fen, parsed.paid_fen, note)


async def _note(day: date, kind: BillType, refused: BillRefused) -> None:
    log.error("the bill is refused", extra={"fields": {"day": day.isoformat(), "bill": kind.value}})
    note = "；".join(f"{one['pointer']} {one['zh']} / {one['en']}" for one in refused.errors or [])
    await _difference(day, kind, 0, 0, note)


async def _difference(day: date, kind: BillType, ours: int, theirs: int, note: str) -> None:
    id = new_id()
    row = upsert(ReconciliationDifference).values(
        id=id, bill_date=day, kind=DifferenceKind.BILL, status=DifferenceStatus.OPEN,
        reference=f"{kind}/{day}", ours_fen=ours, theirs_fen=theirs,
        note_sealed=seal(note, place=f"reconciliation_difference|note|{id}"), created_at=clock.now(),
    )  # fmt: skip
    async with begin() as db:
        made = await db.scalar(row.on_conflict_do_nothing().returning(ReconciliationDifference.id))
        if made is not None:
            await audit.record(db, SYSTEM, "find", "reconciliation_difference", made)


async def reconciled(db: AsyncSession, files: Collection[uuid.UUID], since: datetime) -> None:
    """They have been matched, as they were then."""
    done = update(BillFile).where(
        BillFile.id.in_(files), BillFile.reconciled_at.is_(None), BillFile.fetched_at <= since
    )
    for id in await db.scalars(done.values(reconciled_at=clock.now()).returning(BillFile.id)):
        await audit.record(db, SYSTEM, "reconcile", "bill_file", id)


async def listing(db: AsyncSession, actor: Actor, *, before: Place | None, limit: int) -> list[BillFile]:
    """Newest day first."""
    order = (BillFile.bill_date, BillFile.bill_type)
    query = select(BillFile).where(visible(actor, BillFile))
    if before is not None:
        query = query.where(tuple_(*order) < before)
    return list(await db.scalars(query.order_by(*(one.desc() for one in order)).limit(limit)))
