"""Disbursements as they are read: lists with names and accounts masked, one in full with its steps, a sheet."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible, within
from app.crypto import mask_name
from app.models.disbursements import Disbursement, DisbursementEvent, DisbursementStatus, PayeeKind
from app.models.funds import Fund
from app.models.identity import Role
from app.services import audit
from app.services.disbursements import limits
from app.services.disbursements.forms import Remark, remarks
from app.services.disbursements.steps import had_a_hand
from app.services.sheets import sheet, taken_by

S = DisbursementStatus
MOST = 10_000
STATUS = {
    S.DRAFT: "草稿", S.SUBMITTED: "待审批", S.REJECTED: "已驳回", S.APPROVED: "已批准", S.PAID: "已付款",
    S.ACKNOWLEDGED: "已签收", S.VOIDED: "已作废", S.EXPIRED: "已过期",
}  # fmt: skip
HEADINGS = {
    "支付编号": 20, "基金": 20, "用途": 24, "收款人": 20, "账号": 10, "金额（元）": 14, "实付（元）": 14, "状态": 10,
    "申请时间": 18, "签收日期": 12,
}  # fmt: skip


class Work(StrEnum):
    """To approve: by oneself, the work of others and within the own limit. To pay: approved and in no bank file."""

    TO_APPROVE = "to_approve"
    TO_PAY = "to_pay"


@dataclass(frozen=True, slots=True)
class Row:
    """The name of a person is masked, of the account the last four digits shown."""

    id: uuid.UUID
    number: str
    fund_id: uuid.UUID
    budget_line_id: uuid.UUID
    campaign_id: uuid.UUID | None
    region_code: str
    amount_fen: int
    paid_fen: int | None
    purpose: str
    payee_kind: PayeeKind
    payee: str
    bank_name: str
    bank_account: str
    person_id: uuid.UUID | None
    source: str | None
    source_id: uuid.UUID | None
    status: DisbursementStatus
    bank_file_id: uuid.UUID | None
    expires_at: datetime | None
    acknowledged_on: date | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Step:
    """`bank_file_id`: it was put into that file, or came back from it."""

    at: datetime
    status: DisbursementStatus
    actor_role: Role
    actor_id: uuid.UUID | None
    bank_file_id: uuid.UUID | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Detail:
    """In full, with every step, and what about it is worth a second look."""

    disbursement: Row
    steps: list[Step]
    remarks: list[Remark]


def row_of(row: Disbursement, *, masked: bool = True) -> Row:
    values = {field.name: getattr(row, field.name) for field in fields(Row)}
    values["payee"] = masked_payee(row) if masked else row.payee or ""
    values["bank_account"] = masked_account(row) if masked else row.bank_account or ""
    return Row(**values)


def masked_payee(row: Disbursement) -> str:
    """An organisation's name is no secret. Empty once it need not be kept any more."""
    name: str = row.payee or ""
    return mask_name(name) if name and row.payee_kind is PayeeKind.PERSON else name


def masked_account(row: Disbursement) -> str:
    return f"****{row.bank_account[-4:]}" if row.bank_account else ""


async def listing(
    db: AsyncSession, actor: Actor, *, status: DisbursementStatus | None = None, fund_id: uuid.UUID | None = None,
    region_code: str | None = None, work: Work | None = None, after: tuple[datetime, uuid.UUID] | None = None,
    limit: int,
) -> list[Row]:  # fmt: skip
    """Of the own region, the newest first."""
    query = _chosen(actor, status, fund_id, region_code, work).limit(limit)
    if after is not None:
        query = query.where(tuple_(Disbursement.created_at, Disbursement.id) < after)
    return [row_of(row) for row in await db.scalars(query)]


def _chosen(
    actor: Actor, status: DisbursementStatus | None, fund_id: uuid.UUID | None, region_code: str | None,
    work: Work | None,
) -> Select[Disbursement]:  # fmt: skip
    query = select(Disbursement).where(visible(actor, Disbursement))
    for column, value in ((Disbursement.status, status), (Disbursement.fund_id, fund_id)):
        if value is not None:
            query = query.where(column == value)
    if region_code is not None:
        query = query.where(within(Disbursement.region_code, region_code))
    if work is not None:
        query = query.where(*_work(actor, work))
    return query.order_by(Disbursement.created_at.desc(), Disbursement.id.desc())


def _work(actor: Actor, work: Work) -> tuple[Any, ...]:
    if work is Work.TO_PAY:
        nobody_s = Disbursement.submitted_by.is_distinct_from(actor.id), Disbursement.approved_by != actor.id
        return Disbursement.status == S.APPROVED, Disbursement.bank_file_id.is_(None), *nobody_s
    within_limit = Disbursement.amount_fen <= limits.limit_of(actor.role, Disbursement.region_code)
    return Disbursement.status == S.SUBMITTED, within_limit, ~had_a_hand(actor)


async def detail(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> Detail:
    """With name and account in full. Recorded in the payee's file."""
    row = await fetch(db, actor, Disbursement, id)
    events = select(DisbursementEvent).where(DisbursementEvent.disbursement_id == id)
    steps = [
        Step(event.at, event.status, event.actor_role, event.actor_id, event.bank_file_id, event.reason)
        for event in await db.scalars(events.order_by(DisbursementEvent.at, DisbursementEvent.id))
    ]
    await audit.record(db, actor, "read", "disbursement", row.id, people=[row.person_id], purpose=purpose)
    return Detail(row_of(row, masked=False), steps, remarks(row.payee_kind, row.bank_account or ""))


async def workbook(
    db: AsyncSession, actor: Actor, *, status: DisbursementStatus | None, fund_id: uuid.UUID | None,
    region_code: str | None,
) -> bytes:  # fmt: skip
    """The same list as a sheet, masked, the newest 10,000."""
    rows = list(await db.scalars(_chosen(actor, status, fund_id, region_code, None).limit(MOST)))
    funds = {fund.id: fund.zh for fund in await db.scalars(select(Fund).where(visible(actor, Fund)))}
    await audit.record(db, actor, "download", "disbursement")
    return await asyncio.to_thread(_written, rows, funds, await taken_by(db, actor))


def _written(rows: Sequence[Disbursement], funds: dict[uuid.UUID, str], mark: str) -> bytes:
    lines = [
        (
            row.number, funds.get(row.fund_id, ""), row.purpose, masked_payee(row), masked_account(row),
            row.amount_fen, row.paid_fen, STATUS[row.status],
            f"{row.created_at.astimezone(clock.SHANGHAI):%Y-%m-%d %H:%M}",
            f"{row.acknowledged_on or ''}",
        )
        for row in rows
    ]  # fmt: skip
    title = f"支出清单　{clock.today()}" + f"（只列出最近 {MOST} 笔）" * (len(rows) == MOST)
    return sheet(title, HEADINGS, lines, mark=mark)
