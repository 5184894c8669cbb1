"""Gifts recorded and payments made in months gone by."""

import uuid
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.disbursements import Disbursement, DisbursementStatus, PayeeKind
from app.models.donations import Donation
from app.models.funds import BudgetLine, Fund
from app.models.identity import Role
from app.models.ledger import Phase, TransferKind
from app.services.donations import recording
from app.services.idempotency import Key
from app.services.ledger import accounts, periods, posting
from app.services.ledger.posting import Entry
from tests.clients import REGION
from tests.factories import appointments as made


async def accountant(db: AsyncSession) -> Actor:
    worker = await made.worker(db, REGION, Role.ACCOUNTANT)
    await db.flush()
    return worker


async def gift(
    db: AsyncSession, by: Actor, fund: Fund, amount_fen: int, *, on: date | None = None, **more: Any
) -> Donation:
    """Through the bank, unless said otherwise."""
    new = {
        "fund_id": fund.id, "channel": "bank", "amount_fen": amount_fen, "donated_on": str(on or clock.today()),
    } | more  # fmt: skip
    if new["channel"] == "bank":
        new["source"] = uuid.uuid4().hex
    return await recording.record(
        db, by, key=Key(new_id(), b"x"), new=recording.NewDonation.model_validate(new)
    )


async def line(db: AsyncSession, fund: Fund, code: str, year: int | None = None) -> BudgetLine:
    row = BudgetLine(
        id=new_id(), fund_id=fund.id, year=year or clock.today().year, code=code, zh="紧急救助", en="Urgent help",
        amount_fen=100_000_000,
    )  # fmt: skip
    db.add(row)
    await db.flush()
    return row


async def paid(
    db: AsyncSession, fund: Fund, line: BudgetLine, amount_fen: int, *, on: date, purpose: str = "紧急救助金",
    kind: PayeeKind = PayeeKind.PERSON, campaign_id: uuid.UUID | None = None,
) -> Entry:  # fmt: skip
    """Held and posted on that day."""
    row = Disbursement(
        id=new_id(), number=uuid.uuid4().hex, fund_id=fund.id, budget_line_id=line.id, campaign_id=campaign_id,
        region_code=REGION, amount_fen=amount_fen, paid_fen=amount_fen, purpose=purpose, payee_kind=kind,
        bank_name="宁夏银行", status=DisbursementStatus.PAID, hold_id=new_id(), created_at=clock.now(),
    )  # fmt: skip
    row.payee, row.bank_account = "王小芳", "6222021001116245702"
    db.add(row)
    await db.flush()
    entry = Entry(
        row.hold_id, accounts.cost_code(fund), posting.BANK, amount_fen, TransferKind.DISBURSEMENT,
        f"disbursement/{row.id}", on, Phase.HOLD,
    )  # fmt: skip
    assert await posting.ask(db, entry)
    post = Entry(
        posting.transfer_id("post", row.hold_id), entry.debit, entry.credit, amount_fen, entry.kind, entry.reference,
        on, Phase.POST, pending=row.hold_id,
    )  # fmt: skip
    assert await posting.record(db, post)
    return post


async def close(db: AsyncSession, by: Actor, month: date) -> None:
    await periods.close(db, by, key=Key(new_id(), b"x"), month=month)
