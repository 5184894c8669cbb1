"""Posting the textbook way, to compare with: ORM objects, SELECT … FOR UPDATE on the balances, one row an account.

It leaves the very same rows as ours, all in the first part of each balance. Tuned in its favour: accounts are looked up
once and for all, balances are locked in order by one statement, closed months are not looked for, and a refusal is kept
in the same transaction. For notices, signature and seal are ours; what differs is what follows.
"""

import gc
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, crypto, db, logs
from app.api import NO_TELEMETRY
from app.integrations import wechat_pay
from app.integrations.wechat_pay import NOTICES_PATH, Payment
from app.main import Frame, healthz
from app.models.audit import AuditEvent
from app.models.donations import Donation, DonationStatus
from app.models.funds import Fund
from app.models.ledger import AccountBalance, LedgerAccount, Phase, RefusedTransfer, Transfer, TransferKind
from app.models.payments import OrderStatus, PaymentNotice, PaymentOrder
from app.models.proofs import UnsealedTransfer
from app.services.ledger.accounts import income_code
from app.services.ledger.posting import WECHAT, Entry, transfer_id
from app.settings import settings


@dataclass(frozen=True)
class Account:
    id: int
    limit_id: uuid.UUID | None


@cache
def _known() -> tuple[dict[str, Account], dict[uuid.UUID, list[int]]]:
    return {}, {}


async def learn() -> None:
    """The accounts, which never change: by code, and by limit."""
    by_code, by_limit = _known()
    by_code.clear()
    by_limit.clear()
    async with db.begin() as session:
        for row in await session.scalars(select(LedgerAccount)):
            by_code[row.code] = Account(row.id, row.limit_id)
            if row.limit_id is not None:
                by_limit.setdefault(row.limit_id, []).append(row.id)


async def post(session: AsyncSession, entry: Entry, *, record: bool) -> bool:
    """False when the fund has too little."""
    if await session.get(Transfer, entry.id) is not None:
        return True
    by_code, by_limit = _known()
    debit, credit = by_code[entry.debit], by_code[entry.credit]
    limited = [] if record or debit.limit_id is None else by_limit[debit.limit_id]
    balances = {
        row.account_id: row
        for row in await session.scalars(
            select(AccountBalance)
            .where(AccountBalance.shard == 0)
            .where(or_(*(AccountBalance.account_id == id for id in {debit.id, credit.id, *limited})))
            .order_by(AccountBalance.account_id)
            .with_for_update()
        )
    }
    left = sum(balances[id].credits - balances[id].debits - balances[id].pending for id in limited)
    if limited and left < entry.amount:
        now = clock.now()
        session.add(
            RefusedTransfer(
                id=entry.id, fingerprint=fingerprint(entry), reason="insufficient", recorded_at=now
            )
        )
        return False
    balances[debit.id].debits += entry.amount
    balances[credit.id].credits += entry.amount
    session.add_all([new_transfer(entry, debit, credit), UnsealedTransfer(transfer_id=entry.id)])
    await session.flush()
    return True


def new_transfer(entry: Entry, debit: Account, credit: Account) -> Transfer:
    return Transfer(
        id=entry.id, debit_account_id=debit.id, credit_account_id=credit.id, amount_fen=entry.amount,
        currency=entry.currency, kind=entry.kind, phase=Phase.SINGLE, fingerprint=fingerprint(entry),
        reference=entry.reference, commitment=entry.commitment, effective_on=entry.effective, recorded_at=clock.now(),
    )  # fmt: skip


def fingerprint(entry: Entry) -> bytes:
    parts = entry.debit, entry.credit, entry.amount, entry.currency, entry.kind, entry.phase, entry.reference
    return hashlib.sha256("|".join(map(str, parts)).encode()).digest()


async def take_notice(request: Request) -> Response:
    notice = await wechat_pay.read_notice(request.headers, await request.body())
    assert isinstance(notice.event, Payment)
    async with db.begin() as session:
        outcome = await settle(session, notice.event)
        if await session.get(PaymentNotice, notice.id) is None:
            session.add(
                PaymentNotice(
                    id=notice.id, event_type=notice.event_type, content=notice.content, digest=notice.digest,
                    key_id=notice.key_id, outcome=outcome, received_at=clock.now(),
                )
            )  # fmt: skip
    return Response(status_code=204)


async def settle(session: AsyncSession, payment: Payment) -> str:
    query = select(PaymentOrder).where(PaymentOrder.out_trade_no == payment.out_trade_no).with_for_update()
    order = (await session.scalars(query)).one()
    if order.status is OrderStatus.PAID or order.amount_fen != payment.amount_fen:
        return "again"
    assert payment.paid_at is not None
    gift = await session.get_one(Donation, order.id)
    fund = await session.get_one(Fund, gift.fund_id)
    order.status, order.transaction_id, order.paid_at = (
        OrderStatus.PAID, payment.transaction_id, payment.paid_at,
    )  # fmt: skip
    entry = Entry(
        transfer_id("wechat", payment.transaction_id), WECHAT, income_code(fund), payment.amount_fen,
        TransferKind.DONATION, f"donation/{gift.id}", clock.today(), commitment=gift.commitment,
    )  # fmt: skip
    gift.status, gift.donated_at, gift.transfer_id = DonationStatus.RECEIVED, payment.paid_at, entry.id
    session.add(received(gift))
    await post(session, entry, record=True)
    return "paid"


def received(gift: Donation) -> AuditEvent:
    return AuditEvent(
        at=clock.now(), actor_role="system", action="receive", entity="donation", entity_id=gift.id, request_id="-",
    )  # fmt: skip


async def verify_only(request: Request) -> dict[str, Any]:
    """What any answer to a genuine notice costs: the framework, the signature, the seal."""
    await wechat_pay.read_notice(request.headers, await request.body())
    return {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    engine = db.connect(settings(), settings().database_url or "")
    await learn()
    yield
    await engine.dispose()


def asgi() -> FastAPI:
    logs.configure()
    crypto.use(crypto.SettingsKeys(settings()))
    wechat_pay.prepare()
    app = FastAPI(lifespan=lifespan, openapi_url=None, telemetry=NO_TELEMETRY)
    app.add_api_route(NOTICES_PATH, take_notice, methods=["POST"])
    app.add_api_route("/verify-only", verify_only, methods=["POST"])
    app.add_api_route("/readyz", healthz)
    app.add_middleware(Frame, settings=settings())
    gc.freeze()
    return app
