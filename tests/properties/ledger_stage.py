"""What the ledger machine plays on: two funds on a database with real commits, emptied before each history."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app import db
from app.models.funds import Fund
from app.models.identity import Role
from app.models.ledger import AccountBalance, LedgerAccount
from app.services.ledger import accounts
from app.services.ledger.posting import FEES, NET_ASSETS
from tests.clients import a_worker
from tests.database import clone, drop
from tests.factories import ledger as given
from tests.properties.ledger_model import Model

Result = TypeVar("Result")


class Committed:
    """A database with real commits, emptied before each history. `role`: who connects, of the owner's URL."""

    emptied: tuple[str, ...]

    def __init__(self, server: str, name: str, role: Callable[[str], str] = str) -> None:
        self.runner = asyncio.Runner()
        url = self.do(clone(server, name))
        self.engine = create_async_engine(db.driver(role(url)), pool_size=3, max_overflow=0)
        db.bind(self.engine)
        self.owner = self.do(asyncpg.connect(url))
        self.do(self.owner.execute("SET session_replication_role = replica"))
        self.do(self.furnish())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def furnish(self) -> None:
        """What every history begins with."""

    async def empty(self) -> None:
        for table in self.emptied:
            await self.owner.execute(f"DELETE FROM {table}")

    async def close(self, server: str, name: str) -> None:
        await self.owner.close()
        await self.engine.dispose()
        await drop(server, name)
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None)


class Stage(Committed):
    """Two funds."""

    emptied = (
        "transfer", "refused_transfer", "ledger_turnover", "ledger_period", "reversal", "unsealed_transfer",
        "audit_event", "idempotency_key",
    )  # fmt: skip

    async def furnish(self) -> None:
        async with db.begin() as session:
            codes = (("CARE", True), ("GEN", False))
            self.funds: list[Fund] = [
                await given.fund(session, code, restricted=restricted) for code, restricted in codes
            ]
            self.accountant = (await a_worker(session, Role.ACCOUNTANT)).actor()

    async def empty(self) -> None:
        await super().empty()
        await self.owner.execute("UPDATE account_balance SET debits = 0, credits = 0, pending = 0")

    def model(self) -> Model:
        limits, carried = {}, {FEES: NET_ASSETS}
        for fund in self.funds:
            income, cost, left = (
                accounts.income_code(fund),
                accounts.cost_code(fund),
                accounts.net_assets_code(fund),
            )
            limits |= dict.fromkeys((income, cost, left), fund.code)
            carried |= dict.fromkeys((income, cost), left)
        return Model(limits, carried)


async def stands(session: AsyncSession) -> dict[str, tuple[int, int, int]]:
    sums = [func.sum(one) for one in (AccountBalance.debits, AccountBalance.credits, AccountBalance.pending)]
    query = select(LedgerAccount.code, *sums).join(LedgerAccount).group_by(LedgerAccount.code)
    found = {
        code: (int(debit), int(credit), int(held))
        for code, debit, credit, held in await session.execute(query)
    }
    return {code: sums for code, sums in found.items() if any(sums)}
