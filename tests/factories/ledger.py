"""Funds with their accounts, and money that comes, is held, goes."""

import uuid
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.models.funds import Fund, FundStatus
from app.models.ledger import Phase, ReversalReason, TransferKind
from app.services.idempotency import Key
from app.services.ledger import accounts, posting, reversals
from app.services.ledger.posting import BANK, WECHAT, Entry
from tests.clients import REGION

K = TransferKind
#: Gifts of 1 … 999 fen without a round trip each, spread over days.
MANY = text("""
    WITH made AS (
        INSERT INTO transfer (id, debit_account_id, credit_account_id, amount_fen, currency, kind, phase, fingerprint,
                              reference, effective_on, recorded_at)
        SELECT gen_random_uuid(), d.id, c.id, 1 + n % 999, 'CNY', 'donation', 'single', '', 'donation/x', day,
               day + n * interval '1 microsecond'
          FROM generate_series(0, CAST(:many AS int) - 1) n
         CROSS JOIN LATERAL (SELECT CAST(:first AS date) + n % CAST(:days AS int) AS day) on_day
          JOIN ledger_account d ON d.code = '100901' JOIN ledger_account c ON c.code = :credit
        RETURNING amount_fen, debit_account_id, credit_account_id
    ) UPDATE account_balance b SET
             debits = debits + (SELECT coalesce(sum(amount_fen), 0) FROM made WHERE debit_account_id = b.account_id),
             credits = credits + (SELECT coalesce(sum(amount_fen), 0) FROM made WHERE credit_account_id = b.account_id)
       WHERE shard = 0""")


async def fund(
    db: AsyncSession, code: str = "CARE", *, restricted: bool = True, region_code: str = REGION
) -> Fund:
    row = Fund(
        id=new_id(), code=code, region_code=region_code, zh="生育关怀基金", en="Care fund", purpose_zh="帮扶困难家庭",
        purpose_en="Families in need", restricted=restricted, status=FundStatus.OPEN, created_at=clock.now(),
    )  # fmt: skip
    db.add(row)
    await db.flush()
    await accounts.open_for(db, row)
    return row


def gift(to: Fund, amount: int, *, id: uuid.UUID | None = None, on: date | None = None) -> Entry:
    """By WeChat: recorded."""
    id = id or new_id()
    return Entry(
        id, WECHAT, accounts.income_code(to), amount, K.DONATION, f"donation/{id}", on or clock.today()
    )


def fee(amount: int, *, id: uuid.UUID | None = None, on: date | None = None) -> Entry:
    id = id or new_id()
    return Entry(id, posting.FEES, WECHAT, amount, K.FEE, f"bill_line/{id}", on or clock.today())


def payment(
    of: Fund, amount: int, *, id: uuid.UUID | None = None, on: date | None = None, phase: Phase = Phase.HOLD
) -> Entry:
    """Of the fund's money: asked for, held at first."""
    id = id or new_id()
    on = on or clock.today()
    return Entry(id, accounts.cost_code(of), BANK, amount, K.DISBURSEMENT, f"disbursement/{id}", on, phase)


def resolution(hold: Entry, phase: Phase, amount: int | None = None, *, id: uuid.UUID | None = None) -> Entry:
    """Of a hold: posted or voided."""
    return Entry(
        id or posting.transfer_id(phase, hold.id), hold.debit, hold.credit, amount or hold.amount, hold.kind,
        hold.reference, clock.today(), phase, pending=hold.id,
    )  # fmt: skip


async def give(db: AsyncSession, to: Fund, amount: int, *, on: date | None = None) -> Entry:
    entry = gift(to, amount, on=on)
    assert await posting.record(db, entry)
    return entry


async def spend(db: AsyncSession, of: Fund, amount: int, *, on: date | None = None) -> Entry:
    entry = payment(of, amount, on=on, phase=Phase.SINGLE)
    assert await posting.ask(db, entry)
    return entry


async def reversed_by_hand(accountant: Actor, transfer_id: uuid.UUID) -> None:
    async with begin() as db:
        await reversals.correct(
            db,
            accountant,
            key=Key(new_id(), b"x"),
            transfer_id=transfer_id,
            reason=ReversalReason.NOT_RECEIVED,
        )
