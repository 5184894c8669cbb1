"""Files for the bank: which approved disbursements it is to pay, each in one file at a time."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.errors import Conflict, WrongState
from app.models.disbursements import (
    BankFile,
    BankFileLine,
    BankFileStatus,
    Disbursement,
    DisbursementStatus,
    LineOutcome,
)
from app.models.funds import Fund
from app.services import audit, idempotency
from app.services.disbursements.drafts import number
from app.services.disbursements.steps import PayerDecided, tell
from app.services.donations.amounts import yuan
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, example
from app.services.sheets import sheet, taken_by

MOST = 1_000
#: What the bank, or who types in its answer, fills in comes last.
HEADINGS = {
    "支付编号": 22, "收款人": 20, "收款账号": 24, "开户银行": 28, "金额（元）": 14, "用途": 24, "付款结果": 10,
    "付款日期": 12, "失败原因": 24,
}  # fmt: skip


class NotToPay(Conflict):
    """`ids`: those that are not approved, of another fund, expired, or in a file already."""

    zh, en = "所选支出中有不能付款的", "Some of these are not to be paid now"
    do_zh, do_en = "请去掉 ids 所列支出后重试", "Leave out those that `ids` names"


class NewBankFile(Body):
    model_config = example(
        fund_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01",
        disbursement_ids=["0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07"],
    )

    fund_id: uuid.UUID
    disbursement_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=MOST)]


async def make_bank_file(db: AsyncSession, actor: Actor, *, key: Key, new: NewBankFile) -> BankFile:
    """Of approved disbursements of one fund, decided by others. Until the bank has answered they are in no other file,
    not voided, and do not expire. All or none."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, BankFile, key.id)
    fund = await fetch(db, actor, Fund, new.fund_id)
    rows = await _take(db, actor, fund, set(new.disbursement_ids))
    file = BankFile(
        id=key.id, number=number("B"), fund_id=fund.id, region_code=actor.region_code, lines=len(rows),
        amount_fen=sum(row.amount_fen for row in rows), status=BankFileStatus.OPEN, made_by=actor.account_id,
        made_at=clock.now(),
    )  # fmt: skip
    db.add(file)
    await db.flush()  # its lines refer to it
    await db.execute(
        insert(BankFileLine), [{"bank_file_id": file.id, "disbursement_id": row.id} for row in rows]
    )
    await put(db, [row.id for row in rows], file.id)
    await tell(db, actor, DisbursementStatus.APPROVED, rows, bank_file_id=file.id)
    done = [(row.id, [row.person_id]) for row in rows]
    await audit.record_each(db, actor, "put_in_bank_file", "disbursement", done)
    return file


async def _take(db: AsyncSession, actor: Actor, fund: Fund, ids: set[uuid.UUID]) -> Sequence[Disbursement]:
    """Locked, in the order of their ids."""
    query = select(Disbursement).where(
        Disbursement.id.in_(ids), visible(actor, Disbursement), Disbursement.fund_id == fund.id,
        Disbursement.status == DisbursementStatus.APPROVED, Disbursement.bank_file_id.is_(None),
        Disbursement.expires_at > clock.now(),
    )  # fmt: skip
    rows = (await db.scalars(query.order_by(Disbursement.id).with_for_update())).all()
    if missing := ids - {row.id for row in rows}:
        raise NotToPay(ids=sorted(map(str, missing)))
    if own := [row.id for row in rows if actor.id in (row.submitted_by, row.approved_by)]:
        raise PayerDecided(ids=sorted(map(str, own)))
    return rows


async def put(db: AsyncSession, ids: Sequence[uuid.UUID], file: uuid.UUID | None) -> None:
    """Into this file, or out of any."""
    moved = update(Disbursement).where(Disbursement.id.in_(ids))
    await db.execute(
        moved.values(bank_file_id=file, version=Disbursement.version + 1),
        execution_options={"synchronize_session": False},
    )


async def bank_files(
    db: AsyncSession, actor: Actor, *, status: BankFileStatus | None, after: uuid.UUID | None, limit: int
) -> list[BankFile]:
    """Of the own region, the newest first."""
    query = select(BankFile).where(visible(actor, BankFile))
    if status is not None:
        query = query.where(BankFile.status == status)
    return list(await db.scalars(newest_first(query, BankFile.made_at, BankFile.id, after, limit)))


async def bank_workbook(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> tuple[str, bytes]:
    """Its number, and the sheet for the bank: names and accounts in full, of what it has not answered yet. The last
    columns are for the answer."""
    file = await fetch(db, actor, BankFile, id)
    if file.status is not BankFileStatus.OPEN:
        raise WrongState(status_now=file.status)
    rows = await waiting(db, file)
    done = [(row.id, [row.person_id]) for row in rows]
    await audit.record_each(db, actor, "download", "disbursement", done, purpose=purpose)
    mark = await taken_by(db, actor)
    return file.number, await asyncio.to_thread(_written, file, rows, mark)


def _written(file: BankFile, rows: Sequence[Disbursement], mark: str) -> bytes:
    lines = [
        (row.number, row.payee, row.bank_account, row.bank_name, row.amount_fen, row.purpose, "", "", "")
        for row in sorted(rows, key=lambda row: (row.created_at, row.number))
    ]  # fmt: skip
    total = yuan(sum(row.amount_fen for row in rows))
    return sheet(f"付款文件 {file.number}　{len(lines)} 笔，合计 {total} 元", HEADINGS, lines, mark=mark)


async def waiting(db: AsyncSession, file: BankFile, *, lock: bool = False) -> Sequence[Disbursement]:
    """What the bank has not answered."""
    query = (
        select(Disbursement)
        .join(BankFileLine, BankFileLine.disbursement_id == Disbursement.id)
        .where(BankFileLine.bank_file_id == file.id, BankFileLine.outcome.is_(None))
        .order_by(Disbursement.id)
    )
    return (await db.scalars(query.with_for_update(of=Disbursement) if lock else query)).all()


async def cancel_bank_file(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str
) -> BankFile:
    """It was not sent, or the bank left it alone: what it has not answered may go into another file."""
    file = await fetch_version(db, actor, BankFile, id, version)
    if file.status is not BankFileStatus.OPEN:
        raise WrongState(status_now=file.status)
    rows = await waiting(db, file, lock=True)
    ids = [row.id for row in rows]
    await answered(db, file, ids, LineOutcome.RELEASED)
    await put(db, ids, None)
    file.status = BankFileStatus.CANCELLED
    await db.flush()  # the answer shows the new version
    await tell(db, actor, DisbursementStatus.APPROVED, rows, reason, bank_file_id=file.id)
    await audit.record(db, actor, "cancel", "bank_file", file.id, people=[row.person_id for row in rows])
    return file


async def answered(db: AsyncSession, file: BankFile, ids: Sequence[uuid.UUID], outcome: LineOutcome) -> None:
    lines = update(BankFileLine).where(
        BankFileLine.bank_file_id == file.id, BankFileLine.disbursement_id.in_(ids)
    )
    await db.execute(lines.values(outcome=outcome), execution_options={"synchronize_session": False})
